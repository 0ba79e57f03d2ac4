"""Label maps for tests: drawn by hand as text, or at random in ways that exercise every rule often."""

import numpy as np

IGNORED = 255

HAND_CASES = {
    # name: (ground truth, prediction, {class: {bucket: (tp, fp, fn, objects)}}); omitted cells are zero
    "perfect": (
        "11000/11000/00001/00000/00000",
        "11000/11000/00001/00000/00000",
        {1: {"S": (1, 0, 0, 1), "M": (4, 0, 0, 1)}, 0: {"L": (20, 0, 0, 1)}},
    ),
    "miss": (
        "11000/11000/00001/00000/00000",
        "11000/11000/00000/00000/00000",
        {1: {"S": (0, 0, 1, 1), "M": (4, 0, 0, 1)}, 0: {"L": (20, 1, 0, 1)}},
    ),
    "hallucination": (
        "11000/11000/00000/00000/00000",
        "11000/11000/00000/00000/00011",
        {1: {"S": (0, 2, 0, 0), "M": (4, 0, 0, 1)}, 0: {"L": (19, 0, 2, 1)}},
    ),
    "dilation": (
        "00000/01100/01100/00000/00000",
        "00000/01110/01110/00000/00000",
        {1: {"M": (4, 2, 0, 1)}, 0: {"L": (19, 0, 2, 1)}},
    ),
    "bridge, tie": (
        "11101/11100/11100/00000/00000",
        "11111/11100/11100/00000/00000",
        {1: {"S": (1, 0, 0, 1), "L": (9, 1, 0, 1)}, 0: {"L": (14, 0, 1, 1)}},
    ),
    "bridge, nearest": (
        "11100/11100/11100/00000/00001",
        "11100/11100/11100/00010/00011",
        {1: {"S": (1, 1, 0, 1), "L": (9, 1, 0, 1)}, 0: {"L": (13, 0, 2, 1)}},
    ),
    "bounded blame": (
        "10000/00000/00000/00000/00000",
        "11111/00000/00000/00000/00000",
        {1: {"S": (1, 1, 0, 1), "M": (0, 3, 0, 0)}, 0: {"L": (20, 0, 4, 1)}},
    ),
    "diagonal": (
        "10000/01000/00100/00010/00001",
        "10000/01000/00100/00010/00000",
        {1: {"M": (4, 0, 1, 1)}, 0: {"L": (20, 1, 0, 1)}},
    ),
    "ignore column": (
        "11x11/11x11/00x00/00x00/00x00",
        "11111/11110/00100/00100/00100",
        {1: {"M": (7, 0, 1, 2)}, 0: {"M": (12, 1, 0, 2)}},
    ),
}


def drawn(text):
    """A map from rows of digits separated by slashes; x is an ignored pixel."""
    return np.array([[IGNORED if cell == "x" else int(cell) for cell in row] for row in text.split("/")])


def dense_case(rng):
    """A small pair of maps with many ties, thin objects, ignored pixels and sometimes instance ids."""
    shape, classes = rng.integers(1, 14, 2), int(rng.integers(1, 5))

    def labels():
        values = rng.integers(0, classes, shape)
        if rng.random() < 0.5:
            values = np.kron(values, np.ones((2, 2), int))[: shape[0], : shape[1]]
        return np.where(rng.random(shape) < rng.random() * (rng.random() < 0.4), rng.integers(classes), values)

    target, prediction = labels(), labels()
    if rng.random() < 0.3:
        prediction = np.where(rng.random(shape) < rng.random(), target, prediction)
    if rng.random() < 0.5:
        target = np.where(rng.random(shape) < 0.15, IGNORED, target)
    instances = rng.integers(-1, 4, shape) if rng.random() < 0.4 else None
    return prediction, target, classes, instances


def sparse_case(rng):
    """A few small objects joined by the prediction: distant false positives, and ties at all distances."""
    shape = rng.integers(10, 36, 2)
    target = np.zeros(shape, int)
    for _ in range(rng.integers(2, 9)):
        y, x = rng.integers(shape)
        target[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = 1
    prediction = np.ones(shape, int)
    kind = rng.integers(3)
    if kind == 1:
        prediction = (rng.random(shape) < rng.random()).astype(int)
    if kind == 2:
        prediction = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 2
    instances = rng.integers(1, 4, shape) * target if rng.random() < 0.3 else None
    return prediction, target, 2, instances

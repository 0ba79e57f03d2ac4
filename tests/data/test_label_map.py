from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segattn.data.errors import DataError
from segattn.data.label_map import LabelMap, color_values
from segattn.sample import IGNORE_INDEX, ClassInfo, ClassTable

FILE = Path("masks/a.png")


def test_values_become_indices() -> None:
    label_map = LabelMap([7, 0, 300], ignore=[4, 255], remap={8: 7, 9: 255})
    labels = np.array([[7, 0, 300, 4], [255, 8, 9, 7]], dtype=np.uint16)
    assert label_map(labels, FILE).tolist() == [[0, 1, 2, IGNORE_INDEX], [IGNORE_INDEX, 0, IGNORE_INDEX, 0]]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=255, unique=True))
def test_to_label_ids_is_the_inverse(label_ids: list[int]) -> None:
    table = ClassTable(tuple(ClassInfo(str(value), (0, 0, 0), value) for value in label_ids))
    labels = np.array([label_ids])
    indices = LabelMap(table.label_ids)(labels, FILE)
    assert indices.tolist() == [list(range(len(label_ids)))]
    np.testing.assert_array_equal(table.to_label_ids(indices), labels)


@pytest.mark.parametrize(
    ("labels", "listed"),
    [([[1, 3, 2, 3]], "2, 3"), ([[70000]], "70000"), ([[-1]], "-1"), ([list(range(2, 20))], "10, 11, ...")],
)
def test_unknown_values_are_listed_with_their_file(labels: list[list[int]], listed: str) -> None:
    with pytest.raises(DataError, match=rf"^The label file masks/a\.png contains values .* ignored: .*{listed}\.$"):
        LabelMap([1], ignore=[0])(np.array(labels), FILE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ignore": [1]}, r"\[1\] have two meanings"),
        ({"remap": {1: 2}}, r"\[1\] have two meanings"),
        ({"ignore": [0], "remap": {0: 1}}, r"\[0\] have two meanings"),
        ({"remap": {5: 6}}, r"remap maps to the values \[6\]"),
        ({"ignore": [-1]}, r"must be in 0\.\.65535, got \[-1\]"),
    ],
)
def test_contradictory_values_are_rejected(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelMap([1, 2], **arguments)


def test_colors_as_label_values() -> None:
    colors = np.array([[[1, 2, 3], [255, 255, 255], [0, 0, 0]]], dtype=np.uint8)
    assert color_values(colors).tolist() == [[0x010203, 0xFFFFFF, 0]]
    assert LabelMap([0x010203, 0], ignore=[0xFFFFFF], num_values=1 << 24)(color_values(colors), FILE).tolist() == [
        [0, IGNORE_INDEX, 1]
    ]


def test_known_values_and_their_text() -> None:
    labels, colors = LabelMap([3], ignore=[255]), LabelMap([0x804000], num_values=1 << 24)
    assert labels.knows(np.array([-1, 0, 3, 255, 1 << 20])).tolist() == [False, False, True, True, False]
    assert labels.listed(np.arange(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
    assert colors.listed(np.array([0x804000, 7])) == "(128, 64, 0), (0, 0, 7)"


def test_8_and_16_bit_labels_give_the_same_indices() -> None:
    label_map = LabelMap([7, 0, 200], ignore=[255], remap={9: 7})
    values = np.array([[7, 0, 200], [255, 9, 7]])
    narrow, wide = label_map(values.astype(np.uint8), Path()), label_map(values.astype(np.uint16), Path())
    np.testing.assert_array_equal(narrow, wide)
    np.testing.assert_array_equal(narrow, [[0, 1, 2], [IGNORE_INDEX, 0, 0]])
    for dtype in (np.uint8, np.uint16):
        with pytest.raises(DataError, match=r"ignored: 3, 4\.$"):
            label_map(np.array([[3, 7, 4]], dtype=dtype), Path())

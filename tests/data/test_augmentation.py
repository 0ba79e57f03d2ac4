import pickle

import albumentations as A
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segattn.data.augmentation import (
    PADDING_COLOR,
    PhotometricDistortion,
    ScaledCrop,
    TrainingTransform,
    largest_class_share,
)
from segattn.io.image_files import resize_image
from segattn.sample import IGNORE_INDEX, SizeRule
from tests.data.layouts import photo, quarters
from tests.oracles import photometric

PLAIN = {"scale_range": (1.0, 1.0), "max_class_share": 1.0, "flip": 0.0, "photometric": False}


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose red and green are the row and the column, so that a crop shows its position."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)


def test_image_and_mask_are_cropped_at_the_same_position() -> None:
    image = coordinates(20, 30)
    mask = image[..., 1].copy()
    transform = TrainingTransform((7, 11), SizeRule(), **PLAIN)
    corners = set()
    for seed in range(200):
        crop, labels = transform(image, mask, seed=(seed,))
        top, left = int(crop[0, 0, 0]), int(crop[0, 0, 1])
        np.testing.assert_array_equal(crop, image[top : top + 7, left : left + 11])
        np.testing.assert_array_equal(labels, mask[top : top + 7, left : left + 11])
        corners.add((top, left))
    assert {top for top, _ in corners} == set(range(14))
    assert {left for _, left in corners} == set(range(20))


def test_small_images_are_padded_with_ignored_pixels() -> None:
    image, mask = photo(0, (5, 30)), np.zeros((5, 30), np.uint8)
    crop, labels = TrainingTransform((8, 40), SizeRule(), **PLAIN)(image, mask, seed=(0,))
    np.testing.assert_array_equal(crop[:5, :30], image)
    assert (crop[5:] == PADDING_COLOR).all()
    assert (crop[:, 30:] == PADDING_COLOR).all()
    assert (labels[:5, :30] == 0).all()
    assert (labels[5:] == IGNORE_INDEX).all()
    assert (labels[:, 30:] == IGNORE_INDEX).all()


def test_the_scale_is_relative_to_the_size_rule() -> None:
    image, mask = photo(0, (40, 60)), np.zeros((40, 60), np.uint8)
    crop = ScaledCrop((8, 8), SizeRule(short_side=20, max_long_side=1000), scale_range=(0.5, 2.0), max_class_share=1.0)
    sizes = []
    for seed in range(300):
        crop.set_random_seed(seed)
        sizes.append(crop.get_params_dependent_on_data({}, {"image": image, "mask": mask})["size"])
    assert min(sizes) == (10, 15)
    assert max(sizes) == (40, 60)
    assert all(abs(width - 1.5 * height) <= 1 for height, width in sizes)


def test_resized_masks_contain_only_labels() -> None:
    mask = quarters([3, 9, IGNORE_INDEX, 0], (21, 33)).astype(np.uint8)
    transform = TrainingTransform((40, 40), SizeRule(), scale_range=(0.5, 2.0), max_class_share=1.0)
    for seed in range(30):
        _, labels = transform(photo(0, (21, 33)), mask, seed=(seed,))
        assert set(np.unique(labels)) <= {3, 9, IGNORE_INDEX, 0}


def test_image_and_mask_stay_aligned_through_scale_and_flip() -> None:
    mask = quarters([1, 2, 3, 4], (64, 96)).astype(np.uint8)
    image = np.repeat((mask * 50)[..., None], 3, axis=-1)
    transform = TrainingTransform((48, 48), SizeRule(), max_class_share=1.0, photometric=False)
    for seed in range(30):
        crop, labels = transform(image, mask, seed=(seed,))
        valid = labels != IGNORE_INDEX
        agree = np.rint(crop[..., 0] / 50)[valid] == labels[valid]
        assert agree.mean() > 0.9  # all but the blurred lines between the quarters


def test_no_class_covers_more_than_its_share_if_such_a_window_exists() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 1
    image = photo(0, (64, 64))

    def failures(share: float) -> int:
        transform = TrainingTransform((16, 16), SizeRule(), **{**PLAIN, "max_class_share": share})
        return sum(largest_class_share(transform(image, mask, seed=(seed,))[1]) > 0.75 for seed in range(100))

    # One window in five is balanced: ten tries fail in about one of nine cases, a single try in four of five.
    assert failures(0.75) < 25
    assert failures(1.0) > 60


def test_the_share_counts_valid_pixels() -> None:
    assert largest_class_share(np.array([[0, 0, 0, 1, 255, 255]], dtype=np.uint8)) == 0.75
    assert largest_class_share(np.full((2, 2), 255, dtype=np.uint8)) == 1
    assert largest_class_share(np.full((2, 2), 254, dtype=np.uint8)) == 1


def test_flips_have_probability_one_half_and_are_independent_of_the_scale() -> None:
    image, mask = coordinates(40, 40), np.zeros((40, 40), np.uint8)
    transform = TrainingTransform((16, 16), SizeRule(), max_class_share=1.0, photometric=False)
    flipped, steps = [], []
    for seed in range(400):
        crop, _ = transform(image, mask, seed=(seed,))
        step = float(np.diff(crop[8, :8, 1].astype(float)).mean())
        flipped.append(step < 0)
        steps.append(abs(step))
    assert 0.4 < np.mean(flipped) < 0.6
    assert abs(np.corrcoef(flipped, steps)[0, 1]) < 0.15


@settings(max_examples=25, deadline=None)
@given(
    brightness=st.floats(-32, 32),
    contrast=st.floats(0.5, 1.5),
    saturation=st.floats(0.5, 1.5),
    hue=st.integers(-18, 18),
    contrast_first=st.booleans(),
)
def test_photometric_distortion_equals_the_reference(
    brightness: float, contrast: float, saturation: float, hue: int, contrast_first: bool
) -> None:
    changes = {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
        "contrast_first": contrast_first,
    }
    image = photo(1, (6, 7))
    difference = PhotometricDistortion().apply(image, **changes) - photometric.distort(image, **changes)
    # Hue has only 180 steps, so saturated channels may differ by some levels.
    assert np.abs(difference).max() < 12
    assert np.abs(difference).mean() < 2.5


def test_photometric_changes_have_probability_one_half() -> None:
    distortion = PhotometricDistortion()
    distortion.set_random_seed(0)
    drawn = [distortion.get_params() for _ in range(600)]
    for name, neutral, low, high in (
        ("brightness", 0, -32, 32),
        ("contrast", 1, 0.5, 1.5),
        ("saturation", 1, 0.5, 1.5),
        ("hue", 0, -18, 18),
    ):
        values = np.array([changes[name] for changes in drawn])
        assert 0.42 < (values != neutral).mean() < 0.58
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high >= values.max() > high - 0.1 * (high - low)


def test_the_seed_determines_the_sample() -> None:
    image, mask = photo(0, (40, 50)), quarters([0, 1, 2, 3], (40, 50)).astype(np.uint8)
    transform, other = (TrainingTransform((16, 16), SizeRule()) for _ in range(2))
    first = [transform(image, mask, seed=(0, epoch, 5)) for epoch in range(4)]
    again = [other(image, mask, seed=(0, epoch, 5)) for epoch in reversed(range(4))][::-1]
    for (image_a, mask_a), (image_b, mask_b) in zip(first, again, strict=True):
        np.testing.assert_array_equal(image_a, image_b)
        np.testing.assert_array_equal(mask_a, mask_b)
    assert len({image.tobytes() for image, _ in first}) == 4


def test_downscaling_averages() -> None:
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize_image(stripes, (4, 16)) == 100).all()
    assert resize_image(stripes, (8, 64)) is stripes
    assert resize_image(np.full((3, 5, 3), 9, np.uint8), (6, 10)).shape == (6, 10, 3)


@pytest.mark.parametrize("value", [0, 300])
def test_masks_without_a_balanced_window(value: int) -> None:
    mask = np.full((20, 20), min(value, IGNORE_INDEX), np.uint8)
    transform = TrainingTransform((8, 8))
    assert transform(photo(0, (20, 20)), mask, seed=(0,))[0].shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_size": (0, 8)}, "crop_size must be at least one pixel"),
        ({"scale_range": (2.0, 0.5)}, "scale_range needs 0 < smallest <= largest"),
        ({"scale_range": (1.0, float("inf"))}, "largest <= 100"),
        ({"max_class_share": 0.0}, "max_class_share must be above 0"),
        ({"crop_size": (8, 9), "quarter_turns": True}, r"quarter_turns needs a square crop_size, got \(8, 9\)"),
        ({"vertical_flip": -1.0}, "vertical_flip must be a probability"),
        ({"flip": 1.5}, "flip must be a probability"),
    ],
)
def test_invalid_arguments_are_rejected(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingTransform(**{"crop_size": (8, 8), **wrong})


OWN = [
    A.GaussNoise(p=0.7),
    A.Rotate(limit=45, p=1, border_mode=cv2.BORDER_CONSTANT, fill_mask=IGNORE_INDEX),
    A.OneOf([A.Blur(p=1), A.ToGray(p=1)], p=0.5),
]


def test_the_seed_determines_custom_transforms() -> None:
    image, mask = photo(0, (40, 50)), quarters([0, 1, 2, 3], (40, 50)).astype(np.uint8)
    transform = TrainingTransform((16, 16), transforms=OWN)
    other = pickle.loads(pickle.dumps(transform))  # as in a worker
    first = [transform(image, mask, seed=(0, 0, index)) for index in range(8)]
    again = [other(image, mask, seed=(0, 0, index)) for index in reversed(range(8))][::-1]
    for (image_a, mask_a), (image_b, mask_b) in zip(first, again, strict=True):
        np.testing.assert_array_equal(image_a, image_b)
        np.testing.assert_array_equal(mask_a, mask_b)
    assert len({image.tobytes() for image, _ in first}) == 8


def test_custom_transforms_come_after_the_others_and_before_padding() -> None:
    image, mask = np.full((20, 20, 3), 9, np.uint8), np.ones((20, 20), np.uint8)
    plain = TrainingTransform((32, 32), **PLAIN)
    crop, labels = TrainingTransform((32, 32), **PLAIN, transforms=A.InvertImg(p=1))(image, mask, seed=(0,))
    assert (crop[:20, :20] == 246).all()
    assert (crop[20:] == PADDING_COLOR).all()
    rotate = A.Rotate(limit=(45, 45), p=1, border_mode=cv2.BORDER_CONSTANT, fill_mask=IGNORE_INDEX)
    crop, labels = TrainingTransform((16, 16), **PLAIN, transforms=[rotate])(image, mask, seed=(0,))
    assert (labels[[0, 0, -1, -1], [0, -1, 0, -1]] == IGNORE_INDEX).all()
    assert labels[8, 8] == 1
    assert (plain(image, mask, seed=(0,))[1][:20, :20] == 1).all()


@pytest.mark.parametrize("wrong", [A.Resize(8, 8), A.Normalize()])
def test_custom_transforms_must_keep_size_and_type(wrong: A.BasicTransform) -> None:
    transform = TrainingTransform((16, 16), **PLAIN, transforms=[wrong, A.PadIfNeeded(20, 20)])
    with pytest.raises(ValueError, match=r"must keep uint8 arrays of the crop size \(16, 16, 3\), got"):
        transform(photo(0), np.zeros(photo(0).shape[:2], np.uint8), seed=(0,))


def test_vertical_flips_and_quarter_turns() -> None:
    image = coordinates(16, 16)
    mask = image[..., 0] * 16 + image[..., 1]
    mask[-1, -1] = 0
    flipped = TrainingTransform((16, 16), **PLAIN, vertical_flip=1.0)(image, mask, seed=(0,))
    np.testing.assert_array_equal(flipped[0], image[::-1])
    np.testing.assert_array_equal(flipped[1], mask[::-1])
    turned = TrainingTransform((16, 16), **PLAIN, quarter_turns=True)
    turns = set()
    for seed in range(40):
        crop, labels = turned(image, mask, seed=(seed,))
        (turn,) = [turn for turn in range(4) if np.array_equal(labels, np.rot90(mask, turn))]
        np.testing.assert_array_equal(crop, np.rot90(image, turn))
        turns.add(turn)
    assert turns == {0, 1, 2, 3}


def test_quarter_turns_of_images_smaller_than_the_crop() -> None:
    transform = TrainingTransform((16, 16), **PLAIN, quarter_turns=True)
    shapes = set()
    for seed in range(10):
        _, labels = transform(photo(0, (5, 12)), np.zeros((5, 12), np.uint8), seed=(seed,))
        assert labels.shape == (16, 16)
        shapes.add((int((labels[:, 0] == 0).sum()), int((labels[0] == 0).sum())))
    assert shapes == {(5, 12), (12, 5)}

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn.data.errors import DataError
from segattn.data.label_files import Pair, pair_files, read_colors, read_image, read_labels
from tests.data.layouts import photo, save

GRAY = np.array([[0, 100, 255], [7, 8, 9]], dtype=np.uint8)


def saved(tmp_path: Path, image: Image.Image, name: str = "image.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_rgb_images(tmp_path: Path, suffix: str) -> None:
    path = saved(
        tmp_path, Image.fromarray(photo(0)), f"image.{suffix}", **({"lossless": True} if suffix == "webp" else {})
    )
    np.testing.assert_array_equal(read_image(path), photo(0))


def test_gray_images_get_three_equal_channels(tmp_path: Path) -> None:
    expected = np.stack([GRAY] * 3, axis=-1)
    np.testing.assert_array_equal(read_image(saved(tmp_path, Image.fromarray(GRAY))), expected)
    sixteen_bits = Image.fromarray(GRAY.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(saved(tmp_path, sixteen_bits, "deep.png")), expected)


def test_transparency_is_dropped(tmp_path: Path) -> None:
    rgba = np.concatenate([photo(0), np.full((*photo(0).shape[:2], 1), 9, np.uint8)], axis=-1)
    np.testing.assert_array_equal(read_image(saved(tmp_path, Image.fromarray(rgba))), photo(0))


def test_images_are_rotated_as_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    path = saved(tmp_path, Image.fromarray(photo(0)), exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(photo(0), -1))


def test_palette_masks_are_read_as_indices_and_as_colors(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    path = saved(tmp_path, image)
    assert read_labels(path).tolist() == [[0, 1, 2]]
    assert read_colors(path).tolist() == [[[9, 9, 9], [200, 0, 0], [0, 200, 0]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_masks_keep_their_values(tmp_path: Path, dtype: type) -> None:
    labels = np.array([[0, 11, np.iinfo(dtype).max]], dtype=dtype)
    assert read_labels(saved(tmp_path, Image.fromarray(labels))).tolist() == labels.tolist()


def test_one_bit_masks_contain_0_and_1(tmp_path: Path) -> None:
    assert read_labels(saved(tmp_path, Image.fromarray(np.array([[True, False]])))).tolist() == [[1, 0]]


def test_color_files_with_equal_channels_are_read_as_gray(tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA", "LA"):
        assert read_labels(saved(tmp_path, Image.fromarray(GRAY).convert(mode))).tolist() == GRAY.tolist()
    with pytest.raises(DataError, match=r"other\.png is a color image; one channel of label values is needed"):
        read_labels(saved(tmp_path, Image.fromarray(photo(0)), "other.png"))


def test_floating_point_masks_are_rejected(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[0.5]], dtype=np.float32)), "mask.tif")
    with pytest.raises(DataError, match=r"mask\.tif contains float32 values; integers are needed"):
        read_labels(path)


@pytest.mark.parametrize("read", [read_image, read_labels, read_colors])
@pytest.mark.parametrize("content", ["nothing", "text", "half"])
def test_errors_name_the_unreadable_file(tmp_path: Path, read: object, content: str) -> None:
    path = saved(tmp_path, Image.fromarray(GRAY.repeat(90, axis=0)), "broken.png")
    data = path.read_bytes()
    path.write_bytes({"nothing": b"", "text": b"no image", "half": data[: len(data) // 2]}[content])
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image") as caught:
        read(path)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_pairs_share_the_relative_path(tmp_path: Path) -> None:
    save(tmp_path / "images" / "city" / "a.jpg", GRAY)
    (pair,) = pair_files(tmp_path / "images", tmp_path / "masks")
    assert pair == Pair("city/a.jpg", tmp_path / "images/city/a.jpg", tmp_path / "masks/city/a.png")

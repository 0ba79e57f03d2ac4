import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from segattn.io.image_files import ImageFileError, open_image, read_image

COLORS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = COLORS[..., 0]


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "ppm", "tga"])
def test_colors_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"image.{suffix}", Image.fromarray(COLORS), **options)
    np.testing.assert_array_equal(read_image(path), COLORS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGBA", "P", "CMYK"])
def test_other_modes_are_converted_like_in_pillow(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLORS).convert(mode)
    path = saved(tmp_path / ("image.tif" if mode == "CMYK" else "image.png"), image)
    np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))


def test_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(COLORS).quantize(4)
    path = saved(tmp_path / "image.png", image, transparency=bytes([0, 128, 255, 255]))
    np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("name", ["rgb.png", "rgb.tif", "rgba.png", "grey.png", "grey.tif", "grey.pgm"])
@pytest.mark.parametrize("scale", [256, 257])
def test_16_bits_are_scaled_with_a_note(tmp_path: Path, name: str, scale: int) -> None:
    values = COLORS.astype(np.uint16) * scale
    if name.startswith("grey"):
        values = values[..., 0]
    elif name.startswith("rgba"):
        values = np.concatenate([values, values[..., :1]], axis=-1)
    cv2.imwrite(str(tmp_path / name), values)
    expected = np.stack([GRAY] * 3, axis=-1) if name.startswith("grey") else COLORS[..., ::-1]
    with open_image(tmp_path / name) as opened:
        assert opened.notes == ("16 bits a channel, scaled to 8",)
        np.testing.assert_array_equal(opened.read(), expected)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_of_several_frames_is_read_with_a_note(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"image.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    with open_image(path) as opened:
        assert opened.notes == ("several frames or pages, only the first is read",)
        assert (opened.read() == (255, 0, 0)).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"image.{suffix}", Image.fromarray(COLORS), exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape == ((5, 7, 3) if orientation < 5 else (7, 5, 3))
    with open_image(path) as opened:
        np.testing.assert_array_equal(opened.read(), expected)


def test_number_of_pixels_is_limited(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.png", Image.fromarray(COLORS))
    with open_image(path, max_pixels=35):
        pass
    with (
        pytest.raises(ImageFileError, match="its 35 pixels are more than the limit of 34"),
        open_image(path, max_pixels=34),
    ):
        pass


@pytest.mark.parametrize(
    ("values", "what"),
    [(np.ones((3, 4), np.float32), "floating-point"), (np.full((3, 4), 70_000, np.int32), "32-bit values")],
)
def test_values_of_unknown_scale_are_an_error(tmp_path: Path, values: np.ndarray, what: str) -> None:
    with pytest.raises(ImageFileError, match=what):
        read_image(saved(tmp_path / "image.tif", Image.fromarray(values)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # from Pillow, before its error
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tif", "bmp"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9])
def test_truncated_files_are_an_error(tmp_path: Path, suffix: str, kept: float) -> None:
    path = saved(tmp_path / f"image.{suffix}", Image.fromarray(np.tile(COLORS, (20, 20, 1))))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageFileError, match=rf"image\.{suffix} cannot be read") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert caught.value.reason


def test_files_that_are_not_images(tmp_path: Path) -> None:
    def reason(path: Path) -> str:
        with pytest.raises(ImageFileError) as caught:
            read_image(path)
        return caught.value.reason

    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    assert reason(tmp_path / "empty.jpg") == "it is empty"
    assert reason(tmp_path / "text.jpg") == "it is not an image of a known format"
    assert reason(tmp_path / "folder.jpg") == reason(tmp_path / "pipe.jpg") == "it is not a regular file"
    assert reason(tmp_path / "dangling.jpg") == "No such file or directory"


def test_read_releases_the_decoded_image(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.png", Image.fromarray(COLORS))
    with open_image(path) as opened:
        pixels = opened.read()
        with pytest.raises(ValueError, match="closed"):
            opened.stored().getpixel((0, 0))
    np.testing.assert_array_equal(pixels, COLORS)

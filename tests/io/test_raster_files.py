"""Images with any number of channels: exact values of every type, errors, and georeferences."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn.io import raster_files
from segattn.io.image_files import ImageFileError, resize_image
from segattn.io.raster_files import as_rgb, georeference, read_raster


@pytest.fixture(name="rasterio")
def _rasterio():
    return pytest.importorskip("rasterio", reason="the extra `tiff` is not installed")


def write(rasterio, path: Path, values: np.ndarray, **options: object) -> None:
    """Write an array (h, w, c) as a TIFF file."""
    height, width, count = values.shape
    shape = {"height": height, "width": width, "count": count, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
        file.write(values.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("dtype", "largest"), [("uint8", 255), ("uint16", 65535), ("int16", 1), ("float32", 1), ("uint32", 2**32 - 1)]
)
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_channels_keep_their_values(rasterio, tmp_path: Path, dtype: str, largest: int, channels: int) -> None:
    generator = np.random.default_rng(channels)
    values = (generator.random((5, 9, channels)) * min(largest, 60000)).astype(dtype)
    if dtype == "int16":
        values = generator.integers(-3000, 3000, values.shape).astype(dtype)
    write(rasterio, tmp_path / "a.tif", values, compress="deflate")
    read = read_raster(tmp_path / "a.tif", channels)
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_allclose(read, values.astype(np.float64) / largest, rtol=1e-6)
    if channels == 4:
        assert as_rgb(read).shape == (5, 9, 3)


def test_files_that_do_not_fit_are_refused(rasterio, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write(rasterio, path, np.zeros((5, 9, 4), np.uint16))
    with pytest.raises(
        ImageFileError, match=r"a\.tif cannot be read as an image: it has 4 channels, but `channels` is 5"
    ):
        read_raster(path, 5)
    with pytest.raises(ImageFileError, match="its 45 pixels are more than the limit of 44"):
        read_raster(path, 4, max_pixels=44)
    for content in (b"", b"hello", path.read_bytes()[:60]):
        (tmp_path / "b.tif").write_bytes(content)
        with pytest.raises(ImageFileError, match=r"b\.tif cannot be read as an image: [^\n]+\.$"):
            read_raster(tmp_path / "b.tif", 4)
    with pytest.raises(ImageFileError, match="does not exist"):
        read_raster(tmp_path / "c.tif", 4)
    (tmp_path / "d.vrt").write_text(
        '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand band="1"/></VRTDataset>'
    )
    with pytest.raises(ImageFileError, match="it is of type VRT; allowed are GTiff"):
        read_raster(tmp_path / "d.vrt", 1)
    for values in (np.full((5, 9, 1), np.nan, np.float32), np.full((5, 9, 1), np.inf, np.float32)):
        write(rasterio, path, values)
        with pytest.raises(ImageFileError, match="infinite or not a number"):
            read_raster(path, 1)
    write(rasterio, path, np.ones((5, 9, 1), np.complex64))
    with pytest.raises(ImageFileError, match="complex64 values; integers or real numbers are needed"):
        read_raster(path, 1)


def test_georeference_can_be_read_beside_a_png_file(rasterio, tmp_path: Path) -> None:
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(390000.5, 5820000.25, 0.5, 0.25)}
    write(rasterio, tmp_path / "a.tif", np.zeros((5, 9, 4), np.uint16), **place)
    Image.fromarray(np.zeros((5, 9), np.uint8)).save(tmp_path / "mask.png")
    (tmp_path / "mask.png.aux.xml").write_text(georeference(tmp_path / "a.tif"))
    with rasterio.open(tmp_path / "mask.png") as file:
        assert file.crs == "EPSG:32633"
        assert file.transform == place["transform"]
        assert file.transform * (0, 0) == (390000.5, 5820000.25)
    write(rasterio, tmp_path / "b.tif", np.zeros((5, 9, 4), np.uint16))
    (tmp_path / "c.tif").write_bytes(b"hello")
    for name in ("b.tif", "c.tif", "mask.png"):
        assert georeference(tmp_path / name) is None


def test_without_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster_files, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"are read by rasterio: pip install 'segattn\[tiff\]'\.$"):
        read_raster(tmp_path / "a.tif", 4)
    assert georeference(tmp_path / "a.tif") is None


def test_views_stretch_each_channel() -> None:
    image = np.stack([np.linspace(0, 1, 101), np.linspace(-500, 3000, 101)], axis=-1)[None].astype(np.float32)
    gray = as_rgb(image)
    assert gray[0, 2].tolist() == [0] * 3
    assert gray[0, 50].tolist() == [127] * 3
    assert gray[0, 98].tolist() == [255] * 3
    rgb = as_rgb(np.concatenate([image, image], axis=-1))
    assert np.abs(rgb[..., 1] - gray[..., 0].astype(int)).max() <= 1
    assert (as_rgb(np.ones((2, 3, 1), np.float32)) == 0).all()


@pytest.mark.parametrize("size", [(3, 4), (20, 31)])
def test_resizing_treats_channels_alike(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((7, 9, 6)).astype(np.float32)
    resized = resize_image(image, size)
    assert resized.shape == (*size, 6)
    alone = resize_image(np.ascontiguousarray(image[..., 3:]), size)
    np.testing.assert_allclose(resized[..., 3:], alone, rtol=0, atol=1e-6)  # OpenCV may round another way

"""Tiny data sets in the real layouts, for tests that need files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from scipy.io import savemat

PHOTO_SIZE = (24, 32)  # (height, width)


def photo(seed: int, size: tuple[int, int] = PHOTO_SIZE) -> np.ndarray:
    """A random RGB image."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def quarters(values: Sequence[int], size: tuple[int, int] = PHOTO_SIZE) -> np.ndarray:
    """A mask of four rectangles: top left, top right, bottom left, bottom right."""
    mask = np.empty(size, dtype=np.int32)
    half_height, half_width = size[0] // 2, size[1] // 2
    mask[:half_height, :half_width], mask[:half_height, half_width:] = values[:2]
    mask[half_height:, :half_width], mask[half_height:, half_width:] = values[2:]
    return mask


def save(path: Path, array: np.ndarray, **options: object) -> None:
    """Write an image file and its parent folders; int32 becomes 8 or 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array.dtype == np.int32:
        array = array.astype(np.uint8 if array.max() < 256 else np.uint16)
    Image.fromarray(array).save(path, **options)  # type: ignore[arg-type]


def save_palette(path: Path, mask: np.ndarray, colors: np.ndarray) -> None:
    """Write a mask as a palette image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(colors.astype(np.uint8).tobytes().ljust(768, b"\0"))  # else Pillow drops the high bits
    image.save(path)


def camvid(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """CamVid: labels 0..10, and 11 for ignored pixels."""
    for part, count in (counts or {"train": 4, "val": 3}).items():
        for index in range(count):
            save(root / "images" / part / f"0001TP_{index:06d}.jpg", photo(index, size))
            save(root / "annotations" / part / f"0001TP_{index:06d}.png", quarters([0, index % 10 + 1, 10, 11], size))
    return root


def ade20k(
    root: Path,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = PHOTO_SIZE,
    *,
    instances: bool = False,
) -> Path:
    """SceneParse150: labels 1..150, 0 for other; optionally with the instance maps of the Places Challenge."""
    for part, count in (counts or {"training": 4, "validation": 3}).items():
        for index in range(count):
            stem = f"ADE_{'train' if part == 'training' else 'val'}_{index + 1:08d}"
            save(root / "images" / part / f"{stem}.jpg", photo(index, size))
            save(root / "annotations" / part / f"{stem}.png", quarters([0, 1, 150, index % 150 + 1], size))
            if instances:
                channels = [quarters([0, 0, 100, 0], size), quarters([0, 0, 7, 0], size), quarters([0] * 4, size)]
                save(root / "annotations_instance" / part / f"{stem}.png", np.stack(channels, -1).astype(np.uint8))
    return root


def cityscapes(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """Fine annotations of two cities: label ids, instance ids and colors."""
    for part, count in (counts or {"train": 4, "val": 3}).items():
        for index in range(count):
            city = ("aachen", "bochum")[index % 2]
            stem = f"{city}_{index:06d}_000019"
            save(root / "leftImg8bit" / part / city / f"{stem}_leftImg8bit.png", photo(index, size))
            labels, instances = quarters([7, 26, 33, 4], size), quarters([7, 26001, 33, 4], size)
            save(root / "gtFine" / part / city / f"{stem}_gtFine_labelIds.png", labels)
            save(root / "gtFine" / part / city / f"{stem}_gtFine_instanceIds.png", instances.astype(np.uint16))
            colors = np.array([[128, 64, 128], [0, 0, 142], [119, 11, 32], [0, 0, 0]], dtype=np.uint8)
            save(root / "gtFine" / part / city / f"{stem}_gtFine_color.png", colors[quarters([0, 1, 2, 3], size)])
    return root


def folder(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """Custom data: nested folders, several image types, gray masks with the labels 1, 2 and 7, a class file."""
    for part, count in (counts or {"train": 4, "val": 3}).items():
        for index in range(count):
            stem = ("", "day/", "night/clear/")[index % 3] + f"frame {index}"
            save(root / "images" / part / f"{stem}{('.png', '.JPG', '.bmp')[index % 3]}", photo(index, size))
            save(root / "masks" / part / f"{stem}.png", quarters([1, 2, 7, 255], size))
    classes = [{"name": "road", "label": 1}, {"name": "car", "label": 2, "thing": True}, {"name": "tree", "label": 7}]
    (root / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "ignore": [255]}))
    return root


VOC_COLORS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]])  # the first of its palette


def voc(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """Pascal VOC 2012: palette masks and instance maps with borders of 255, and lists.

    ``trainaug`` also lists two images that only SBD labels: gray masks without borders.
    """
    listed: dict[str, list[str]] = {}
    for year, (part, count) in enumerate((counts or {"train": 4, "val": 3}).items(), start=2007):
        for index in range(count):
            listed.setdefault(part, []).append(stem := f"{year}_{index:06d}")
            save(root / "JPEGImages" / f"{stem}.jpg", photo(10 * year + index, size))
            mask = quarters([0, 1, 2, 255], size)
            save_palette(root / "SegmentationClass" / f"{stem}.png", mask, VOC_COLORS)
            save_palette(root / "SegmentationObject" / f"{stem}.png", quarters([0, 2, 1, 255], size), VOC_COLORS)
    listed["trainaug"] = [*listed.get("train", []), "2010_000001", "2010_000002"]
    for index, stem in enumerate(listed["trainaug"]):
        save(root / "JPEGImages" / f"{stem}.jpg", photo(10 * 2010 + index, size))
        save(root / "SegmentationClassAug" / f"{stem}.png", quarters([0, 20, 15, 4], size))
    for name, stems in listed.items():
        path = root / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem}\n" for stem in stems))
    return root


def cocostuff(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """COCO-Stuff 164k: the category id of COCO minus 1, and 255."""
    for part, count in (counts or {"train2017": 4, "val2017": 3}).items():
        for index in range(count):
            save(root / "images" / part / f"{index:012d}.jpg", photo(index, size))
            save(root / "annotations" / part / f"{index:012d}.png", quarters([0, 91, 181, 255], size))
    return root


def cocostuff10k(root: Path, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """COCO-Stuff 10k: MATLAB files with the category id of COCO, and 0 for ignored pixels."""
    (root / "annotations").mkdir(parents=True)
    (root / "imageLists").mkdir()
    for part, year in (("train", 0), ("test", 1)):
        names = [f"COCO_train2014_{1000 * year + index:012d}" for index in range(3)]
        for name in names:
            save(root / "images" / f"{name}.jpg", photo(int(name[-4:]), size))
            savemat(root / "annotations" / f"{name}.mat", {"S": quarters([0, 1, 182, 13], size).astype(np.uint16)})
        (root / "imageLists" / f"{part}.txt").write_text("\n".join(names))
    return root


def loveda(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """LoveDA: labels 1..7, 0 for no data; the areas have the same numbers."""
    for part, count in (counts or {"Train": 4, "Val": 3}).items():
        for index in range(count):
            folder = root / part / ("Rural", "Urban")[index % 2]
            save(folder / "images_png" / f"{index // 2}.png", photo(index, size))
            save(folder / "masks_png" / f"{index // 2}.png", quarters([0, 1, 7, index % 7 + 1], size))
    return root


def isprs(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """Tiles of Potsdam: labels 1..6, 0 for boundaries."""
    for part, count in (counts or {"train": 4, "val": 3}).items():
        for index in range(count):
            name = f"2_10_{256 * index}_0_{256 * index + 512}_512.png"
            save(root / "img_dir" / part / name, photo(index, size))
            save(root / "ann_dir" / part / name, quarters([0, 1, 6, 5], size))
    return root


potsdam = vaihingen = isprs

ISAID_COLORS = {0: (0, 0, 0), 1: (0, 0, 63), 9: (0, 0, 127), 15: (0, 100, 155)}


def isaid(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """The complete images of iSAID with masks of class colors and of instance colors."""
    for part, count in (counts or {"train": 4, "val": 3}).items():
        for index in range(count):
            name = f"P{index + (1000 if part == 'val' else 0):04d}"
            save(root / part / "images" / f"{name}.png", photo(index, size))
            for kind, folder, values in (("color", "Semantic", [0, 1, 9, 15]), ("id", "Instance", [0, 7, 300, 300])):
                colors = np.array([ISAID_COLORS.get(value, (0, value >> 8, value & 255)) for value in values], np.uint8)
                mask = colors[quarters([0, 1, 2, 3], size)]
                save(root / part / f"{folder}_masks" / "images" / f"{name}_instance_{kind}_RGB.png", mask)
    return root


def context(root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """Pascal Context: labels 0..59, and lists."""
    for year, (part, count) in enumerate((counts or {"train": 4, "val": 3}).items(), start=2008):
        stems = [f"{year}_{index:06d}" for index in range(count)]
        for index, stem in enumerate(stems):
            save(root / "JPEGImages" / f"{stem}.jpg", photo(10 * year + index, size))
            save(root / "SegmentationClassContext" / f"{stem}.png", quarters([0, 1, 2, 59], size))
        path = root / "ImageSets" / "SegmentationContext" / f"{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem}\n" for stem in stems))
    return root

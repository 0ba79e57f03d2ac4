"""Every kind of finding on data made for it, and no finding on sound data."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from segattn.check import check_data
from segattn.check.findings import KINDS, SEVERITIES
from segattn.data import ADE20KDataModule, CamVidDataModule, CityscapesDataModule, FolderDataModule, ShapesDataModule
from segattn.data.ade20k import CLASSES as ADE20K_CLASSES
from segattn.data.cityscapes import CLASSES as CITYSCAPES_CLASSES
from tests.check.conftest import GOOD, SMALL, TWO, distinct_photos, labels, make_folder
from tests.data import layouts

ABSENCE = {"never-present", "never-scored"}
"""Expected in small data with many classes."""


def found(data, **options):
    """Findings by kind and split."""
    report = check_data(data, **options)
    assert [finding.severity for finding in report.findings] == sorted(
        (finding.severity for finding in report.findings), key=SEVERITIES.index
    )
    return {(finding.kind, finding.split): finding for finding in report.findings}


def kinds(data, **options):
    return {kind for kind, _ in found(data, **options)}


def masks_of(data, split="train"):
    return [pair.mask for pair in data.dataset(split).pairs]


def images_of(data, split="train"):
    return [pair.image for pair in data.dataset(split).pairs]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("every", [False, True])
def test_sound_data_has_no_findings(tmp_path, name, every):
    make, module = GOOD[name]
    root = make(tmp_path)
    if module is ShapesDataModule:
        data = module(str(root), image_size=64, num_train=6, num_val=3, crop_size=(64, 64), num_workers=0)
        data.prepare_data()
    else:
        data = module(str(distinct_photos(root)), **SMALL)
    assert not kinds(data, every=every) - ABSENCE


def test_an_image_with_two_values_of_a_class_is_counted_once(tmp_path):
    classes = {**labels(0, 1, ignore=[2]), "remap": [{"from": 9, "to": 1}]}
    result = check_data(make_folder(tmp_path, [layouts.quarters([0, 1, 9, 2], (4, 6))] * 3, classes)).splits["train"]
    assert result.images.tolist() == [3, 3]
    assert result.pixels.tolist() == [18, 36, 18]


def test_instance_maps_are_counted_as_objects(tmp_path):
    root = distinct_photos(layouts.cityscapes(tmp_path))
    data = CityscapesDataModule(str(root), instances=True, **SMALL)
    report = check_data(data)
    assert not {finding.kind for finding in report.findings} - ABSENCE
    assert report.splits["val"].objects.sum(axis=1)[CITYSCAPES_CLASSES.names.index("car")] == 3


def test_unusable_instance_maps(tmp_path):
    root = distinct_photos(layouts.cityscapes(tmp_path))
    data = CityscapesDataModule(str(root), instances=True, **SMALL)
    first, second = (pair.instances for pair in data.dataset("val").pairs[:2])
    first.write_bytes(first.read_bytes()[:40])
    layouts.save(second, layouts.quarters([1, 2, 3, 4], (6, 4)))
    finding = found(data)["unreadable-instances", "val"]
    assert finding.files == (str(first), str(second))
    assert finding.what.startswith("2 instance maps cannot be used; the first: ")
    assert not {kind for kind, _ in found(data)} & {"unreadable-label", "size-mismatch"}


def test_missing_and_surplus_label_files(camvid):
    root, data = camvid
    lost = masks_of(data)[2]
    lost.rename(lost.with_stem("left over"))
    findings = found(data)
    assert findings["missing-label", "train"].files == (str(root / "images/train" / lost.with_suffix(".jpg").name),)
    assert str(lost) in findings["missing-label", "train"].what
    assert findings["surplus-label", "train"].files == (str(lost.with_stem("left over")),)
    assert findings["missing-label", "train"].severity == "error"


def test_surplus_cityscapes_label_files(tmp_path):
    data = CityscapesDataModule(str(distinct_photos(layouts.cityscapes(tmp_path))), **SMALL)
    masks = masks_of(data)
    images_of(data)[0].unlink()
    assert found(data)["surplus-label", "train"].files == (str(masks[0]),)


def test_a_missing_split_is_reported_with_the_problems_of_the_other(camvid):
    root, data = camvid
    shutil.rmtree(root / "images/val")
    masks_of(data)[0].write_bytes(b"")
    findings = found(data)
    assert "No data found in" in findings["no-data", "val"].what
    assert findings["unreadable-label", "train"].files == (str(masks_of(data)[0]),)


def test_unreadable_and_truncated_files(camvid):
    _, data = camvid
    image, mask = images_of(data, "val")[1], masks_of(data)[3]
    image.write_bytes(image.read_bytes()[:400])
    mask.write_bytes(mask.read_bytes()[:60])
    findings = found(data)
    assert findings["unreadable-image", "val"].files == (str(image),)
    assert findings["unreadable-label", "train"].files == (str(mask),)


def test_sizes_that_differ(camvid):
    _, data = camvid
    path = masks_of(data)[0]
    layouts.save(path, layouts.quarters([0, 1, 2, 3], (32, 24)))
    finding = found(data)["size-mismatch", "train"]
    assert finding.files == (str(path),)
    assert "the image has 32x24 pixels, its labels 24x32 (rotated by 90 degrees?)" in finding.what


def test_values_outside_the_class_table(camvid):
    _, data = camvid
    path = masks_of(data, "val")[0]
    layouts.save(path, layouts.quarters([0, 12, 200, 3]))
    finding = found(data)["unknown-values", "val"]
    assert finding.files == (str(path),)
    assert finding.what.endswith("12, 200.")


def test_masks_of_0_and_255(tmp_path):
    masks = [layouts.quarters([0, 255, 0, 0])] * 3
    for number, classes in enumerate((labels(0, 1), TWO)):  # unknown, or silently ignored
        data = make_folder(tmp_path / str(number), masks, classes)
        assert len(found(data)["binary-255", "train"].files) == 3
    assert "binary-255" not in kinds(make_folder(tmp_path / "right", masks, labels(0, 255)))
    mixed = [layouts.quarters([0, 255, 0, 0])] * 2 + [layouts.quarters([0, 1, 0, 0])] * 6
    findings = found(make_folder(tmp_path / "mixed", mixed, TWO, val=mixed[-1:]))
    assert {kind for kind, _ in findings} == {"perhaps-255"}
    assert findings["perhaps-255", "train"].severity == "warning"
    assert len(findings["perhaps-255", "train"].files) == 2
    border = [layouts.quarters([0, 1, 255, 0])] * 3
    assert not kinds(make_folder(tmp_path / "border", border, TWO))


def test_255_is_ignored_where_the_foreground_is_rare(tmp_path):
    """One file of 300 contains it, and none of the sample."""
    ignored, rare = layouts.quarters([0, 255, 0, 0], (6, 8)), layouts.quarters([0, 1, 255, 0], (6, 8))
    data = make_folder(tmp_path / "rare", [*[ignored] * 250, rare, *[ignored] * 49], TWO, val=[rare])
    report = check_data(data)
    assert report.splits["train"].pixels.all()
    assert not {finding.kind for finding in report.findings if finding.severity == "error"}
    assert not [finding for finding in check_data(data, every=True).findings if finding.severity == "error"]
    alone = layouts.quarters([0, 1, 0, 0], (6, 8))  # without ignored
    some = make_folder(tmp_path / "alone", [*[ignored] * 98, alone], TWO, val=[ignored] * 20)
    for every in (False, True):
        assert not {kind for kind in kinds(some, every=every) if KINDS[kind][0] == "error"}
    never = make_folder(tmp_path / "never", [ignored] * 80, TWO)
    assert len(found(never)["binary-255", "train"].files) == 64


BY_COLOR = {"classes": [{"name": "ground", "color": [0, 0, 0]}, {"name": "sky", "color": [0, 0, 255]}]}


@pytest.mark.parametrize("listed", [labels(0, 255), BY_COLOR])
def test_no_further_files_are_read_if_255_is_a_class(tmp_path, monkeypatch, listed):
    mask = layouts.quarters([0, 255, 0, 0])
    data = make_folder(
        tmp_path, [np.stack([0 * mask, 0 * mask, mask], -1) if listed is BY_COLOR else mask] * 80, listed
    )
    monkeypatch.setattr("segattn.check.inspection.Inspector.values", lambda *_: pytest.fail("read"))
    assert not kinds(data)


def test_255_is_ignored_in_a_split_without_foreground_if_ignored_in_another(tmp_path):
    ignored, both = layouts.quarters([0, 255, 0, 0]), layouts.quarters([0, 1, 255, 0])
    train = [both] * 6 + [ignored] * 3
    assert kinds(make_folder(tmp_path / "void", train, TWO, val=[ignored] * 12)) == {"one-class"}
    clean = [layouts.quarters([0, 1, 0, 0])] * 9
    assert ("perhaps-255", "val") in found(make_folder(tmp_path / "clean", clean, TWO, val=[ignored] * 3))


def test_palettes_with_the_colors_of_other_classes(tmp_path):
    classes = {"classes": [{"name": "sky", "label": 0, "color": [0, 0, 255]}, {"name": "car", "label": 1}]}
    classes["classes"][1]["color"] = [255, 0, 0]
    data = make_folder(tmp_path, [layouts.quarters([0, 1, 1, 1])] * 2, classes)
    assert not kinds(data)
    for path in masks_of(data):
        mask = Image.fromarray(np.array(Image.open(path)), "P")
        mask.putpalette([255, 0, 0, 0, 0, 255])
        mask.save(path)
    assert len(found(data)["palette-label", "train"].files) == 2
    mask = Image.fromarray(np.array(Image.open(masks_of(data, "val")[0])), "P")
    mask.putpalette([0, 0, 255, 255, 0, 0])
    mask.save(masks_of(data, "val")[0])
    assert ("palette-label", "val") not in found(data)


def test_color_masks_read_as_gray(tmp_path):
    colors = np.array([[128, 64, 128], [0, 0, 142], [107, 142, 35]], dtype=np.uint8)[layouts.quarters([0, 1, 2, 0])]
    assert len(found(make_folder(tmp_path / "rgb", [colors] * 2, labels(0, 1, 2)))["color-label", "train"].files) == 2
    gray = cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY)
    table = [
        {"name": "road", "label": 0, "color": [128, 64, 128]},
        {"name": "car", "label": 1, "color": [0, 0, 142]},
        {"name": "tree", "label": 2, "color": [107, 142, 35]},
    ]
    assert "gray-of-colors" in kinds(make_folder(tmp_path / "gray", [gray] * 2, {"classes": table}))
    by_color = [{"name": row["name"], "color": row["color"]} for row in table]
    index = layouts.quarters([0, 1, 2, 0]).astype(np.uint8)
    assert "gray-label" in kinds(make_folder(tmp_path / "index", [index] * 2, {"classes": by_color}))
    assert not kinds(make_folder(tmp_path / "right", [colors] * 2, {"classes": by_color}))


def test_cityscapes_train_ids_that_are_also_label_ids(tmp_path):
    root = distinct_photos(layouts.cityscapes(tmp_path, {"train": 9, "val": 3}))
    data = CityscapesDataModule(str(root), **SMALL)
    assert not kinds(data) - ABSENCE
    for path in masks_of(data):
        layouts.save(path, layouts.quarters([7, 8, 11, 17]))
    assert len(found(data)["cityscapes-train-ids", "train"].files) == 9


def test_cityscapes_train_ids_where_label_ids_are_expected(tmp_path):
    data = CityscapesDataModule(str(distinct_photos(layouts.cityscapes(tmp_path))), **SMALL)
    for path in masks_of(data):
        layouts.save(path, layouts.quarters([0, 2, 13, 255]))
    finding = found(data)["cityscapes-train-ids", "train"]
    assert len(finding.files) == 4
    assert ("cityscapes-train-ids", "val") not in found(data)


@pytest.mark.parametrize("ignore", [[255], [255, *range(19, 34)]])
def test_cityscapes_label_ids_where_train_ids_are_expected(tmp_path, ignore):
    classes = [{"name": name, "label": index} for index, name in enumerate(CITYSCAPES_CLASSES.names)]
    content = {"classes": classes, "ignore": ignore}
    data = make_folder(tmp_path / "a", [layouts.quarters([7, 26, 33, 4])] * 2, content)
    assert len(found(data)["cityscapes-label-ids", "train"].files) == 2
    right = make_folder(tmp_path / "b", [layouts.quarters([0, 13, 18, 255])] * 2, content)
    assert not kinds(right) - ABSENCE


def test_ade20k_reduced_twice(tmp_path):
    data = ADE20KDataModule(str(distinct_photos(layouts.ade20k(tmp_path))), **SMALL)
    for path in masks_of(data):
        with Image.open(path) as image:
            reduced = np.array(image) - 1  # 0 becomes 255
        layouts.save(path, reduced)
    findings = found(data)
    assert len(findings["ade20k-reduced-twice", "train"].files) == 4
    assert ("ade20k-reduced-twice", "val") not in findings


def test_ade20k_not_reduced(tmp_path):
    classes = [{"name": name, "label": index} for index, name in enumerate(ADE20K_CLASSES.names)]
    masks = [layouts.quarters([0, 1, 150, 3])] * 2
    data = make_folder(tmp_path / "a", masks, {"classes": classes, "ignore": [255]})
    assert len(found(data)["ade20k-not-reduced", "train"].files) == 2
    many = [layouts.quarters([0, 1, 149, 3])] * 8
    assert "ade20k-not-reduced" in kinds(make_folder(tmp_path / "b", many, {"classes": classes, "ignore": [255]}))
    right = [layouts.quarters([0, 1, 149, 255])] * 8
    assert "ade20k-not-reduced" not in kinds(make_folder(tmp_path / "c", right, {"classes": classes, "ignore": [255]}))


def test_jpeg_masks_by_type(tmp_path):
    data = make_folder(tmp_path, [layouts.quarters([0, 1, 0, 1])] * 2, TWO, suffix=".jpg")
    assert len(found(data)["jpeg-label", "train"].files) == 2


def test_jpeg_masks_with_the_suffix_of_png(camvid):
    _, data = camvid
    disguised = masks_of(data)[0]
    with Image.open(disguised) as image:
        image.save(disguised, "JPEG")
    assert found(data)["jpeg-label", "train"].files == (str(disguised),)


def jpeg_twin(mask):
    """A mask after JPEG compression."""
    return cv2.imdecode(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_GRAYSCALE)


def blobs(noise, values, size=(96, 128)):
    """A mask of smooth areas."""
    smooth = cv2.GaussianBlur(noise.random(size), (0, 0), 6)
    ranks = (smooth.argsort(axis=None).argsort() * len(values) // smooth.size).reshape(size)
    return np.array(values, dtype=np.uint8)[ranks]


def test_jpeg_masks_by_their_unknown_values(tmp_path, noise):
    masks = [blobs(noise, [0, 60, 120, 180]) for _ in range(3)]
    classes = labels(0, 60, 120, 180)
    assert not kinds(make_folder(tmp_path / "good", masks, classes))
    stray = make_folder(tmp_path / "stray", [jpeg_twin(mask) for mask in masks], classes)
    assert len(found(stray)["interpolated-label", "train"].files) == 3
    every = labels(*range(200), ignore=range(200, 256))  # all values are known
    speckled = found(make_folder(tmp_path / "known", [jpeg_twin(mask) for mask in masks], every))
    assert len(speckled["speckled-label", "train"].files) == 3
    assert "speckled-label" not in kinds(make_folder(tmp_path / "whole", masks, every))


def test_everything_ignored(tmp_path):
    ignored, some = layouts.quarters([255] * 4), layouts.quarters([0, 1, 0, 1])
    assert found(make_folder(tmp_path / "all", [ignored] * 2, labels(0, 1, 2, ignore=[255])))["all-ignored", "train"]
    findings = found(make_folder(tmp_path / "one", [ignored, some, some, some], labels(0, 1, ignore=[255])))
    assert findings["ignored-label", "train"].files == (str(tmp_path / "one/masks/train/0.png"),)
    mostly = [layouts.quarters([0, 1, 255, 255])] * 2
    assert "50% of all pixels" in found(make_folder(tmp_path / "half", mostly, TWO))["mostly-ignored", "train"].what


def test_absent_classes_and_a_single_class(tmp_path):
    data = make_folder(tmp_path / "a", [layouts.quarters([0, 1, 1, 0])] * 2, labels(0, 1, 2, 3))
    findings = found(data)
    assert findings["never-present", "train"].what == "2 of 4 classes never occur: class 2; class 3."
    assert findings["never-scored", "val"].severity == "note"
    assert "one-class" in kinds(make_folder(tmp_path / "b", [layouts.quarters([0] * 4)] * 2, labels(0, 1)))


def test_copies_of_training_images_in_validation(camvid):
    _, data = camvid
    own, copy = images_of(data)[7], images_of(data, "val")[2]
    for path, suffix in ((own, ".bmp"), (copy, ".png")):  # the same pixels in different files
        layouts.save(path.with_suffix(suffix), layouts.photo(5))
        path.unlink()
    finding = found(data)["duplicates", "val"]
    assert finding.files == (str(copy.with_suffix(".png")),)
    assert str(own.with_suffix(".bmp")) in finding.what
    assert finding.severity == "warning"


def test_images_with_equal_mean_color_are_not_copies(camvid):
    _, data = camvid
    image = layouts.photo(5)
    layouts.save(images_of(data)[7], image)
    layouts.save(images_of(data, "val")[2], np.ascontiguousarray(image[::-1]))
    assert "duplicates" not in kinds(data)


def test_splits_of_the_same_files(tmp_path):
    root = distinct_photos(layouts.folder(tmp_path))
    data = FolderDataModule(str(root), val_images="images/train", val_masks="masks/train", **SMALL)
    assert kinds(data) == {"duplicates"}


def test_images_of_12_bits_in_16(tmp_path):
    data = make_folder(tmp_path, [layouts.quarters([0, 1, 1, 0])] * 3, labels(0, 1))
    for path in images_of(data):
        cv2.imwrite(str(path), 16 * cv2.imread(str(path)).astype(np.uint16))
    finding = found(data)["dark-image", "train"]
    assert finding.what == "3 of 3 images have no value above 15 of 255."
    assert ("dark-image", "val") not in found(data)


def test_crops_larger_than_images(camvid):
    root, _ = camvid
    data = CamVidDataModule(str(root), crop_size=(48, 65), num_workers=0)  # images of 24x32, enlarged twice at most
    finding = found(data)["large-crop", "train"]
    assert "smaller than the crop of 65x48 pixels even when enlarged 2 times" in finding.what
    assert "large-crop" not in kinds(CamVidDataModule(str(root), crop_size=(48, 64), num_workers=0))


def test_extreme_imbalance(tmp_path):
    mask = np.zeros((40, 50), dtype=np.uint8)
    mask[0, :20] = 1
    assert found(make_folder(tmp_path / "a", [mask] * 2, labels(0, 1)))["imbalance", "train"].what.startswith(
        "class 0 covers 99.00%"
    )
    mask = np.zeros((200, 200), dtype=np.uint8)
    mask[:100] = 1
    mask[0, 0] = 2
    data = make_folder(tmp_path / "b", [mask], labels(0, 1, 2))
    assert found(data)["imbalance", "train"].what == "class 0 has 20,000 times as many pixels as class 2."
    mask[0, :3] = 2
    layouts.save(masks_of(data)[0], mask)
    assert "imbalance" not in kinds(data)


def test_no_class_findings_if_the_labels_are_wrong(tmp_path):
    data = make_folder(tmp_path, [layouts.quarters([9, 9, 9, 9])] * 2, labels(0, 1))
    assert kinds(data) == {"unknown-values"}


def test_every_kind_is_tested():
    text = Path(__file__).read_text()
    assert not [kind for kind in KINDS if f'"{kind}"' not in text]


def test_the_real_data_sets_have_no_errors(shared_data, tmp_path, monkeypatch):
    monkeypatch.setattr("segattn.check.listing.SAMPLE", 16)
    classes = [{"name": f"stuff {value}", "label": value} for value in range(182)]
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "ignore": [255]}))
    folders = {"train_masks": "annotations/train", "val_masks": "annotations/val"}
    for data in (
        CamVidDataModule(str(shared_data / "camvid")),
        ADE20KDataModule(str(shared_data / "ADEChallengeData2016")),
        FolderDataModule(str(shared_data / "cocostuff"), classes=str(tmp_path / "classes.yaml"), **folders),
    ):
        assert not kinds(data) - ABSENCE


def test_label_0_of_the_real_ade20k_is_removed_once(shared_data, tmp_path):
    """Released files read with classes 0..149, and reduced files read as released, are errors; the others are not."""
    classes = [{"name": name, "label": index} for index, name in enumerate(ADE20K_CLASSES.names)]
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "ignore": [255]}))
    folders = {"train_images": "images/training", "val_images": "images/validation"}
    folders |= {"train_masks": "annotations/training", "val_masks": "annotations/validation"}
    real, reduced = shared_data / "ADEChallengeData2016", tmp_path / "reduced"
    reduced.mkdir()
    (reduced / "images").symlink_to(real / "images")
    for path in (real / "annotations").rglob("*.png"):
        with Image.open(path) as image:
            layouts.save(reduced / path.relative_to(real), np.array(image) - 1)  # 0 becomes 255
    for root, own, from_0 in ((real, None, "ade20k-not-reduced"), (reduced, "ade20k-reduced-twice", None)):
        for kind, data in (
            (own, ADE20KDataModule(str(root), num_workers=0)),
            (from_0, FolderDataModule(str(root), classes=str(tmp_path / "classes.yaml"), num_workers=0, **folders)),
        ):
            errors = {name: finding for name, finding in found(data).items() if finding.severity == "error"}
            assert set(errors) == ({(kind, "train"), (kind, "val")} if kind else set())
            assert all(len(finding.files) == len(data.dataset(split)) for (_, split), finding in errors.items())

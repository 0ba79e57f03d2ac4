"""Folders in the layouts that benchmarks and tools write, with counts by hand."""

import numpy as np
import pytest
from PIL import Image

from segattn.objects import read_record
from segattn.score import score_folder

IGNORED = 255
TRUTH = ([[0, 0, 1, 1], [0, 0, 1, IGNORED]], [[2, 2, 2, 0]])
MASKS = ([[0, 1, 1, 1], [0, 0, 0, 1]], [[2, 2, 0, 0]])
COUNTS = [[4, 2, 1], [2, 1, 1], [2, 0, 1]]
"""tp, fp and fn of the classes 0, 1 and 2; the ignored pixel counts nowhere."""

CITIES = ("frankfurt/frankfurt_000000_000294", "munster/munster_000001_000019")
FLAT_CITIES = tuple(name.split("/")[1] for name in CITIES)
CITY_IDS = {0: 7, 1: 8, 2: 11, IGNORED: 4}
ADE = ("ADE_val_00000001", "ADE_val_00000002")
COCO = ("000000000139", "000000000285")
VOC = ("2007_000033", "2007_000042")
PLAIN = {index: index for index in (0, 1, 2, IGNORED)}
PLUS_ONE = {0: 1, 1: 2, 2: 3, IGNORED: 0}

# Classes, label files (names, ending, values), masks (names, ending, values, mode of the image), and whether the masks
# contain label ids
CITY_TRUTH = ("cityscapes", CITIES, "_gtFine_labelIds.png", CITY_IDS)
ADE_TRUTH = ("ade20k", ADE, ".png", PLUS_ONE)
COCO_TRUTH = (171, COCO, "_labelTrainIds.png", PLAIN)
LAYOUTS = {
    "Cityscapes results in city folders": (CITY_TRUTH, CITIES, "_gtFine_labelIds.png", CITY_IDS, "L"),
    "Cityscapes results, flat": (CITY_TRUTH, FLAT_CITIES, "_pred_labelIds.png", CITY_IDS, "L"),
    "Cityscapes results, deep": (CITY_TRUTH, [f"a/b/{name}" for name in CITIES], "_leftImg8bit_pred.png", PLAIN, "L"),
    "Cityscapes, OpenMMLab format_only": (CITY_TRUTH, FLAT_CITIES, "_leftImg8bit.png", CITY_IDS, "L"),
    "Cityscapes, OpenMMLab --out": (CITY_TRUTH, FLAT_CITIES, "_leftImg8bit.png", PLAIN, "L"),
    "ADE20K annotations": (ADE_TRUTH, [f"validation/{name}" for name in ADE], ".png", PLUS_ONE, "L"),
    "ADE20K, OpenMMLab --out": (ADE_TRUTH, ADE, ".png", PLUS_ONE, "L"),
    "ADE20K, Hugging Face": (ADE_TRUTH, ADE, ".png", PLAIN, "L"),
    "ADE20K, Hugging Face, 32 bits": (ADE_TRUTH, ADE, ".tif", PLAIN, "I"),
    "ADE20K, Hugging Face, 16 bits": (ADE_TRUTH, ADE, ".png", PLAIN, "I;16"),
    "ADE20K, ultralytics": (ADE_TRUTH, [f"predict/masks/{name}" for name in ADE], ".png", PLAIN, "L"),
    "COCO-Stuff of OpenMMLab": (COCO_TRUTH, COCO, ".png", PLAIN, "L"),
    "COCO-Stuff pixel maps": ((182, [f"val2017/{name}" for name in COCO], ".png", PLAIN), COCO, ".png", PLAIN, "L"),
    "CamVid, masks named as predictions": ((32, VOC, "_L.png", PLAIN), VOC, "_prediction.png", PLAIN, "L"),
    "masks named as masks": ((3, VOC, "_label.png", PLAIN), VOC, "_mask.tif", PLAIN, "L"),
    "VOC, OpenMMLab --out": ((21, VOC, ".png", PLAIN), VOC, ".png", PLAIN, "L"),
    "VOC results with a palette": ((21, VOC, ".png", PLAIN), [f"Segmentation/{v}" for v in VOC], ".png", PLAIN, "P"),
}


def write(folder, names, ending, values, labels, mode):
    for name, indices in zip(names, labels, strict=True):
        path = folder / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.vectorize(values.get)(np.array(indices)).astype(
            {"I": np.int32, "I;16": np.uint16}.get(mode, np.uint8)
        )
        image = Image.fromarray(array)
        if mode == "P":
            image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
        image.save(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_counts_are_those_by_hand(tmp_path, layout):
    (classes, names, ending, values), mask_names, mask_ending, mask_values, mode = LAYOUTS[layout]
    write(tmp_path / "truth", names, ending, values, TRUTH, "L")
    write(tmp_path / "masks", mask_names, mask_ending, mask_values, MASKS, mode)
    if isinstance(classes, int):
        lines = [f"- {{name: class {value}, label: {value}}}" for value in range(classes)]
        classes = tmp_path / "classes.yaml"
        classes.write_text("\n".join(["ignore: [255]", "classes:", *lines]))
    kind = "ids" if mask_values is values else "indices"
    report = score_folder(
        tmp_path / "truth", tmp_path / "masks", tmp_path / "out.parquet", classes=classes, values=kind
    )
    assert (report.images, report.missing, report.extra) == (2, [], [])
    rows = read_record(report.record).rows
    sums = rows.groupby("class_id")[["tp", "fp", "fn"]].sum()
    assert sums.index.tolist() == [0, 1, 2]
    assert sums.to_numpy().tolist() == COUNTS


def test_colors_instances_and_train_ids_beside_cityscapes_results_are_not_masks(tmp_path):
    write(tmp_path / "truth", CITIES, "_gtFine_labelIds.png", CITY_IDS, TRUTH, "L")
    write(tmp_path / "masks", FLAT_CITIES, "_pred_labelIds.png", CITY_IDS, MASKS, "L")
    for ending in ("_pred_color.png", "_pred_instanceIds.png", "_pred_labelTrainIds.png"):
        write(tmp_path / "masks", FLAT_CITIES, ending, PLAIN, MASKS, "L")
    report = score_folder(tmp_path / "truth", tmp_path / "masks", tmp_path / "out.parquet", classes="cityscapes")
    assert (report.images, report.extra) == (2, [])

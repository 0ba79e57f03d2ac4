"""The files that examples in docstrings and in the documentation read: tiny data sets, a checkpoint, scored runs."""

import shutil
from pathlib import Path

from segattn.attention import PositionAttention
from segattn.checkpoints import TrainedModel, save_model
from segattn.data import ade20k, camvid, cityscapes, scenes
from segattn.data.class_file import LabelScheme
from segattn.inference import InferenceConfig
from segattn.score import score_folder
from tests.checkpoints.saved import lively_model, save_checkpoint
from tests.data import layouts
from tests.documentation import fenced_blocks
from tests.predict.conftest import save_pictures
from tests.report.records import named, write_record

DATA = {
    "ADEChallengeData2016": layouts.ade20k,
    "camvid": layouts.camvid,
    "cityscapes": layouts.cityscapes,
    "coco_stuff164k": layouts.cocostuff,
    "isaid": layouts.isaid,
    "LoveDA": layouts.loveda,
    "mine": layouts.folder,
    "potsdam": layouts.potsdam,
    "VOCdevkit/VOC2010": layouts.context,
    "VOCdevkit/VOC2012": layouts.voc,
}
"""The folder below ``data`` of each data set, as in the shipped configs, and what writes it."""

SCORED = {
    "camvid_fcn": camvid.CLASSES,
    "camvid_fla": camvid.CLASSES,
    "camvid_danet": camvid.CLASSES,
    "camvid_scsa": camvid.CLASSES,
    "ade20k_fcn": ade20k.CLASSES,
    "ade20k_fla": ade20k.CLASSES,
    "cityscapes_danet": cityscapes.CLASSES,
}
"""Runs and the classes of their checkpoints. Their records are equal, of CamVid, so that they can be compared."""


def write_documented_files(folder: Path) -> None:
    """Write what the examples in docstrings read, under the names that they use."""
    for name, write in DATA.items():
        write(folder / "data" / name)
    save_pictures(folder / "photos", "a.jpg", "b.jpg", height=40, width=56)
    save_pictures(folder, "photo.jpg", height=100, width=150)
    model = lively_model(classes=scenes.CLASSES, attention=PositionAttention)
    save_checkpoint(folder / "best.ckpt", model, classes=scenes.CLASSES)
    for name, lost in (("quickstart_fcn", 0.5), ("quickstart", 0.1)):
        run = folder / "runs" / name / "version_0"
        write_record(run / "objects_val.parquet", lost=lost, **named(name))
        (run / "checkpoints").mkdir()
        shutil.copy(folder / "best.ckpt", run / "checkpoints/best.ckpt")


def write_files_of_commands(folder: Path) -> None:
    """Write what the commands and the Python code of the documentation read besides that."""
    for link in ("camvid/annotations", "camvid/images", "cityscapes/gtFine"):
        (folder / Path(link).name).symlink_to(f"data/{link}")
    (folder / "DIR").symlink_to("data/camvid")
    layouts.camvid(folder / "broken")
    (folder / "broken/annotations/train/0001TP_000000.png").unlink()
    for name in ("one", "two"):
        shutil.copytree(folder / "data/camvid/annotations/val", folder / "results" / name)
    for path in (folder / "gtFine/val").rglob("*_labelIds.png"):
        shutil.copy(path, folder / "results/one")
    shutil.copy(folder / "results/two/0001TP_000000.png", folder / "results/one/0001.png")
    for name in ("a", "b"):
        layouts.save(folder / f"labels/{name}.png", layouts.quarters([0, 1, 2, 255], (40, 56)))
    shutil.copytree(folder / "runs/quickstart", folder / "demo/runs/quickstart")
    save_pictures(folder / "demo/shapes/images/val", "00002.png", height=100, width=150)
    (folder / "costs.csv").write_text("name,parameters\ncamvid_fcn,1000\n")
    for name in ("mine", "streets"):
        (folder / f"{name}.yaml").write_text(fenced_blocks("yaml")["README.md 2"])
    (folder / "trees.yaml").write_text(fenced_blocks("yaml")["recipes.md 1"])
    (folder / "trees.py").write_text(fenced_blocks("python")["recipes.md 4"])
    for number, split in enumerate(["train", "train", "train", "train", "val"]):
        layouts.save(folder / f"data/trees/images/{split}/{number}.png", layouts.photo(number))
        layouts.save(folder / f"data/trees/masks/{split}/{number}.png", layouts.quarters([0, 1, 2, 255]))
    mine = LabelScheme.read(folder / "data/mine/classes.yaml").classes
    for name, classes in {**SCORED, "mine": mine, "streets": mine}.items():
        run = folder / "runs" / name / "version_0"
        (run / "checkpoints").mkdir(parents=True)
        trained = TrainedModel(lively_model(classes=classes), classes, InferenceConfig())
        save_model(trained, run / "checkpoints/best.ckpt")
        _score(folder, run, name)
    _score(folder, folder / "scores/one", "one")


def _score(folder: Path, run: Path, name: str) -> None:
    masks, images = folder / "results/two", folder / "images/val"
    score_folder(
        folder / "annotations/val", masks, run / "objects_val.parquet", classes="camvid", images=images, name=name
    )

"""The files that examples in docstrings and in the documentation read: tiny data sets, a checkpoint, scored runs."""

import shutil
from pathlib import Path

from segattn.data.scenes import CLASSES
from tests.checkpoints.saved import save_checkpoint
from tests.data import layouts
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


def write_documented_files(folder: Path) -> None:
    """Write them under the names that the documentation uses."""
    for name, write in DATA.items():
        write(folder / "data" / name)
    save_pictures(folder / "photos", "a.jpg", "b.jpg", height=40, width=56)
    shutil.copy(folder / "photos/a.jpg", folder / "photo.jpg")
    checkpoint = save_checkpoint(folder / "best.ckpt", classes=CLASSES)
    for name, lost in (("quickstart_fcn", 0.5), ("quickstart", 0.1)):
        run = folder / "runs" / name / "version_0"
        write_record(run / "objects_val.parquet", lost=lost, **named(name))
        (run / "checkpoints").mkdir()
        shutil.copy(checkpoint, run / "checkpoints/best.ckpt")

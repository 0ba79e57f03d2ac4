"""Data sets and their Lightning data modules.

The data modules are imported on first use, so that the data sets can be used without torch and Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segattn.data.ade20k import ADE20K
from segattn.data.camvid import CamVid
from segattn.data.cityscapes import Cityscapes
from segattn.data.cocostuff import COCOStuff
from segattn.data.dataset import SegmentationDataset
from segattn.data.folder_dataset import Folder
from segattn.data.isaid import ISAID
from segattn.data.isprs import ISPRS
from segattn.data.loveda import LoveDA
from segattn.data.pascal_context import PascalContext
from segattn.data.shapes import Shapes
from segattn.data.voc import VOC

if TYPE_CHECKING:
    from segattn.data.base_datamodule import SegmentationDataModule
    from segattn.data.datamodules import (
        ADE20KDataModule,
        CamVidDataModule,
        CityscapesDataModule,
        COCOStuffDataModule,
        ControlledShapesDataModule,
        FolderDataModule,
        ISAIDDataModule,
        ISPRSDataModule,
        LoveDADataModule,
        PascalContextDataModule,
        ShapesDataModule,
        VOCDataModule,
    )

__all__ = [
    "ADE20K",
    "CamVid",
    "Cityscapes",
    "COCOStuff",
    "Folder",
    "ISAID",
    "ISPRS",
    "LoveDA",
    "PascalContext",
    "Shapes",
    "VOC",
    "SegmentationDataset",
    "ADE20KDataModule",
    "CamVidDataModule",
    "CityscapesDataModule",
    "COCOStuffDataModule",
    "ControlledShapesDataModule",
    "FolderDataModule",
    "ISAIDDataModule",
    "ISPRSDataModule",
    "LoveDADataModule",
    "PascalContextDataModule",
    "ShapesDataModule",
    "VOCDataModule",
    "SegmentationDataModule",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("segattn.data.datamodules"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

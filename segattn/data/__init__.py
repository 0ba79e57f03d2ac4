"""Data sets, their sources as a config describes them, and their Lightning data modules.

Data modules are imported at their first use: ``segattn check`` must not wait for torch and Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segattn.data.ade20k import ADE20K, ADE20KSource
from segattn.data.camvid import CamVid, CamVidSource
from segattn.data.cityscapes import Cityscapes, CityscapesSource
from segattn.data.dataset import SegmentationDataset
from segattn.data.folder_dataset import Folder, FolderSource
from segattn.data.shapes import Shapes, ShapesSource
from segattn.data.source import SegmentationSource

if TYPE_CHECKING:
    from segattn.data.datamodule import (
        ADE20KDataModule,
        CamVidDataModule,
        CityscapesDataModule,
        FolderDataModule,
        SegmentationDataModule,
        ShapesDataModule,
    )

__all__ = [
    "ADE20K",
    "ADE20KDataModule",
    "ADE20KSource",
    "CamVid",
    "CamVidDataModule",
    "CamVidSource",
    "Cityscapes",
    "CityscapesDataModule",
    "CityscapesSource",
    "Folder",
    "FolderDataModule",
    "FolderSource",
    "SegmentationDataModule",
    "SegmentationDataset",
    "SegmentationSource",
    "Shapes",
    "ShapesDataModule",
    "ShapesSource",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("segattn.data.datamodule"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

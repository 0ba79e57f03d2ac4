"""Data sets and their Lightning data modules."""

from segattn.data.ade20k import ADE20K, ADE20KDataModule
from segattn.data.base import SegmentationDataset
from segattn.data.camvid import CamVid, CamVidDataModule
from segattn.data.cityscapes import Cityscapes, CityscapesDataModule
from segattn.data.datamodule import SegmentationDataModule
from segattn.data.folder import Folder, FolderDataModule
from segattn.data.shapes import Shapes, ShapesDataModule

__all__ = [
    "ADE20K",
    "ADE20KDataModule",
    "CamVid",
    "CamVidDataModule",
    "Cityscapes",
    "CityscapesDataModule",
    "Folder",
    "FolderDataModule",
    "SegmentationDataModule",
    "SegmentationDataset",
    "Shapes",
    "ShapesDataModule",
]

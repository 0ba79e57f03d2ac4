"""Data sets and their Lightning data modules."""

from segattn.data.base import SegmentationDataset
from segattn.data.camvid import CamVid, CamVidDataModule
from segattn.data.datamodule import SegmentationDataModule
from segattn.data.shapes import Shapes, ShapesDataModule

__all__ = [
    "CamVid",
    "CamVidDataModule",
    "SegmentationDataModule",
    "SegmentationDataset",
    "Shapes",
    "ShapesDataModule",
]

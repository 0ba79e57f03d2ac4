"""One data module for each data set: its arguments in a config, and how its splits are opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segattn.data import ade20k, camvid, cityscapes, cocostuff, isaid, isprs, loveda, voc
from segattn.data.ade20k import ADE20K
from segattn.data.base_datamodule import SegmentationDataModule
from segattn.data.camvid import CamVid
from segattn.data.cityscapes import Cityscapes
from segattn.data.class_file import LabelScheme
from segattn.data.cocostuff import COCOStuff
from segattn.data.controlled_shapes import Context, ControlledDrawing
from segattn.data.errors import DataNotFoundError
from segattn.data.folder_dataset import Folder
from segattn.data.isaid import ISAID
from segattn.data.isprs import ISPRS
from segattn.data.loveda import LoveDA
from segattn.data.pascal_context import PascalContext, read_scheme
from segattn.data.shapes import Drawing, Shapes, draw_shapes
from segattn.data.voc import VOC
from segattn.io.raster_files import require_rasterio
from segattn.sample import SizeRule


class ADE20KDataModule(SegmentationDataModule):
    """ADE20K SceneParse150. It has no public test labels.

    Args:
        root: the folder that contains ``images`` and ``annotations``.
        crop_size: (height, width) of training crops.
        size_rule: image size in evaluation, and at scale 1 in training.
        instances: read the instance maps in ``annotations_instance`` in evaluation.

    Examples:
        >>> from segattn.data import ADE20KDataModule
        >>> data = ADE20KDataModule("data/ADEChallengeData2016", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 512, 512])
    """

    def __init__(
        self,
        root: str = "data/ADEChallengeData2016",
        *,
        crop_size: tuple[int, int] = (512, 512),
        size_rule: SizeRule = ade20k.TEST_SIZE,
        instances: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, ade20k.CLASSES, crop_size=crop_size, size_rule=size_rule, **kwargs)
        self.instances = instances

    def dataset(self, split: str) -> ADE20K:
        """Open ``train`` or ``val``."""
        return ADE20K(self.root, split, instances=self.instances and split != "train")


class CamVidDataModule(SegmentationDataModule):
    """CamVid with eleven classes.

    Args:
        root: the folder that contains ``images`` and ``annotations``.
        crop_size: (height, width) of training crops.

    Examples:
        >>> from segattn.data import CamVidDataModule
        >>> data = CamVidDataModule("data/camvid", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 352, 480])
    """

    def __init__(self, root: str = "data/camvid", *, crop_size: tuple[int, int] = (352, 480), **kwargs: Any) -> None:
        super().__init__(root, camvid.CLASSES, crop_size=crop_size, **kwargs)

    def dataset(self, split: str) -> CamVid:
        """Open ``train``, ``val`` or ``test``."""
        return CamVid(self.root, split)


class CityscapesDataModule(SegmentationDataModule):
    """Cityscapes with 19 classes. It has no public test labels.

    Args:
        root: the folder that contains ``leftImg8bit`` and ``gtFine``.
        crop_size: (height, width) of training crops.
        instances: read the instance maps in ``gtFine`` in evaluation.

    Examples:
        >>> from segattn.data import CityscapesDataModule
        >>> data = CityscapesDataModule("data/cityscapes", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 512, 1024])
    """

    def __init__(
        self,
        root: str = "data/cityscapes",
        *,
        crop_size: tuple[int, int] = (512, 1024),
        instances: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, cityscapes.CLASSES, crop_size=crop_size, **kwargs)
        self.instances = instances

    def dataset(self, split: str) -> Cityscapes:
        """Open ``train`` or ``val``."""
        return Cityscapes(self.root, split, instances=self.instances and split != "train")


class COCOStuffDataModule(SegmentationDataModule):
    """COCO-Stuff with 171 classes. The test images of release 10k are the split ``val``.

    Args:
        root: the folder that contains ``images`` and ``annotations``.
        crop_size: (height, width) of training crops.
        release: ``164k`` or ``10k``.

    Examples:
        >>> from segattn.data import COCOStuffDataModule
        >>> data = COCOStuffDataModule("data/coco_stuff164k", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 512, 512])
    """

    def __init__(
        self,
        root: str = "data/coco_stuff164k",
        *,
        crop_size: tuple[int, int] = (512, 512),
        release: str = "164k",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, cocostuff.CLASSES, crop_size=crop_size, **kwargs)
        self.release = release

    def dataset(self, split: str) -> COCOStuff:
        """Open ``train`` or ``val``."""
        return COCOStuff(self.root, split, release=self.release)


class FolderDataModule(SegmentationDataModule):
    """Custom images and masks. Paths are absolute or relative to ``root``.

    Args:
        root: the folder of the data set.
        classes: class file, see ``docs/custom_data.md``.
        train_images: folder of training images, with any subfolders.
        train_masks: folder of their masks, with the same relative paths.
        val_images: folder of validation images.
        val_masks: folder of their masks.
        test_images: folder of test images; null if there are none.
        test_masks: folder of their masks.
        train_list: text file with the relative paths of the training images, one a line; null for all of them.
        val_list: the same for the validation images.
        test_list: the same for the test images.
        crop_size: (height, width) of training crops.
        channels: number of channels of the images, which are then read as they are, with 8 or 16 bits or floating-point
            values; unsigned integers are divided by their largest value. Null reads 8-bit RGB.

    Examples:
        >>> from segattn.data import FolderDataModule
        >>> data = FolderDataModule("data/mine", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 512, 512])
    """

    def __init__(
        self,
        root: str,
        *,
        classes: str = "classes.yaml",
        train_images: str = "images/train",
        train_masks: str = "masks/train",
        val_images: str = "images/val",
        val_masks: str = "masks/val",
        test_images: str | None = None,
        test_masks: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        test_list: str | None = None,
        crop_size: tuple[int, int] = (512, 512),
        channels: int | None = None,
        **kwargs: Any,
    ) -> None:
        if channels is not None:
            if channels < 1:
                raise ValueError(f"channels must be at least 1, got {channels}.")
            require_rasterio()
        self.channels = channels
        self.scheme = LabelScheme.read(Path(root) / classes)
        super().__init__(root, self.scheme.classes, crop_size=crop_size, **kwargs)
        self.folders: Mapping[str, tuple[str | None, str | None]] = {
            "train": (train_images, train_masks),
            "val": (val_images, val_masks),
            "test": (test_images, test_masks),
        }
        self.lists = {"train": train_list, "val": val_list, "test": test_list}

    def dataset(self, split: str) -> Folder:
        """Open ``train``, ``val`` or, if its folders are given, ``test``."""
        images, masks = self.folders[split]
        if images is None or masks is None:
            raise DataNotFoundError("There are no test images: set data.test_images and data.test_masks.")
        listing = self.root / path if (path := self.lists[split]) else None
        return Folder(self.root / images, self.root / masks, self.scheme, listing=listing, channels=self.channels)


class ISAIDDataModule(SegmentationDataModule):
    """iSAID with 15 classes and background. It has no public test labels.

    Args:
        root: the folder that contains ``train`` and ``val``, or tiles in ``img_dir`` and ``ann_dir``.
        crop_size: (height, width) of training crops.
        instances: read the instance maps in evaluation.

    Examples:
        >>> from segattn.data import ISAIDDataModule
        >>> data = ISAIDDataModule("data/isaid", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 896, 896])
    """

    def __init__(
        self,
        root: str = "data/isaid",
        *,
        crop_size: tuple[int, int] = (896, 896),
        instances: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, isaid.CLASSES, crop_size=crop_size, **kwargs)
        self.instances = instances

    def dataset(self, split: str) -> ISAID:
        """Open ``train`` or ``val``."""
        return ISAID(self.root, split, instances=self.instances and split != "train")


class ISPRSDataModule(SegmentationDataModule):
    """ISPRS Potsdam or Vaihingen with six classes. Their official test images are the split ``val``.

    Args:
        root: the folder that contains ``img_dir`` and ``ann_dir``.
        crop_size: (height, width) of training crops.

    Examples:
        >>> from segattn.data import ISPRSDataModule
        >>> data = ISPRSDataModule("data/potsdam", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 512, 512])
    """

    def __init__(self, root: str = "data/potsdam", *, crop_size: tuple[int, int] = (512, 512), **kwargs: Any) -> None:
        super().__init__(root, isprs.CLASSES, crop_size=crop_size, **kwargs)

    def dataset(self, split: str) -> ISPRS:
        """Open ``train`` or ``val``."""
        return ISPRS(self.root, split)


class LoveDADataModule(SegmentationDataModule):
    """LoveDA with seven classes. It has no public test labels.

    Args:
        root: the folder that contains ``Train`` and ``Val``.
        crop_size: (height, width) of training crops.

    Examples:
        >>> from segattn.data import LoveDADataModule
        >>> data = LoveDADataModule("data/LoveDA", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 512, 512])
    """

    def __init__(self, root: str = "data/LoveDA", *, crop_size: tuple[int, int] = (512, 512), **kwargs: Any) -> None:
        super().__init__(root, loveda.CLASSES, crop_size=crop_size, **kwargs)

    def dataset(self, split: str) -> LoveDA:
        """Open ``train`` or ``val``."""
        return LoveDA(self.root, split)


class PascalContextDataModule(SegmentationDataModule):
    """Pascal Context with 60 or 59 classes. It has no public test labels.

    Args:
        root: the folder ``VOC2010``, which contains ``JPEGImages``, ``SegmentationClassContext`` and ``ImageSets``.
        crop_size: (height, width) of training crops.
        classes: ``context60`` or ``context59``, or the same with ``_voc_first`` for label files in FCN's order.

    Examples:
        >>> from segattn.data import PascalContextDataModule
        >>> data = PascalContextDataModule("data/VOCdevkit/VOC2010", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 480, 480])
    """

    def __init__(
        self,
        root: str = "data/VOCdevkit/VOC2010",
        *,
        crop_size: tuple[int, int] = (480, 480),
        classes: str = "context60",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, read_scheme(classes).classes, crop_size=crop_size, **kwargs)
        self.class_file = classes

    def dataset(self, split: str) -> PascalContext:
        """Open ``train`` or ``val``."""
        return PascalContext(self.root, split, classes=self.class_file)


class DrawnDataModule(SegmentationDataModule):
    """Images that are drawn on first use.

    Args:
        root: folder of the images, which are drawn if missing; null uses a folder in the user's cache.
        drawing: what is drawn.
        crop_size: (height, width) of training crops.
    """

    def __init__(self, root: str | None, drawing: Drawing, *, crop_size: tuple[int, int], **kwargs: Any) -> None:
        self.drawing = drawing
        super().__init__(root or str(drawing.default_root()), drawing.classes, crop_size=crop_size, **kwargs)

    def prepare_data(self) -> None:
        """Draw the images, on one process of each machine."""
        draw_shapes(self.root, self.drawing)

    def dataset(self, split: str) -> Shapes:
        """Open ``train``, ``val`` or, if ``num_test`` is positive, ``test``."""
        return Shapes(self.root, split, drawing=self.drawing)


class ShapesDataModule(DrawnDataModule):
    """Shapes, drawn on first use.

    Args:
        root: folder of the images, which are drawn if missing; null uses a folder in the user's cache.
        crop_size: (height, width) of training crops.
        image_size: side length of the images in pixels.
        num_train: number of training images.
        num_val: number of validation images.
        num_test: number of test images.

    Examples:
        >>> from segattn.data import ShapesDataModule
        >>> data = ShapesDataModule("data/small_shapes", num_train=4, num_val=2, batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 224, 224])
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        crop_size: tuple[int, int] = (224, 224),
        image_size: int = 224,
        num_train: int = 480,
        num_val: int = 120,
        num_test: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, Drawing(image_size, num_train, num_val, num_test), crop_size=crop_size, **kwargs)


class ControlledShapesDataModule(DrawnDataModule):
    """Ellipses whose properties are set independently of each other, drawn on first use; see docs/size_study.md.

    Args:
        root: folder of the images, which are drawn if missing; null uses a folder in the user's cache.
        crop_size: (height, width) of training crops.
        image_size: side length of the images in pixels.
        num_train: number of training images.
        num_val: number of validation images.
        num_test: number of test images.
        sides: object sizes, of which each object has a random one: the side of a square of the same visible area.
        thinness: length of an unoccluded object divided by its width, at least 1. The area stays the same.
        number: objects per image.
        occlusion: share of each object that an occluder hides, 0 to below 0.5. The visible area stays the same.
        contrast: 0 to 1, factor of the difference between the colors of objects and background.
        context: what shows the class of an object: its own color (``none``) or a marker that touches it
            (``neighbor``), in its ``row``, in its ``column`` or anywhere in the ``image``.

    Examples:
        >>> from segattn.data import ControlledShapesDataModule
        >>> data = ControlledShapesDataModule("data/row", num_train=4, num_val=2, batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 96, 96])
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        crop_size: tuple[int, int] = (96, 96),
        image_size: int = 96,
        num_train: int = 400,
        num_val: int = 200,
        num_test: int = 0,
        sides: tuple[float, ...] = (5.0, 8.0, 13.0, 20.0),
        thinness: float = 1.0,
        number: int = 2,
        occlusion: float = 0.0,
        contrast: float = 1.0,
        context: Context = "none",
        **kwargs: Any,
    ) -> None:
        drawing = ControlledDrawing(
            image_size,
            num_train,
            num_val,
            num_test,
            sides=sides,
            thinness=thinness,
            number=number,
            occlusion=occlusion,
            contrast=contrast,
            context=context,
        )
        super().__init__(root, drawing, crop_size=crop_size, **kwargs)


class VOCDataModule(SegmentationDataModule):
    """Pascal VOC 2012 with 21 classes. It has no public test labels.

    Args:
        root: the folder ``VOC2012``, which contains ``JPEGImages``, ``SegmentationClass`` and ``ImageSets``.
        crop_size: (height, width) of training crops.
        sbd: train on the images of ``trainaug.txt``, which adds those that SBD labeled.
        instances: read the instance maps in ``SegmentationObject`` in evaluation.

    Examples:
        >>> from segattn.data import VOCDataModule
        >>> data = VOCDataModule("data/VOCdevkit/VOC2012", batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([2, 3, 512, 512])
    """

    def __init__(
        self,
        root: str = "data/VOCdevkit/VOC2012",
        *,
        crop_size: tuple[int, int] = (512, 512),
        sbd: bool = False,
        instances: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, voc.CLASSES, crop_size=crop_size, **kwargs)
        self.sbd = sbd
        self.instances = instances

    def dataset(self, split: str) -> VOC:
        """Open ``train`` or ``val``."""
        return VOC(self.root, split, sbd=self.sbd, instances=self.instances and split != "train")

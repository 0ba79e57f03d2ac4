"""The contract of all data modules; a new one is tested by an entry in MODULES."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import albumentations as A
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from segattn.data import (
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
    SegmentationDataModule,
    ShapesDataModule,
    VOCDataModule,
)
from segattn.data.errors import DataError, DataNotFoundError
from segattn.sample import IGNORE_INDEX, Batch, ClassTable, SizeRule
from tests.data import layouts

MODULES: dict[type[SegmentationDataModule], Callable[[Path], Path]] = {
    ADE20KDataModule: layouts.ade20k,
    CamVidDataModule: layouts.camvid,
    CityscapesDataModule: layouts.cityscapes,
    COCOStuffDataModule: layouts.cocostuff,
    FolderDataModule: layouts.folder,
    ISAIDDataModule: layouts.isaid,
    ISPRSDataModule: layouts.isprs,
    LoveDADataModule: layouts.loveda,
    PascalContextDataModule: layouts.context,
    ControlledShapesDataModule: lambda root: root,
    ShapesDataModule: lambda root: root,
    VOCDataModule: layouts.voc,
}
SMALL: dict[str, Any] = {"crop_size": (16, 20), "batch_size": 2, "num_workers": 0}
TINY_SHAPES = {"image_size": 32, "num_train": 4, "num_val": 3}
DRAWN = {ShapesDataModule: TINY_SHAPES, ControlledShapesDataModule: {**TINY_SHAPES, "sides": (5.0,), "number": 1}}
"""The data modules that draw their images, with the arguments for few and small ones."""


def build(module: type[SegmentationDataModule], root: Path, **arguments: Any) -> SegmentationDataModule:
    shapes = DRAWN.get(module, {})
    return module(root=str(MODULES[module](root)), **{**SMALL, **shapes, **arguments})


@pytest.mark.parametrize("module", MODULES)
def test_training_and_validation_batches(tmp_path: Path, module: type[SegmentationDataModule]) -> None:
    data = build(module, tmp_path, val_batch_size=1)
    assert isinstance(data.classes, ClassTable)
    assert isinstance(data.size_rule, SizeRule)
    data.prepare_data()
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.train_dataloader()) == 2
    for batch in batches:
        assert batch["image"].shape == (2, 3, 16, 20)
        assert batch["image"].dtype == torch.float32
        assert batch["mask"].shape == (2, 16, 20)
        assert set(batch["mask"].unique().tolist()) <= {*range(len(data.classes)), IGNORE_INDEX}
        assert set(batch) == {"image", "mask", "name"}
    evaluated = list(data.val_dataloader())
    names = [name for batch in evaluated for name in batch["name"]]
    assert names == sorted(names)
    assert len(set(names)) == 3
    for batch in evaluated:
        assert batch["image"].dtype == torch.float32
        assert batch["mask"].shape[1:] == batch["objects"][0].labels.shape


@pytest.mark.parametrize("module", MODULES)
def test_it_can_be_created_from_a_config(module: type[SegmentationDataModule], tmp_path: Path) -> None:
    layouts.folder(tmp_path)
    parser = ArgumentParser()
    parser.add_subclass_arguments(SegmentationDataModule, "data")
    arguments = {"root": str(tmp_path), "crop_size": [64, 32], "size_rule": {"short_side": 100}, "seed": 3}
    config = parser.parse_object({"data": {"class_path": module.__name__, "init_args": arguments}})
    data = parser.instantiate(config).data
    assert type(data) is module
    assert data.size_rule.short_side == 100


@pytest.mark.parametrize("module", [module for module in MODULES if module not in DRAWN])
def test_setup_reports_missing_data(tmp_path: Path, module: type[SegmentationDataModule]) -> None:
    root = tmp_path / "nowhere"
    if module is FolderDataModule:
        layouts.folder(root, {"train": 2})
    data = module(root=str(root))
    for stage in ("fit", "validate"):
        with pytest.raises(DataNotFoundError, match=r"No data found in /.*nowhere.*: expected"):
            data.setup(stage)
    data.setup("predict")


def test_setup_reports_missing_label_files(tmp_path: Path) -> None:
    data = build(CamVidDataModule, tmp_path)
    data.dataset("val").pairs[0].mask.unlink()
    for stage in ("fit", "validate"):
        with pytest.raises(DataError, match=r"1 label files are missing, for example .*val/0001TP_000000\.png"):
            data.setup(stage)


def test_test_batches_are_those_of_the_test_split(tmp_path: Path) -> None:
    data = build(CamVidDataModule, tmp_path)
    layouts.camvid(tmp_path, {"test": 5})
    data.setup("test")
    assert list(data.datasets) == ["test"]
    names = [name for batch in data.test_dataloader() for name in batch["name"]]
    assert names == [f"0001TP_{index:06d}.jpg" for index in range(5)]
    shapes = ShapesDataModule(root=str(tmp_path / "shapes"), **SMALL, **TINY_SHAPES, num_test=2)
    shapes.setup("test")
    assert len(list(shapes.test_dataloader())) == 2


@pytest.mark.parametrize("module", [module for module in MODULES if module is not CamVidDataModule])
def test_no_other_images_replace_a_missing_test_split(tmp_path: Path, module: type[SegmentationDataModule]) -> None:
    with pytest.raises(DataNotFoundError, match=r"no (public labels for its )?test images"):
        build(module, tmp_path).setup("test")


def test_custom_transforms_from_a_config(tmp_path: Path) -> None:
    root = str(layouts.camvid(tmp_path))
    noise = {"class_path": "albumentations.GaussNoise", "init_args": {"p": 1.0}}
    rotate = {"class_path": "albumentations.Rotate", "init_args": {"limit": 45, "fill_mask": 255, "p": 1.0}}
    one_of = {"class_path": "albumentations.OneOf", "init_args": {"transforms": [noise, rotate], "p": 1.0}}
    parser = ArgumentParser()
    parser.add_subclass_arguments(SegmentationDataModule, "data")
    for transforms in (noise, [noise, rotate], [one_of]):
        arguments = {"root": root, **SMALL, "transforms": transforms, "vertical_flip": 0.5}
        config = parser.parse_object({"data": {"class_path": "CamVidDataModule", "init_args": arguments}})
        data = parser.instantiate(config).data

        assert equal(training_batches(data), training_batches(parser.instantiate(config).data))


OWN = [A.GaussNoise(p=0.7), A.Rotate(limit=45, fill_mask=IGNORE_INDEX)]


def test_custom_transforms_do_not_depend_on_workers_or_position(tmp_path: Path) -> None:
    first = training_batches(build(CamVidDataModule, tmp_path, transforms=OWN))
    assert equal(first, training_batches(build(CamVidDataModule, tmp_path, transforms=OWN, num_workers=2)))
    assert not equal(first, training_batches(build(CamVidDataModule, tmp_path)))
    resumed = build(CamVidDataModule, tmp_path, transforms=OWN)
    resumed.setup("fit")
    loader = resumed.train_dataloader()
    loader.sampler.used = lambda: 2  # type: ignore[attr-defined]
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert equal(first[3:], list(loader))


def training_batches(data: SegmentationDataModule, epochs: int = 2) -> list[Batch]:
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    batches = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches += list(loader)
    return batches


def equal(first: list[Batch], second: list[Batch]) -> bool:
    return all(
        a["name"] == b["name"] and torch.equal(a["image"], b["image"]) and torch.equal(a["mask"], b["mask"])
        for a, b in zip(first, second, strict=True)
    )


def test_batches_depend_on_seed_and_epoch_but_not_on_workers(tmp_path: Path) -> None:
    first = training_batches(build(CamVidDataModule, tmp_path))
    for workers in (1, 2):
        assert equal(first, training_batches(build(CamVidDataModule, tmp_path, num_workers=workers)))
    np.random.seed(1)
    torch.manual_seed(1)
    assert equal(first, training_batches(build(CamVidDataModule, tmp_path)))
    assert not equal(first, training_batches(build(CamVidDataModule, tmp_path, seed=1)))
    by_name = [
        {name: image for batch in epoch for name, image in zip(batch["name"], batch["image"], strict=True)}
        for epoch in (first[:2], first[2:])
    ]
    assert by_name[0].keys() == by_name[1].keys()
    assert not any(torch.equal(by_name[0][name], by_name[1][name]) for name in by_name[0])


def test_evaluation_keeps_the_size_of_image_and_mask(tmp_path: Path) -> None:
    data = build(ADE20KDataModule, tmp_path, size_rule=SizeRule(short_side=12))
    data.setup("validate")
    (first, *_) = data.val_dataloader()
    assert first["image"].shape == (1, 3, *layouts.PHOTO_SIZE)
    assert first["mask"].shape == (1, *layouts.PHOTO_SIZE)
    assert set(first["mask"].unique().tolist()) == {0, 149, IGNORE_INDEX}


def test_evaluation_reads_instances_on_request(tmp_path: Path) -> None:
    data = CityscapesDataModule(str(layouts.cityscapes(tmp_path)), instances=True, **SMALL)
    data.setup("fit")
    assert "instances" not in next(iter(data.train_dataloader()))
    batch = next(iter(data.val_dataloader()))
    assert batch["instances"].unique().tolist() == [0, 26001]
    assert batch["objects"][0].is_instance.sum() == 1
    without = ADE20KDataModule(str(layouts.ade20k(tmp_path / "ade")), instances=True, **SMALL)
    with pytest.raises(DataNotFoundError, match="annotations_instance"):
        without.setup("validate")


def test_evaluation_batches_of_different_sizes_are_rejected(tmp_path: Path) -> None:
    data = build(CamVidDataModule, tmp_path, val_batch_size=2)
    for suffix, folder in (("jpg", "images"), ("png", "annotations")):
        path = tmp_path / folder / "val" / f"0001TP_000001.{suffix}"
        layouts.save(path, layouts.photo(0, (10, 12)) if suffix == "jpg" else layouts.quarters([0, 1, 2, 3], (10, 12)))
    data.setup("validate")
    with pytest.raises(ValueError, match=r"images of a batch differ in size.*\(10, 12\), \(24, 32\).*val_batch_size 1"):
        next(iter(data.val_dataloader()))


def test_too_few_training_images_are_rejected(tmp_path: Path) -> None:
    data = build(CamVidDataModule, tmp_path, batch_size=5)
    data.setup("fit")
    with pytest.raises(
        ValueError, match="4 training images are too few for a batch of 5 on 1 processes; use a smaller batch_size"
    ):
        data.train_dataloader()


@pytest.mark.parametrize("wrong", ["batch_size", "val_batch_size", "num_workers", "seed"])
def test_numbers_out_of_range_are_rejected(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"{wrong} must be at least"):
        CamVidDataModule(**{wrong: -1})


class Recorder(pl.LightningModule):
    """Records the training batches, and optionally fails in one of them."""

    def __init__(self, stop_at: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.stop_at = stop_at
        self.seen: list[tuple[int, int, list[str], float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == self.stop_at:
            raise RuntimeError("power failure")
        self.seen.append((self.current_epoch, batch_idx, batch["name"], float(batch["image"].sum())))
        return self.weight.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # Like a schedule: Lightning creates the loader before it restores the position.
        assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(
    root: Path,
    run: Path,
    *,
    stop_at: tuple[int, int] | None = None,
    resume: Path | None = None,
    when: dict[str, Any] | None = None,
    **arguments: Any,
) -> list[tuple[int, int, list[str], float]]:
    """The batches of a run of at most three epochs."""
    data = CamVidDataModule(str(root), crop_size=(16, 20), batch_size=2, num_workers=1)
    checkpoint = pl.callbacks.ModelCheckpoint(
        run, save_last=True, save_top_k=-1, **(when or {"every_n_train_steps": 1})
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=run,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=checkpoint,
        **{"max_epochs": 3, **arguments},
    )
    model = Recorder(stop_at)
    try:
        trainer.fit(model, data, ckpt_path=resume)
    except RuntimeError as error:
        assert str(error) == "power failure"  # noqa: PT017
    return model.seen


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 with torch 2.15
@pytest.mark.parametrize("length", [{"max_epochs": 3}, {"max_epochs": -1, "max_steps": 12}, {"limit_train_batches": 3}])
@pytest.mark.parametrize("stop_at", [(1, 2), (1, 0), (2, 1)])
def test_a_resumed_run_sees_the_same_batches_as_an_uninterrupted_run(
    tmp_path: Path, length: dict[str, int], stop_at: tuple[int, int]
) -> None:
    layouts.camvid(tmp_path / "data", {"train": 9, "val": 1})
    uninterrupted = fit(tmp_path / "data", tmp_path / "uninterrupted", **length)
    before = fit(tmp_path / "data", tmp_path / "run", stop_at=stop_at, **length)
    after = fit(tmp_path / "data", tmp_path / "run", resume=tmp_path / "run" / "last.ckpt", **length)
    assert before + after == uninterrupted


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 with torch 2.15
@pytest.mark.parametrize("on_train_epoch_end", [True, False])
def test_a_run_resumed_from_the_end_of_an_epoch_starts_the_next_one(tmp_path: Path, on_train_epoch_end: bool) -> None:
    layouts.camvid(tmp_path / "data", {"train": 9, "val": 1})
    when = {"every_n_train_steps": None, "every_n_epochs": 1, "save_on_train_epoch_end": on_train_epoch_end}
    uninterrupted = fit(tmp_path / "data", tmp_path / "uninterrupted", when=when)
    fit(tmp_path / "data", tmp_path / "run", stop_at=(2, 1), when=when)
    after = fit(tmp_path / "data", tmp_path / "run", resume=tmp_path / "run" / "last.ckpt", when=when)
    assert after == uninterrupted[8:]


@pytest.mark.parametrize(("cores", "processes", "workers"), [(6, 1, 6), (6, 2, 3), (1, 1, 1), (2, 4, 1), (64, 2, 8)])
def test_training_processes_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, workers: int
) -> None:
    nodes = 3  # each with all these cores
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    root = layouts.camvid(tmp_path, {"val": nodes * processes})
    data = CamVidDataModule(str(root), crop_size=(16, 20))
    assert data.loading_workers(processes) == workers
    data.trainer = Mock(world_size=nodes * processes, num_nodes=nodes, global_rank=0)
    data.setup("validate")
    assert data.val_dataloader().num_workers == workers


def test_num_workers_is_per_process(tmp_path: Path) -> None:
    assert CamVidDataModule(str(tmp_path), num_workers=5).loading_workers(4) == 5

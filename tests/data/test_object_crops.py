"""Training crops that are centered on objects."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segattn.data import CamVidDataModule
from segattn.data.augmentation import TrainingTransform
from segattn.data.errors import DataError
from segattn.data.object_index import FIELDS, objects_of_mask
from segattn.data.object_sampling import ObjectCrops, ObjectSampler
from segattn.data.samples import TrainingDataset
from segattn.sample import SizeRule
from tests.data import layouts

SMALL, MEDIUM, LARGE = 100, 2000, 20000


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def index_of(*objects: tuple[int, int]) -> np.ndarray:
    """An index of objects (class, area); the image of each is its position."""
    return np.array([(image, class_id, area, 0, 0) for image, (class_id, area) in enumerate(objects)], dtype=FIELDS)


def shares(index: np.ndarray, sizes: list[str]) -> dict[int, float]:
    """How often each object is drawn."""
    sampler, generator = ObjectSampler(index, sizes=sizes), np.random.default_rng(0)
    drawn = Counter(int(sampler.draw(generator)["image"]) for _ in range(4000))
    return {image: count / 4000 for image, count in drawn.items()}


def test_class_size_and_object_are_drawn_uniformly() -> None:
    index = index_of((7, MEDIUM), (0, SMALL), (7, SMALL), (0, LARGE), (7, SMALL), (5, LARGE), (9, MEDIUM), (7, SMALL))
    found = shares(index, ["small", "medium"])
    expected = {0: 1 / 6, 1: 1 / 3, 2: 1 / 18, 4: 1 / 18, 7: 1 / 18, 6: 1 / 3}
    assert found.keys() == expected.keys()
    assert all(abs(found[image] - share) < 0.03 for image, share in expected.items())
    assert shares(index, ["large"]).keys() == {3, 5}


def test_the_edges_of_sizes() -> None:
    index = index_of((0, 1023), (0, 1024), (0, 9215), (0, 9216))
    assert [sorted(shares(index, [size])) for size in ("small", "medium", "large")] == [[0], [1, 2], [3]]


def test_no_object_of_the_sizes_is_an_error() -> None:
    with pytest.raises(DataError, match="contain no small or medium object to draw; choose other sizes"):
        ObjectSampler(index_of((0, LARGE)), sizes=["small", "medium"])


def labelled(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A mask in which every object has its own class, and one object per class."""
    mask = np.zeros(size, np.uint8)
    generator = np.random.default_rng(seed)
    for class_id in range(1, 12):
        top, left = (int(generator.integers(0, side)) for side in size)
        height, width = (int(side) for side in generator.integers(1, 12, 2))
        mask[top : top + height, left : left + width] = class_id
    return mask, objects_of_mask(mask, 12)


@pytest.mark.parametrize("crop_size", [(16, 20), (9, 64), (1, 1), (200, 24)])
@pytest.mark.parametrize("size_rule", [SizeRule(), SizeRule(short_side=70)])
def test_the_object_is_always_in_the_crop(crop_size: tuple[int, int], size_rule: SizeRule) -> None:
    transform = TrainingTransform(crop_size, size_rule, scale_range=(1.0, 2.0), max_class_share=0.2)
    for seed in range(4):
        mask, objects = labelled(seed, (50, 66))
        image = layouts.photo(seed, mask.shape)
        for found in objects:
            center = int(found["row"]), int(found["column"])
            _, crop = transform(image, mask, seed=(seed, int(found["class_id"])), center=center)
            assert found["class_id"] in crop


def test_a_crop_that_is_scaled_down_contains_the_position_of_the_object() -> None:
    mask, _ = labelled(0, (50, 66))
    transform = TrainingTransform((8, 9), scale_range=(0.4, 0.4), max_class_share=1.0, flip=0.0, photometric=False)
    marked = np.zeros((50, 66, 3), np.uint8)
    for center in [(0, 0), (49, 65), (25, 30), (0, 65), (40, 3)]:
        image = marked.copy()
        image[max(0, center[0] - 1) : center[0] + 2, max(0, center[1] - 1) : center[1] + 2] = 255
        assert transform(image, mask, seed=(1,), center=center)[0].max() > 100


def test_the_object_is_in_the_middle_unless_the_crop_would_leave_the_image() -> None:
    rows, columns = np.mgrid[:40, :60]
    image = np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)
    plain = {"scale_range": (1.0, 1.0), "max_class_share": 1.0, "flip": 0.0, "photometric": False}
    transform = TrainingTransform((11, 20), **plain)  # type: ignore[arg-type]
    for center, corner in (((20, 30), (15, 20)), ((2, 59), (0, 40)), ((39, 0), (29, 0))):
        crop, _ = transform(image, image[..., 0], seed=(0,), center=center)
        assert tuple(crop[0, 0, :2]) == corner


def samples(root: Path, share: float, **arguments: Any) -> tuple[TrainingDataset, Any]:
    data = CamVidDataModule(str(root), crop_size=(16, 20), batch_size=2, num_workers=0, object_crops=share, **arguments)
    data.setup("fit")
    loader = data.train_dataloader()
    return loader.dataset, loader  # type: ignore[return-value]


def test_only_the_given_share_of_crops_is_centered_and_all_others_are_unchanged(tmp_path: Path) -> None:
    root = layouts.camvid(tmp_path, {"train": 6, "val": 1})
    ordinary, _ = samples(root, 0.0)
    mixed, _ = samples(root, 0.5)
    assert ordinary.crops is None
    assert mixed.crops is not None
    centered = 0
    for key in range(120):
        epoch, index = divmod(key, 6)
        center = mixed.crops.draw((0, epoch, index))
        if center is None:
            assert mixed[key]["name"] == ordinary[key]["name"]
            assert torch.equal(mixed[key]["image"], ordinary[key]["image"])
            assert torch.equal(mixed[key]["mask"], ordinary[key]["mask"])
        else:
            centered += 1
            assert mixed[key]["name"] == mixed.dataset.pairs[center.image].name
    assert 40 < centered < 80
    assert all(ObjectCrops(mixed.crops.sampler, 1.0).draw((0, 0, index)) for index in range(20))


def test_the_index_is_not_built_without_object_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segattn.data.base_datamodule.index_objects", None)
    samples(layouts.camvid(tmp_path), 0.0)


def test_centered_crops_do_not_depend_on_workers_or_on_the_position_in_the_epoch(tmp_path: Path) -> None:
    root = layouts.camvid(tmp_path, {"train": 8, "val": 1})
    _, loader = samples(root, 0.7)
    batches = list(loader)
    _, resumed = samples(root, 0.7)
    resumed.sampler.used = lambda: 4
    data = CamVidDataModule(str(root), crop_size=(16, 20), batch_size=2, num_workers=2, object_crops=0.7)
    data.setup("fit")
    for other, expected in ((list(resumed), batches[2:]), (list(data.train_dataloader()), batches)):
        for found, batch in zip(other, expected, strict=True):
            assert found["name"] == batch["name"]
            assert torch.equal(found["image"], batch["image"])
            assert torch.equal(found["mask"], batch["mask"])


def test_the_center_depends_only_on_seed_epoch_and_index(tmp_path: Path) -> None:
    layouts.camvid(tmp_path)
    first, second = (samples(tmp_path, 1.0)[0].crops for _ in range(2))
    assert first is not None
    assert second is not None
    seeds = [(seed, epoch, index) for seed in range(2) for epoch in range(5) for index in range(4)]
    centers = {seed: first.draw(seed) for seed in seeds}
    assert centers == {seed: second.draw(seed) for seed in reversed(seeds)}
    for axis in range(3):  # each of the three numbers has an effect
        assert any(centers[seed] != centers[*seed[:axis], 0, *seed[axis + 1 :]] for seed in seeds)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"object_crops": 1.5}, r"object_crops must be in 0\.\.1, got 1.5"),
        ({"object_crop_sizes": ("tiny",)}, "must list some of small, medium, large, got"),
        ({"object_crop_sizes": ()}, "must list some of small, medium, large"),
    ],
)
def test_invalid_options_are_rejected(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CamVidDataModule(**wrong)

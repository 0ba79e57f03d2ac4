"""Objects of other images that are pasted into training crops."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segattn.data import CamVidDataModule
from segattn.data.augmentation import TrainingTransform
from segattn.data.copy_paste import MAX_OBJECTS, CopyPaste, Patch, class_indices, object_at
from segattn.data.dataset import RawSample, SegmentationDataset
from segattn.data.errors import DataError
from segattn.data.object_index import objects_of_mask
from segattn.data.object_sampling import ObjectSampler
from segattn.data.samples import TrainingDataset
from segattn.sample import IGNORE_INDEX, ClassInfo, ClassTable, SizeRule
from segattn.training.losses import ObjectBalancedCrossEntropy
from tests.data import layouts
from tests.oracles import object_index as oracle

PLAIN: dict[str, Any] = {"scale_range": (1.0, 1.0), "max_class_share": 1.0, "flip": 0.0, "photometric": False}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def random_mask(seed: int, size: tuple[int, int], classes: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mask = generator.integers(0, classes, size).astype(np.uint8)
    mask[generator.random(size) < 0.1] = IGNORE_INDEX
    return mask


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(9, 14), (1, 7), (12, 1)])
def test_the_object_at_a_pixel_equals_the_oracle(seed: int, size: tuple[int, int]) -> None:
    mask = random_mask(seed, size)
    for *_, pixels in oracle.objects(mask, 3, IGNORE_INDEX):
        for pixel in pixels:
            rows, columns, inside = object_at(mask, pixel)
            found = {(rows.start + row, columns.start + column) for row, column in np.argwhere(inside).tolist()}
            assert found == set(pixels)
            assert inside.any(axis=0).all()
            assert inside.any(axis=1).all()


def random_patch(generator: np.random.Generator, class_id: int) -> Patch:
    size = tuple(int(side) for side in generator.integers(1, 9, 2))
    inside = generator.random(size) < 0.6
    return Patch(np.full((*size, 3), class_id, np.uint8), inside, class_id, generator.random((10, 2)))


def pasted_by_loops(image: np.ndarray, mask: np.ndarray, patches: list[Patch]) -> tuple[np.ndarray, np.ndarray]:
    """Paste pixel by pixel."""
    (height, width), image, ignored, mask = mask.shape, image.copy(), mask == IGNORE_INDEX, mask.copy()
    for patch in patches:
        down, right = height - patch.inside.shape[0], width - patch.inside.shape[1]
        for y, x in patch.positions if down >= 0 and right >= 0 else []:
            corner = int(y * (down + 1)), int(x * (right + 1))
            pixels = [(corner[0] + row, corner[1] + column) for row, column in np.argwhere(patch.inside).tolist()]
            if not any(ignored[pixel] for pixel in pixels):
                for row, column in pixels:
                    mask[row, column] = patch.class_id
                    image[row, column] = patch.image[row - corner[0], column - corner[1]]
                break
    return image, mask


@pytest.mark.parametrize("size", [(20, 13), (6, 30), (1, 1)])
def test_pasting_equals_a_plain_loop_and_leaves_ignored_pixels(size: tuple[int, int]) -> None:
    transform = TrainingTransform(size, **PLAIN)
    pasted = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        mask = random_mask(seed, size)
        if seed % 4 == 0:
            mask[:] = IGNORE_INDEX if seed % 8 == 0 else 0
        image = layouts.photo(seed, size)
        patches = [random_patch(generator, class_id) for class_id in (10, 11, 12)]
        kept = image.copy(), mask.copy()
        found = transform(image, mask, seed=(seed,), patches=patches)
        for array, original, expected in zip(found, kept, pasted_by_loops(image, mask, patches), strict=True):
            np.testing.assert_array_equal(array, expected)
            np.testing.assert_array_equal(array[mask == IGNORE_INDEX], original[mask == IGNORE_INDEX])
        np.testing.assert_array_equal(image, kept[0])
        np.testing.assert_array_equal(mask, kept[1])
        pasted += np.isin(found[1], [10, 11, 12]).any()
    assert pasted > 3 or size == (1, 1)


class OneObject(SegmentationDataset):
    """Images of an L-shaped object of class 4."""

    inside = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1]], dtype=bool)

    def __init__(self) -> None:
        pass

    def read(self, index: int) -> RawSample:
        mask = np.zeros((30, 40), np.uint8)
        mask[5:9, 20:23][self.inside] = 4
        return RawSample(np.repeat(mask[..., None] * 50 + index, 3, axis=2), mask, str(index))


def patches_of(count: int, **arguments: Any) -> list[Patch]:
    sampler = ObjectSampler(objects_of_mask(OneObject().read(0).mask, 5), sizes=["small"], classes=[4])
    given: dict[str, Any] = {"size_rule": SizeRule(), "scale_range": (1.0, 1.0), "flip": 0.0, **arguments}
    paste = CopyPaste(OneObject(), sampler, 1.0, **given)
    return [patch for index in range(count) for patch in paste.draw((0, index), 1)]


def test_an_object_is_cut_out_with_its_pixels() -> None:
    patches = patches_of(100)
    assert 150 < len(patches) < 350
    assert len({len(patches_of(1 + index)) - len(patches_of(index)) for index in range(30)}) == MAX_OBJECTS
    for patch in patches:
        assert patch.class_id == 4
        np.testing.assert_array_equal(patch.inside, OneObject.inside)
        np.testing.assert_array_equal(patch.image[patch.inside], 200)
    assert {patch.inside[0, 0] for patch in patches_of(30, flip=1.0)} == {False}
    flips = [bool(patch.inside[0, 0]) for patch in patches_of(60, flip=0.5)]
    assert 0.3 < np.mean(flips) < 0.7


def test_objects_have_the_scale_of_the_augmentation() -> None:
    heights = [patch.inside.shape[0] for patch in patches_of(60, scale_range=(0.5, 2.0))]
    assert (min(heights), max(heights)) == (2, 8)
    (sizes,) = {patch.inside.shape for patch in patches_of(9, size_rule=SizeRule(short_side=60))}
    assert sizes == (8, 6)


def samples(root: Path, share: float, **arguments: Any) -> tuple[TrainingDataset, Any]:
    options = {"crop_size": (16, 20), "batch_size": 2, "num_workers": 0, "copy_paste": share, **arguments}
    data = CamVidDataModule(str(root), **options)
    data.setup("fit")
    loader = data.train_dataloader()
    return loader.dataset, loader  # type: ignore[return-value]


def test_only_the_given_share_of_crops_gets_objects_and_all_others_are_unchanged(tmp_path: Path) -> None:
    root = layouts.camvid(tmp_path, {"train": 6, "val": 1}, size=(40, 50))
    options: dict[str, Any] = {"photometric": False, "scale_range": (0.1, 0.5), "object_crops": 0.3}
    ordinary, _ = samples(root, 0.0, **options)
    mixed, _ = samples(root, 0.5, **options)
    assert ordinary.copy_paste is None
    assert mixed.copy_paste is not None
    drawn = 0
    for key in range(120):
        epoch, index = divmod(key, 6)
        before, after = ordinary[key], mixed[key]
        assert before["name"] == after["name"]
        own = next(image for image, pair in enumerate(mixed.dataset.pairs) if pair.name == after["name"])
        patches = mixed.copy_paste.draw((0, epoch, index), own)
        drawn += bool(patches)
        changed = (before["image"] != after["image"]).any(dim=0) | (before["mask"] != after["mask"])
        assert patches or not changed.any()
        assert set(after["mask"][changed].tolist()) <= {patch.class_id for patch in patches}
        assert not (before["mask"][changed] == IGNORE_INDEX).any()
    assert 40 < drawn < 80


def test_objects_come_from_other_images_and_have_the_chosen_classes(tmp_path: Path) -> None:
    root = layouts.camvid(tmp_path, {"train": 6, "val": 1})
    for names, expected in ((None, {2, 6, 10}), (("building", "tree"), {1, 5})):
        paste = samples(root, 1.0, copy_paste_classes=names)[0].copy_paste
        assert paste is not None
        read = []
        full = paste.dataset.read
        paste.dataset.read = lambda index, read=read, full=full: read.append(index) or full(index)  # type: ignore[method-assign]
        found = {patch.class_id for index in range(60) for patch in paste.draw((0, index), 1)}
        assert found == expected - ({2} if names is None else set())  # class 2 is in image 1 only
        assert 1 not in read
        assert len(set(read)) > 1


def test_pasted_objects_do_not_depend_on_workers_or_on_the_position_in_the_epoch(tmp_path: Path) -> None:
    root = layouts.camvid(tmp_path, {"train": 8, "val": 1})
    options: dict[str, Any] = {"object_crops": 0.5, "scale_range": (0.2, 1.0)}
    _, loader = samples(root, 0.7, **options)
    batches = list(loader)
    _, resumed = samples(root, 0.7, **options)
    resumed.sampler.used = lambda: 4
    _, by_workers = samples(root, 0.7, num_workers=2, **options)
    for other, expected in ((list(resumed), batches[2:]), (list(by_workers), batches)):
        for found, batch in zip(other, expected, strict=True):
            assert found["name"] == batch["name"]
            assert torch.equal(found["image"], batch["image"])
            assert torch.equal(found["mask"], batch["mask"])


def test_patches_depend_on_seed_epoch_and_index(tmp_path: Path) -> None:
    layouts.camvid(tmp_path)
    first, second = (samples(tmp_path, 1.0)[0].copy_paste for _ in range(2))
    assert first is not None
    assert second is not None
    seeds = [(seed, epoch, index) for seed in range(2) for epoch in range(3) for index in range(3)]
    drawn = {seed: str(first.draw(seed, 0)) for seed in seeds}
    assert drawn == {seed: str(second.draw(seed, 0)) for seed in reversed(seeds)}
    for axis in range(3):
        assert any(drawn[seed] != drawn[*seed[:axis], 0, *seed[axis + 1 :]] for seed in seeds)


def test_the_loss_sees_the_size_of_a_pasted_object() -> None:
    mask = np.zeros((30, 30), np.uint8)
    patch = Patch(np.zeros((5, 6, 3), np.uint8), np.ones((5, 6), bool), 3, np.full((10, 2), 0.5))
    _, pasted = TrainingTransform((30, 30), **PLAIN)(layouts.photo(0, (30, 30)), mask, seed=(0,), patches=[patch])
    weights = ObjectBalancedCrossEntropy(exponent=1.0).pixel_weights(torch.from_numpy(pasted).long()[None])[0]
    assert (pasted == 3).sum() == 30
    np.testing.assert_allclose(weights[pasted == 3], 1 / 30)
    np.testing.assert_allclose(weights[pasted == 0], 1 / 870)


def test_invalid_options_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"copy_paste must be in 0\.\.1, got -0.1"):
        CamVidDataModule(copy_paste=-0.1)
    with pytest.raises(ValueError, match=r"copy_paste_classes must list some of sky, .*, got \['train'\]"):
        CamVidDataModule(copy_paste=0.5, copy_paste_classes=("train",))
    stuff = ClassTable((ClassInfo("sky", (0, 0, 0), 0),))
    with pytest.raises(ValueError, match="needs copy_paste_classes, because no class of the data set is a thing"):
        class_indices(stuff, None)
    with pytest.raises(DataError, match="contain no small or medium object of these classes to paste; choose other"):
        samples(layouts.camvid(tmp_path), 0.5, copy_paste_classes=("fence",))

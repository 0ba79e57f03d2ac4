import math
import pickle

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from segattn.metrics import ObjectSizeIoU
from segattn.metrics.functional import attribute, size_scores, target_objects
from segattn.objects.size_bins import FINE_EDGES, ObjectSizes
from tests.metrics.cases import HAND_CASES, drawn
from tests.oracles.object_size import size_counts as oracle


def blocks(images=7, size=(40, 53), num_classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, num_classes, (2, images, 8, 8), generator=generator)
    target, prediction = coarse.repeat_interleave(7, -1).repeat_interleave(6, -2)[..., : size[0], : size[1]]
    keep = torch.rand(target.shape, generator=generator) < 0.6
    prediction = torch.where(keep, target, prediction)
    target = torch.where(torch.rand(target.shape, generator=generator) < 0.05, 255, target)
    instances = torch.randint(0, 3, target.shape, generator=generator)
    return prediction, target, instances


def hand(case):
    target, prediction, _ = HAND_CASES[case]
    return torch.from_numpy(drawn(prediction))[None], torch.from_numpy(drawn(target))[None]


def test_hand_case_scores():
    metric = ObjectSizeIoU(2, ObjectSizes(edges=(4.0, 9.0)))
    metric.update(*hand("bounded blame"))
    scores = metric.compute()
    assert scores["miou_small"].item() == 1 / 2
    assert scores["mrecall_small"].item() == 1
    assert math.isnan(scores["miou_medium"])  # a false positive, but no object
    assert scores["miou_large"].item() == scores["mrecall_large"].item() == 20 / 24
    assert [scores[f"classes_{name}"].item() for name in metric.sizes.names] == [1, 0, 1]
    assert [scores[f"objects_{name}"].item() for name in metric.sizes.names] == [1, 0, 1]
    assert scores["iou"][1].tolist()[:2] == [1 / 2, 0]


def test_ignored_images_do_not_dilute_false_alarms():
    prediction, target = torch.zeros(2, 3, 4, dtype=torch.int64), torch.zeros(2, 3, 4, dtype=torch.int64)
    prediction[:, 0, 0] = 1
    target[1] = 255
    metric = ObjectSizeIoU(2)
    metric.update(prediction, target)
    assert metric.compute()["false_alarms"].item() == 1  # in one image, not in two


def test_fine_counts_equal_the_oracle():
    prediction, target, instances = blocks(images=2)
    metric = ObjectSizeIoU(4)
    metric.update(prediction, target, instances)
    images = zip(prediction.numpy(), target.numpy(), instances.numpy(), strict=True)
    wanted = sum(oracle(p, t, 4, FINE_EDGES, instances=i) for p, t, i in images)
    assert metric.counts.tolist() == wanted.tolist()
    assert metric.counts.dtype == torch.int64


@pytest.mark.parametrize("edges", [(32**2, 96**2), (10, 30), (50,), (64, 65, 66, 1000)])
def test_buckets_are_sums_of_fine_bins(edges):
    prediction, target, _ = blocks(images=2)
    metric = ObjectSizeIoU(
        4, ObjectSizes(tuple(map(float, edges)), names=tuple(f"b{i}" for i in range(len(edges) + 1)))
    )
    metric.update(prediction, target)
    wanted = sum(oracle(p, t, 4, edges) for p, t in zip(prediction.numpy(), target.numpy(), strict=True))
    assert metric.bucket_counts().tolist() == wanted.tolist()
    assert len(metric.fine_edges) == len({*FINE_EDGES, *edges})


def test_relative_edges_scale_with_the_image():
    small, large = (
        ObjectSizeIoU(2, ObjectSizes((0.07, 0.3), relative=True)),
        ObjectSizeIoU(2, ObjectSizes((0.07, 0.3), relative=True)),
    )
    target = torch.zeros(1, 10, 10).long()
    target[0, 0, :7] = 1  # equal to the edge
    large_target = target.repeat_interleave(3, 1).repeat_interleave(3, 2)
    small.update(target, target)
    large.update(large_target, large_target)
    assert small.compute()["objects"].tolist() == large.compute()["objects"].tolist() == [[0, 0, 1], [0, 1, 0]]


def test_min_objects_and_things():
    counts = torch.zeros(3, 1, 4).long()
    counts[:, 0] = torch.tensor([[8, 1, 1, 2], [1, 0, 1, 1], [0, 5, 0, 0]])
    scores = size_scores(counts, min_objects=1)
    assert scores["miou"].tolist() == [(8 / 10 + 1 / 2) / 2]
    assert (scores["classes"].tolist(), scores["objects"].tolist()) == ([2], [3])
    scores = size_scores(counts, min_objects=2)
    assert (scores["miou"].tolist(), scores["mrecall"].tolist()) == ([8 / 10], [8 / 9])
    assert (scores["classes"].tolist(), scores["objects"].tolist()) == ([1], [2])

    metric = ObjectSizeIoU(3, things=(1, 2))
    metric.update(torch.zeros(1, 1, 1).long(), torch.full((1, 1, 1), 255))
    metric.counts[:, 0] = counts[:, 0]
    scores = metric.compute()
    assert scores["miou_small_things"].item() == 1 / 2
    assert scores["classes_small_things"].item() == scores["objects_small_things"].item() == 1
    assert scores["miou_things"].item() == (1 / 2 + 0) / 2  # over all sizes; a class that is only predicted counts as 0
    assert scores["mean_accuracy_things"].item() == 1 / 2


def test_averaged_classes_do_not_depend_on_the_prediction():
    _, target, _ = blocks()
    rng = torch.Generator().manual_seed(1)
    seen = set()
    for _ in range(3):
        metric = ObjectSizeIoU(4)
        metric.update(torch.randint(0, 4, target.shape, generator=rng), target)
        scores = metric.compute()
        seen.add(tuple(scores[f"{key}_{name}"].item() for key in ("classes", "objects") for name in metric.sizes.names))
    assert len(seen) == 1


def test_counts_do_not_depend_on_order_or_batches():
    prediction, target, instances = blocks()
    whole, parts = ObjectSizeIoU(4), ObjectSizeIoU(4)
    whole.update(prediction, target, instances)
    for chunk in torch.randperm(7).split(3):
        objects = [target_objects(target[i].numpy(), 4, instances=instances[i].numpy()) for i in chunk]
        objects = pickle.loads(pickle.dumps(objects))
        rows = [attribute(prediction[i].numpy(), found, 4) for i, found in zip(chunk, objects, strict=True)]
        parts.update(prediction[chunk], target[chunk], rows=rows)
    assert torch.equal(whole.counts, parts.counts)


def test_metric_state():
    prediction, target, _ = blocks()
    whole, first, second = (ObjectSizeIoU(4) for _ in range(3))
    whole.update(prediction, target)
    first.update(prediction[:3], target[:3])
    second.update(prediction[3:], target[3:])
    second = pickle.loads(pickle.dumps(second))
    first.merge_state(second)
    assert torch.equal(first.counts, whole.counts)
    first.reset()
    assert first.counts.sum() == 0


def summed(metric):
    scores = metric.compute()  # torchmetrics synchronizes here
    if dist.is_initialized():
        metric.sync()
    counts = [metric.counts.tolist(), metric.found.tolist(), metric.images.item()]
    return [*counts, scores["objects"].tolist(), scores["found_small"].item(), scores["false_alarms"].item()]


def count_on_rank(rank, path, queue):
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    try:
        prediction, target, instances = blocks()
        metric = ObjectSizeIoU(4)
        for chunk in torch.arange(rank, 7, 2).split(2 + rank):
            metric.update(prediction[chunk], target[chunk], instances[chunk])
        queue.put(summed(metric))
    finally:
        dist.destroy_process_group()


def test_counts_of_two_processes(tmp_path):
    context = mp.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=count_on_rank, args=(1, tmp_path / "store", queue))
    worker.start()
    count_on_rank(0, tmp_path / "store", queue)
    found = [queue.get(timeout=120) for _ in range(2)]
    worker.join()
    prediction, target, instances = blocks()
    whole = ObjectSizeIoU(4)
    whole.update(prediction, target, instances)
    assert found == [summed(whole)] * 2
    assert whole.images == 7
    assert whole.found.sum(dim=(0, 1)).min() > 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"edges": (96.0, 32.0)}, "ascending order"),
        ({"edges": (96.0, float("inf"))}, "areas of at least one pixel"),
        ({"edges": (96.0, 1e30)}, "areas of at least one pixel"),
        ({"edges": (float("nan"), 96.0)}, "areas of at least one pixel"),
        ({"edges": (0.1, 5.0)}, "at least one pixel"),
        ({"edges": (0.1, 1.5), "relative": True}, "between 0 and 1"),
        ({"edges": (5.0,)}, "1 edges need 2 different bucket names"),
        ({"edges": (), "names": ("any",)}, "Edges must contain at least one area"),
        ({"edges": (5.0,), "names": ("small", "all")}, "must not be all, class_name, name, things, got all"),
        ({"names": ("a", "a", "b")}, "different bucket names"),
        ({"min_objects": 0}, "at least 1"),
    ],
)
def test_invalid_arguments(arguments, what):
    with pytest.raises(ValueError, match=what):
        ObjectSizes(**arguments)


def test_invalid_things():
    with pytest.raises(ValueError, match="class indices 0 to 3"):
        ObjectSizeIoU(4, things=(4,))


def test_shape_mismatch():
    with pytest.raises(ValueError, match=r"the same shape, got \(1, 2, 3\) and \(1, 3, 2\)"):
        ObjectSizeIoU(4).update(torch.zeros(1, 2, 3).long(), torch.zeros(1, 3, 2).long())


def test_failed_update_changes_no_counts():
    metric = ObjectSizeIoU(2)
    prediction = torch.zeros(2, 3, 3).long()
    prediction[1] = 2
    with pytest.raises(ValueError, match="holds class 2"):
        metric.update(prediction, torch.zeros(2, 3, 3).long())
    assert metric.counts.sum() == 0


def test_counts_of_real_masks_sum_to_their_pixels(shared_data):
    image = pytest.importorskip("PIL.Image")
    paths = sorted((shared_data / "camvid/annotations/val").iterdir())[:3]
    target = torch.from_numpy(np.stack([np.array(image.open(path)) for path in paths])).long()
    target[target == 11] = 255
    metric = ObjectSizeIoU(11)
    metric.update(target.roll((3, 4), (1, 2)).where(target != 255, 0).clamp(max=10), target)
    assert metric.counts[..., 0].sum() + metric.counts[..., 2].sum() == (target != 255).sum()

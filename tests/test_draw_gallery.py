"""scripts/draw_gallery.py marks the small objects that a run finds and misses."""

import draw_gallery
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from segattn.report import load_runs
from tests.report.records import named, write_record


@pytest.fixture
def study(tmp_path):
    for name, lost in zip(draw_gallery.RUNS, (0.9, 0.0), strict=True):
        write_record(tmp_path / "runs" / name / "version_0" / "objects_val.parquet", lost=lost, **named(name))
    return load_runs([tmp_path / "runs" / name for name in draw_gallery.RUNS])


def test_boxes_of_small_objects(study, tmp_path):
    image = draw_gallery.most_improved_image(study)
    for name in draw_gallery.RUNS:
        (tmp_path / name / "overlays").mkdir(parents=True)
        Image.fromarray(np.zeros((96, 96, 3), np.uint8)).save(tmp_path / name / "overlays" / image)
    figure = draw_gallery.found_figure(study, image, tmp_path)
    gains = []
    for axes, name in zip(figure.axes, draw_gallery.RUNS, strict=True):
        rows = study.groups[name][0].objects
        small = rows[(rows["image"] == image) & (rows["size_px"] < 400) & (rows["class_name"] != "background")]
        found = (small["tp"] / small["size_px"] > 0.5).tolist()
        colors = [to_hex(box.get_edgecolor()) for box in axes.patches]
        assert colors == [("#ff00ff", "#00ffff")[each] for each in found]
        assert axes.get_title() == f"{name}: {sum(found)} of {len(found)} small objects found"
        gains.append(sum(found))
        corners = [box.get_xy() for box in axes.patches]
        assert corners == [(x - 2, y - 2) for x, y in small[["x0", "y0"]].to_numpy().tolist()]
    assert gains[1] > gains[0]

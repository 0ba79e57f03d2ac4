r"""Draw the pictures of the README and of docs/explain.md from the runs of ``make demo``.

The size curve and the differences, small objects found and missed, and an explanation; and, with a browser such as
chromium, a screenshot of the comparison page of a study. That of the README is from

    python scripts/size_study.py --study scripts/studies/small_objects.yaml --variants fpn pyramid_loss_crops \
        --checkpoints last --output runs/small_objects -- --data.root data/camvid
    python scripts/draw_gallery.py --browser chromium --page runs/small_objects/comparison_last/index.html
"""

import argparse
import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from segattn import report
from segattn.data.scenes import CLASSES
from segattn.explain import explain, figures
from segattn.report import Study, charts

RUNS = ("quickstart_fcn", "quickstart")
PAGE = (1100, 1230)  # width and height of the screenshot in pixels
EXAMPLE, POINT = "00002.png", (130, 90)  # an image with a large triangle, and a pixel inside it
FOUND, MISSED = ("#00ffff", "-"), ("#ff00ff", "--")  # color and line of the boxes


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"), metavar="DIR", help="what make demo wrote")
    parser.add_argument("--output", type=Path, default=Path("docs/images"), metavar="DIR")
    parser.add_argument("--browser", metavar="PROGRAM", help="chromium or chrome; without it, no comparison page")
    parser.add_argument("--page", type=Path, metavar="FILE", help="comparison page; default: that of make demo")
    given = parser.parse_args()
    study = report.load_runs([given.demo / "runs" / name for name in RUNS])
    comparison = report.compare(study)
    save(charts.curve_figure(study, comparison), given.output / "size_curve.png", dpi=80)
    save(charts.difference_figure(study, comparison), given.output / "size_difference.png", dpi=80)
    image = most_improved_image(study)
    images, masks = given.demo / "shapes/images/val", given.demo / "masks"
    save(found_figure(study, image, masks), given.output / "found_objects.png", dpi=100)
    drawn = figures.draw(explain(given.demo / "runs" / RUNS[1], images / EXAMPLE, POINT))
    save(drawn["class"], given.output / "explain.png", dpi=80)
    mask = CLASSES.palette[np.array(Image.open(masks / RUNS[1] / EXAMPLE))]  # the label ids are the indices
    panels = [np.array(Image.open(folder / EXAMPLE)) for folder in (images, masks / RUNS[1] / "overlays")]
    compress(Image.fromarray(np.concatenate([*panels, mask], axis=1)), given.output / "overlay.png")
    if given.browser:
        page = given.page or given.demo / "comparison" / "index.html"
        save_page(page, given.output / "comparison.png", given.browser)


def small_objects(study: Study, name: str) -> pd.DataFrame:
    """The small objects of a run, apart from those of the background, with a column ``found``."""
    rows = study.groups[name][0].objects
    rows = rows[(rows["size_px"] < study.info.edges[0]) & (rows["class_id"] > 0)]
    return rows.assign(found=rows["recall"] > 0.5)


def most_improved_image(study: Study) -> str:
    """The image in which the second run finds most small objects that the first one misses."""
    first, second = (small_objects(study, name).groupby("image", observed=True)["found"].sum() for name in RUNS)
    return str((second - first).idxmax())


def found_figure(study: Study, image: str, masks: Path) -> Figure:
    """Draw the predictions of both runs, with a box around every small object."""
    figure = Figure(figsize=(8, 4.3), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), RUNS, strict=True):
        objects = small_objects(study, name)
        objects = objects[objects["image"] == image]
        axes.imshow(Image.open(masks / name / "overlays" / image))
        for y0, x0, y1, x1, found in objects[["y0", "x0", "y1", "x1", "found"]].to_numpy().tolist():
            color, line = FOUND if found else MISSED
            box = Rectangle((x0 - 2, y0 - 2), x1 - x0 + 3, y1 - y0 + 3, fill=False, edgecolor=color)
            box.set(linestyle=line, linewidth=2)
            axes.add_patch(box)
        axes.set_title(f"{name}: {objects['found'].sum()} of {len(objects)} small objects found")
        axes.set_axis_off()
    return figure


def save(figure: Figure, path: Path, *, dpi: int) -> None:
    """Save a figure as a PNG file with 256 colors."""
    content = io.BytesIO()
    figure.savefig(content, dpi=dpi, facecolor="white")
    compress(Image.open(content), path)


def compress(image: Image.Image, path: Path) -> None:
    """Save an image as a PNG file with 256 colors."""
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"wrote {path}, {path.stat().st_size // 1000} kB")


def save_page(page: Path, path: Path, browser: str) -> None:
    """Save the top of a web page as a picture."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "page.png")
        size = f"--window-size={PAGE[0]},{PAGE[1]}"
        options = ("--headless", "--no-sandbox", "--hide-scrollbars", size, f"--screenshot={shot}")
        subprocess.run([browser, *options, page.absolute().as_uri()], check=True, capture_output=True)
        compress(Image.open(shot), path)


if __name__ == "__main__":
    main()

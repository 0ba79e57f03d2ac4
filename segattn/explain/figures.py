"""Figures of an explanation: every map over the image, with the pixel marked."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segattn.explain.attention_views import View
from segattn.explain.explanation import Explanation
from segattn.io.atomic_write import atomic_write
from segattn.io.image_files import resize_image

LONG_SIDE = 800
"""Longest side of the images in figures, in pixels."""

COLORS = "inferno"
DPI = 150


def class_figure(explanation: Explanation) -> Figure:
    """Draw the image, the evidence for the class, its probability map, and the likeliest classes at the pixel."""
    name, (height, width) = explanation.class_name, explanation.image.shape[:2]
    figure, axes = _panels(4, explanation, title=f"{name} at {explanation.point}")
    _show(axes[0], explanation, "image")
    _show(axes[1], explanation, f"evidence for {name}", explanation.over_image(explanation.evidence))
    probability = cv2.resize(explanation.class_map, (width, height), interpolation=cv2.INTER_LINEAR)
    _show(axes[2], explanation, f"probability of {name}", probability, limits=(0.0, 1.0))
    order = np.argsort(explanation.probabilities)[-10:]
    names = [explanation.classes.names[index] for index in order]
    colors = [tuple(explanation.classes.palette[index] / 255) for index in order]
    axes[3].barh(names, explanation.probabilities[order], color=colors, edgecolor="0.4", linewidth=0.5)
    axes[3].set(xlim=(0, 1), title="probability at the pixel", box_aspect=_aspect(explanation))
    return figure


def view_figure(explanation: Explanation, view: View) -> Figure:
    """Draw what one attention block did for the pixel."""
    gamma = "" if view.gamma is None else f", gamma {view.gamma:.3g}"
    count = 1 + len(view.maps) + len(view.rows) + len(view.bars)
    figure, axes = _panels(count, explanation, title=f"{view.block} ({view.layer}{gamma}) at {explanation.point}")
    _show(axes[0], explanation, "image")
    rest = iter(axes[1:])
    for name, values in view.maps.items():
        _show(next(rest), explanation, name, explanation.over_image(values.astype(np.float32)))
    for name, rows in view.rows.items():
        axis = next(rest)
        drawn = axis.imshow(rows, aspect="auto", cmap=COLORS, interpolation="nearest", vmin=0)
        axis.set(title=name, xlabel="attends to channel", ylabel="channel", box_aspect=_aspect(explanation))
        axis.set_yticks(range(len(view.channels)), [str(channel) for channel in view.channels])
        axis.figure.colorbar(drawn, ax=axis, shrink=0.9)
    for name, values in view.bars.items():
        axis = next(rest)
        axis.bar(np.arange(len(values)), values, width=1.0, color="tab:orange")
        axis.set(title=name, xlim=(-0.5, len(values) - 0.5), box_aspect=_aspect(explanation))
    return figure


def draw(explanation: Explanation) -> dict[str, Figure]:
    """Draw the class figure and one figure for every attention block, by name."""
    views = {f"{view.layer}.{view.block}": view_figure(explanation, view) for view in explanation.views}
    return {"class": class_figure(explanation), **views}


def save(explanation: Explanation, folder: str | Path) -> list[Path]:
    """Write all figures as PNG and SVG and all arrays as ``arrays.npz``, and return the files."""
    arrays_file = Path(folder) / "arrays.npz"
    arrays: dict[str, Any] = explanation.arrays()
    with atomic_write(arrays_file) as path:
        np.savez_compressed(path, **arrays)
    figures = draw(explanation)
    return [*(path for name, figure in figures.items() for path in save_figure(figure, folder, name)), arrays_file]


def save_figure(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as ``name.png`` and ``name.svg``; the same figure gives the same bytes."""
    png, svg = (Path(folder) / f"{name}.{suffix}" for suffix in ("png", "svg"))
    with atomic_write(png) as path:
        figure.savefig(path, dpi=DPI)
    figure.set_layout_engine("none")  # keep the layout: computing it takes as long as drawing
    with atomic_write(svg) as path, mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(path, dpi=DPI, metadata={"Date": None})
    return [png, svg]


def _panels(count: int, explanation: Explanation, *, title: str) -> tuple[Figure, list[Axes]]:
    columns = count if count <= 4 else -(-count // 2) if count <= 8 else 4
    rows = -(-count // columns)
    figure = Figure(figsize=(4.0 * columns, rows * (3.4 * _aspect(explanation) + 0.5) + 0.3), layout="compressed")
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def _aspect(explanation: Explanation) -> float:
    height, width = explanation.image.shape[:2]
    return min(max(int(height) / int(width), 0.5), 2.0)


def _show(
    axis: Axes,
    explanation: Explanation,
    title: str,
    values: Float[np.ndarray, "h w"] | None = None,
    *,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw the image, or a map over the gray image that is more opaque where its values are larger."""
    height, width = explanation.image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    scale = min(1.0, LONG_SIDE / max(height, width))
    image = resize_image(explanation.image, (max(1, round(height * scale)), max(1, round(width * scale))))
    if values is None:
        axis.imshow(image, extent=extent)
        axis.plot(*explanation.point, marker="+", color="white", markersize=16, markeredgewidth=4)
    else:
        finite = values[np.isfinite(values)]
        low, high = limits or ((float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0))
        strength = np.nan_to_num((values - low) / ((high - low) or 1.0))
        alpha = np.clip(0.25 + 0.6 * strength, 0, 1) * np.isfinite(values)
        axis.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=255, extent=extent)
        drawn = axis.imshow(values, cmap=COLORS, vmin=low, vmax=high, alpha=alpha, extent=extent)
        axis.figure.colorbar(drawn, ax=axis, shrink=0.9)
    color = "red" if values is None else "cyan"
    axis.plot(*explanation.point, marker="+", color=color, markersize=14, markeredgewidth=2)
    axis.set(title=title, xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))

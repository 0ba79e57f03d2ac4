"""Explanations as figures: every map over the image, with the pixel marked."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segattn.explain.attention_views import View
from segattn.io.atomic_write import whole_file
from segattn.io.image_files import resize_image

if TYPE_CHECKING:
    from segattn.explain.explanation import Explanation

LONG_SIDE = 800
"""Images are shown at most this large."""

COLORS = "inferno"
DPI = 150


def class_figure(explanation: "Explanation") -> Figure:
    """The image, the evidence for the class, its probability everywhere, and all classes at the pixel."""
    figure, axes = _panels(4, explanation, title=f"{explanation.class_name} at {explanation.point}")
    _show_image(axes[0], explanation, "image")
    _show_map(axes[1], explanation, explanation.evidence, f"evidence for {explanation.class_name}")
    _show_map(
        axes[2], explanation, explanation.class_map, f"probability of {explanation.class_name}", limits=(0.0, 1.0)
    )
    order = np.argsort(explanation.probabilities)[::-1][:10][::-1]
    names = [explanation.classes.names[index] for index in order]
    colors = [tuple(explanation.classes.palette[index] / 255) for index in order]
    axes[3].barh(names, explanation.probabilities[order], color=colors, edgecolor="0.4", linewidth=0.5)
    axes[3].set(xlim=(0, 1), title="confidence at the pixel", box_aspect=_ratio(explanation))
    return figure


def view_figure(explanation: "Explanation", view: View) -> Figure:
    """What one attention block did for the pixel."""
    gamma = "" if view.gamma is None else f", gamma {view.gamma:.3g}"
    count = 1 + len(view.maps) + len(view.rows) + len(view.bars)
    figure, axes = _panels(count, explanation, title=f"{view.block} ({view.layer}{gamma}) at {explanation.point}")
    _show_image(axes[0], explanation, "image")
    rest = iter(axes[1:])
    for name, values in view.maps.items():
        _show_map(next(rest), explanation, values, name)
    for name, values in view.rows.items():
        axis = next(rest)
        _show_rows(axis, values, name, view.channels)
        axis.set_box_aspect(_ratio(explanation))
    for name, values in view.bars.items():
        axis = next(rest)
        axis.bar(np.arange(len(values)), values, width=1.0, color="tab:orange")
        axis.set(title=name, xlabel="channel", xlim=(-0.5, len(values) - 0.5), box_aspect=_ratio(explanation))
    return figure


def all_figures(explanation: "Explanation") -> dict[str, Figure]:
    """The class figure, and one figure for every attention block, by name."""
    views = {f"{view.layer}.{view.block}": view_figure(explanation, view) for view in explanation.views}
    return {"class": class_figure(explanation), **views}


def save_figure(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG; the same figure gives the same bytes.

    Args:
        figure: drawn by this module.
        folder: made if needed.
        name: of the files, without the ending.
    """
    png, svg = (Path(folder) / f"{name}.{suffix}" for suffix in ("png", "svg"))
    with whole_file(png) as path:
        figure.savefig(path, dpi=DPI)
    figure.set_layout_engine("none")  # it is laid out already, which takes as long as drawing
    with whole_file(svg) as path, mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(path, dpi=DPI, metadata={"Date": None})
    return [png, svg]


def _panels(count: int, explanation: "Explanation", *, title: str) -> tuple[Figure, list[Axes]]:
    columns = count if count <= 4 else -(-count // 2) if count <= 8 else 4
    rows = -(-count // columns)
    figure = Figure(figsize=(4.0 * columns, rows * (3.4 * _ratio(explanation) + 0.5) + 0.3), layout="compressed")
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def _ratio(explanation: "Explanation") -> float:
    height, width = explanation.image.shape[:2]
    return min(max(int(height) / int(width), 0.5), 2.0)


def _shown(explanation: "Explanation") -> np.ndarray:
    height, width = explanation.image.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    return resize_image(explanation.image, (max(1, round(height * scale)), max(1, round(width * scale))))


def _show_image(axis: Axes, explanation: "Explanation", title: str) -> None:
    height, width = explanation.image.shape[:2]
    axis.imshow(_shown(explanation), extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    axis.plot(*explanation.point, marker="+", color="white", markersize=16, markeredgewidth=4)
    axis.plot(*explanation.point, marker="+", color="red", markersize=14, markeredgewidth=2)
    axis.set(title=title, xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _show_map(
    axis: Axes,
    explanation: "Explanation",
    values: Float[np.ndarray, "feature_h feature_w"],
    title: str,
    *,
    limits: tuple[float, float] | None = None,
) -> None:
    """A map over the grey image, more opaque where its values are larger."""
    height, width = explanation.image.shape[:2]
    grey = _shown(explanation).mean(axis=-1)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    finite = values[np.isfinite(values)]
    low, high = limits or ((float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0))
    over = explanation.over_image(values.astype(np.float32))
    strength = np.nan_to_num((over - low) / ((high - low) or 1.0))
    axis.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
    drawn = axis.imshow(
        over,
        cmap=COLORS,
        vmin=low,
        vmax=high,
        alpha=np.clip(0.25 + 0.6 * strength, 0, 1) * np.isfinite(over),
        extent=extent,
    )
    axis.plot(*explanation.point, marker="+", color="cyan", markersize=14, markeredgewidth=2)
    axis.set(title=title, xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axis.figure.colorbar(drawn, ax=axis, shrink=0.9)


def _show_rows(axis: Axes, rows: Float[np.ndarray, "k c"], title: str, channels: tuple[int, ...]) -> None:
    drawn = axis.imshow(rows, aspect="auto", cmap=COLORS, interpolation="nearest", vmin=0)
    axis.set(title=title, xlabel="attends to channel", ylabel="channel", yticks=range(len(channels)))
    axis.set_yticklabels([str(channel) for channel in channels])
    axis.figure.colorbar(drawn, ax=axis, shrink=0.9)

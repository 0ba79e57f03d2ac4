"""``segattn explain``: the command line of :func:`segattn.explain.explain`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from rich.console import Console

from segattn.explain import explain
from segattn.io.command_line import run_command


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return run_command(explain_point, arguments[1:], prog="segattn explain", names={"class_name": "class"})


def read_point(text: str) -> tuple[int, int]:
    """``130,90`` as (x, y)."""
    try:
        x, y = map(int, text.split(","))
    except ValueError as error:
        raise ValueError(f"a point must be two integers X,Y such as 120,80, got {text!r}") from error
    return x, y


def explain_point(
    *,
    checkpoint: Annotated[Path, "FILE"],
    image: Annotated[Path, "FILE"],
    point: Annotated[tuple[int, int], read_point, "X,Y"],
    output: Annotated[Path, "DIR"],
    class_name: str | None = None,
) -> int:
    """Show what a model looked at to decide on one pixel: attention maps and class evidence.

    Args:
        checkpoint: the folder of a run (runs/NAME), a checkpoint of segattn fit, or a .safetensors file
        image: image file
        point: the pixel, counted from the upper left corner
        output: folder for the figures and arrays
        class_name: class to show the evidence for; default: the class predicted at the pixel
    """
    explanation = explain(checkpoint, image, point, class_name)
    from segattn.explain.figures import save

    written = save(explanation, output)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    probability = explanation.probabilities[explanation.class_index]
    console.print(f"predicted: {explanation.predicted}; probability of {explanation.class_name}: {probability:.3f}")
    if not explanation.views:
        console.print("note: this model has no attention block, so there are only the class evidence and probabilities")
    for view in explanation.views:
        if view.gamma == 0:
            console.print(f"note: gamma of {view.layer} is 0, so this {view.block} has no effect yet")
    console.print(f"wrote {', '.join(path.name for path in written)} to {output}")
    return 0

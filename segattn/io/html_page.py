"""Web pages in one file that needs no network, from templates that escape every value."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from segattn import __version__
from segattn.io.atomic_write import atomic_write
from segattn.io.printable import printable


def write_html(path: Path, template: str, **content: Any) -> None:
    """Render a template that extends ``io/assets/page.html`` and write it.

    Args:
        path: path of the page. Its folder is created if needed.
        template: path of the template inside the package, such as ``check/assets/check.html``.
        content: values of the template. Markup in them and control characters are escaped, except in
            :class:`markupsafe.Markup`.
    """
    loader = PackageLoader("segattn", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_without_controls
    )

    def asset(name: str) -> Markup:
        return Markup(loader.get_source(environment, f"io/assets/{name}")[0])  # our own file

    page = environment.get_template(template)
    html = page.render(content, version=__version__, style=asset("page.css"), script=asset("page.js"))
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="backslashreplace")


def _without_controls(value: Any) -> Any:
    """Text without control characters other than line breaks."""
    return "\n".join(map(printable, value.splitlines())) if type(value) is str else value


def picture_uri(image: Image.Image, format: str = "png") -> str:
    """An image as an address that contains the image file itself."""
    file = io.BytesIO()
    image.save(file, format=format)
    return f"data:image/{format};base64,{base64.b64encode(file.getvalue()).decode()}"

import base64
import io

import pytest
from jinja2 import UndefinedError
from PIL import Image

from segattn.io.html_page import picture_uri, write_html

CONTENT = {"title": "<b>title</b>", "subtitle": "", "findings": [], "splits": []}


def test_values_are_escaped(tmp_path):
    write_html(tmp_path / "new" / "page.html", "check/assets/check.html", **CONTENT)
    text = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;title&lt;/b&gt;</title>" in text
    assert "table.sortable" in text, "the script is not escaped"


def test_control_characters_are_escaped(tmp_path):
    write_html(tmp_path / "page.html", "check/assets/check.html", **{**CONTENT, "title": "a\x1b[31m\u202eb\nc"})
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>a\\x1b[31m\\u202eb\nc</title>" in text
    assert "\x1b" not in text


def test_missing_values_are_an_error(tmp_path):
    with pytest.raises(UndefinedError, match="'subtitle' is undefined"):
        write_html(tmp_path / "page.html", "check/assets/check.html", title="", findings=[], splits=[])
    assert not (tmp_path / "page.html").exists()


def test_picture_uri_contains_the_image():
    kind, content = picture_uri(Image.new("RGB", (3, 2), (9, 8, 7))).split(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert (image.size, image.getpixel((0, 0))) == ((3, 2), (9, 8, 7))

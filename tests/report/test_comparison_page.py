import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

from segattn.objects import RecordError
from segattn.report import compare, load_runs
from segattn.report.charts import curve_figure, to_svg
from segattn.report.comparison_page import write_page
from segattn.report.page_parts import Exhibit
from tests.report.records import info, write_record

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))), None)
NAMES = ("<script>alert(1)</script>", 'a "quoted" & $5 or $6 name', "ring", "square", "bar", "triangle", "cross")
HOSTILE = {"class_names": NAMES}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of runs and classes whose names contain markup."""
    folder = tmp_path_factory.mktemp("page")
    paths = []
    for number, name in enumerate(("<b>one</b>", "two")):
        described = info(
            **HOSTILE, extra={"run": name, "run_version": "version_0", "environment": '{"torch": "<2.8>"}'}
        )
        path = folder / f"run{number}" / "objects_val.parquet"
        paths.append(
            write_record(path, seed=number, lost=0.6 - 0.5 * number, images=5, **HOSTILE, extra=described.extra)
        )
    (folder / "run0" / "config.yaml").write_text("head: '</pre><script>alert(2)</script>'\n")
    study = load_runs(paths)
    exhibit = Exhibit("<i>ring</i>, 9 px", "a&b.png", {"image": "data:image/png;base64,iVBORw0KGgo="})
    write_page(study, compare(study, resamples=50), folder / "out" / "index.html", galleries={"<u>Lost</u>": [exhibit]})
    return folder / "out" / "index.html"


def test_names_are_escaped_and_nothing_is_loaded(page):
    html = page.read_text(encoding="utf-8")
    for bad in ("<b>one", "<script>alert", "<i>ring", "<u>Lost", "<2.8>"):
        assert bad not in html
    for good in ("&lt;b&gt;one&lt;/b&gt;", "&lt;script&gt;alert(1)", "head: &#39;&lt;/pre&gt;", "a&amp;b.png"):
        assert good in html
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert not re.search(r"url\((?!#|data:)|@import|https?://(?!www\.w3\.org)", html.replace("\\", ""))


def test_figures_are_svg_in_the_text_color(page, study):
    svg = to_svg(curve_figure(study, compare(study, resamples=10)), 'of <a> & "b"')
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == 'of <a> & "b"'
    assert "height" not in root.attrib
    assert "currentColor" in svg
    assert svg == to_svg(curve_figure(study, compare(study, resamples=10)), 'of <a> & "b"')


def test_page_of_a_single_run(tmp_path):
    study = load_runs([write_record(tmp_path / "objects_val.parquet", images=3)])
    write_page(study, compare(study, resamples=10), tmp_path / "index.html", missing="No pictures today.")
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "No pictures today." in html
    assert 'id="differences"' not in html


@pytest.mark.parametrize("text", ["{bad", "3"])
def test_damaged_versions_of_the_run_are_named(tmp_path, text):
    study = load_runs([write_record(tmp_path / "one.parquet", images=1, extra={"environment": text})])
    with pytest.raises(RecordError, match=rf"one\.parquet: its metadata environment is damaged, got '{text}'"):
        write_page(study, compare(study, resamples=10), tmp_path / "index.html")


PROBE = """
<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
const consoleError = console.error;
console.error = (...all) => { errors.push(all.join(" ")); consoleError(...all); };
addEventListener("load", () => {
  const table = document.getElementById("class-table");
  const controls = document.querySelector('[data-table="class-table"]');
  const shown = () => [...table.tBodies[0].rows].filter((row) => !row.hidden);
  const column = (number) => shown().map((row) => row.cells[number].dataset.value ?? row.cells[number].textContent);
  const press = (number) => table.tHead.rows[0].cells[number].querySelector("button").click();
  const result = { first: shown().length, said: controls.querySelector("output").textContent };
  press(3); result.descending = column(3);
  press(3); result.ascending = column(3);
  press(0); result.classes = column(0);
  const input = controls.querySelector("input");
  input.value = "TRIANGLE"; input.dispatchEvent(new Event("input")); result.found = column(0);
  const size = controls.querySelector("select"); size.value = ""; size.dispatchEvent(new Event("change"));
  result.every_size = shown().length;
  result.width = document.documentElement.scrollWidth - window.innerWidth;
  result.paper = getComputedStyle(document.body).backgroundColor;
  result.errors = errors;
  const out = document.createElement("pre"); out.id = "probe"; out.textContent = JSON.stringify(result);
  document.body.append(out);
});
</script>
"""


def chromium(tmp_path, page, *options):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", *options, page.as_uri()]
    home = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=home).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (Debian: chromium)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_works_in_a_browser(page, tmp_path, scheme):
    """Sort, search and filter at the width of a phone, without errors and without horizontal scrolling."""
    copy = tmp_path / "page.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("<style>", PROBE + "<style>", 1), encoding="utf-8")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    # A window cannot be that narrow: the page is framed.
    frame = tmp_path / "frame.html"
    frame.write_text(f'<iframe src="{copy.name}" width="390" height="800" style="color-scheme: {scheme}"></iframe>')
    dom = chromium(tmp_path, copy, "--dump-dom", "--window-size=500,900", *dark)
    result = json.loads(
        re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)[1]
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
    )
    assert result["errors"] == []
    assert result["first"] == 14
    assert result["said"] == "14 of 56 rows"
    numbers = [float(value) for value in result["descending"]]
    assert numbers == sorted(numbers, reverse=True)
    assert [float(value) for value in result["ascending"]] == numbers[::-1]
    assert result["classes"] == sorted(result["classes"], key=str.lower)
    assert result["found"] == ["triangle"] * 2
    assert result["every_size"] == 8
    assert result["width"] <= 0
    assert result["paper"] == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)")

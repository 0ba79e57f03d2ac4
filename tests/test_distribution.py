"""The wheel holds the package and the configs and nothing else, and the documentation site builds without a warning."""

import subprocess
import sys
import zipfile
from pathlib import Path

import segattn

ROOT = Path(segattn.__file__).parents[1]


def run(*command):
    ended = subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def files(folder, *suffixes):
    paths = (ROOT / folder).rglob("*")
    return {path.relative_to(ROOT).as_posix() for path in paths if path.suffix in suffixes or path.name in suffixes}


def test_content_of_the_wheel(tmp_path):
    run("hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == f"segattn-{segattn.__version__}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    configs = {name.replace("configs/", "segattn/shipped_configs/", 1) for name in files("configs", ".yaml")}
    package = files("segattn", ".py", ".yaml", ".html", ".css", ".js", "py.typed")
    assert len(configs) > 40
    assert names == package | configs


def test_files_of_the_repository_are_small():
    for folder in ("configs", "docs", "notebooks", "scripts", "segattn", "tests"):
        for path in (ROOT / folder).rglob("*"):
            assert path.stat().st_size < 300_000 or "__pycache__" in path.parts, f"{path} is too large"


def test_site_builds_without_a_warning(tmp_path):
    run("mkdocs", "build", "--quiet", "--site-dir", tmp_path)  # strict: a warning is an error
    for page in ("index", "score/index", "reference/commands/index", "reference/attention/index"):
        assert (tmp_path / f"{page}.html").stat().st_size > 10_000

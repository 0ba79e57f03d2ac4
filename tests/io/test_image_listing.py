import os

import pytest

from segattn.io.image_listing import SkippedFiles, list_images


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names_below(root, **options):
    return [os.path.relpath(path, root) for path in list_images(root, **options)]


def test_images_are_sorted_by_path_component(tmp_path):
    touch(tmp_path, "b.JPG", "a/z.png", "a/c.jpeg", "a-b/x.png", "notes.txt")
    assert names_below(tmp_path) == ["a/c.jpeg", "a/z.png", "a-b/x.png", "b.JPG"]
    assert list_images(f"{tmp_path}/")[0] == str(tmp_path / "a/c.jpeg")
    assert list_images(tmp_path / "nowhere") == []


def test_hidden_files_and_folders_are_skipped(tmp_path):
    touch(tmp_path, "a.png", ".b.png", ".cache/c.png", "d/.e/f.png")
    assert names_below(tmp_path) == ["a.png"]


@pytest.mark.parametrize("trailing", ["", "/"])
def test_symlink_loops_end(tmp_path, trailing):
    touch(tmp_path, "images/a.png")
    (tmp_path / "again").symlink_to(tmp_path / "images")
    (tmp_path / "images/itself").symlink_to(tmp_path / "images")
    (tmp_path / "images/above").symlink_to(tmp_path)
    found = [os.path.relpath(path, tmp_path) for path in list_images(f"{tmp_path}{trailing}")]
    assert found == ["again/a.png", "images/a.png"]


def test_skipped_folders(tmp_path):
    touch(tmp_path, "a.png", "results/a.png", "results/deep/b.png", "other/c.png")
    assert names_below(tmp_path, skip_folder=lambda path: path.endswith("results")) == ["a.png", "other/c.png"]
    assert names_below(tmp_path / "results", skip_folder=lambda path: path.endswith("results")) == [
        "a.png",
        "deep/b.png",
    ]


def test_unreadable_folders_are_reported(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "locked/b.png")
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)  # chmod does not stop root
    errors = []
    assert names_below(tmp_path, on_error=errors.append) == ["a.png"]
    assert [error.filename for error in errors] == [str(tmp_path / "locked")]
    assert names_below(tmp_path) == ["a.png"]


def test_skipped_files_are_counted_and_the_first_are_named(tmp_path):
    touch(tmp_path, "a.png", ".b.png", ".DS_Store", "c.ico", ".git/d.png", "results/e.txt")
    skipped = SkippedFiles()
    assert names_below(tmp_path, skipped=skipped, skip_folder=lambda path: path.endswith("results")) == ["a.png"]
    assert sorted(skipped.first) == [f"{tmp_path}/.b.png", f"{tmp_path}/c.ico"]
    assert str(skipped).startswith("skipped 2 files that are hidden or not of an image type: ")
    touch(tmp_path, "f.heic", "g.mp4")
    names_below(tmp_path, skipped=skipped)
    assert (skipped.count, len(skipped.first)) == (7, 3)
    assert str(skipped).endswith(", ...")

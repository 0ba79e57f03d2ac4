import os
from pathlib import Path

import pytest

from segattn.io.atomic_write import atomic_write


def test_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_write(target) as path:
        path.write_text("half")
        assert not target.exists()
        assert path.suffix == ".txt"
        path.write_text("complete")
    assert target.read_text() == "complete"
    assert list(target.parent.iterdir()) == [target]


def test_failure_leaves_the_existing_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted():
        with atomic_write(target) as path:
            path.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_unwritable_path_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"^\S*file/a.txt cannot be written: [A-Za-z ]+\.$"),
        atomic_write(tmp_path / "file" / "a.txt"),
    ):
        raise AssertionError("the block must not be entered")


def test_nested_writes_report_the_error_once(tmp_path):
    with (
        pytest.raises(OSError, match=r"^\S*/a.txt cannot be written: No space left on device\.$"),
        atomic_write(tmp_path / "a.txt") as outer,
        atomic_write(outer),
    ):
        raise OSError(28, "No space left on device")


def test_symbolic_links_are_followed(tmp_path):
    real, link = tmp_path / "deep" / "real.txt", tmp_path / "link.txt"
    real.parent.mkdir()
    link.symlink_to(real)
    for text in ("first", "second"):
        with atomic_write(link) as path:
            path.write_text(text)
        assert link.is_symlink()
        assert real.read_text() == text
    assert list(real.parent.iterdir()) == [real]


def test_pipes_devices_and_folders_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match=f"^{path} cannot be written: it is not a regular file.$"), atomic_write(path):
            raise AssertionError("the block must not be entered")
    assert (tmp_path / "pipe").is_fifo()


def test_durable_files_are_flushed_before_they_are_renamed(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((tmp_path / "a.txt").exists()))
    with atomic_write(tmp_path / "a.txt", durable=True) as path:
        path.write_text("text")
    assert flushed == [False]

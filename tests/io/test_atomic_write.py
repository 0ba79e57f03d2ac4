import os
from pathlib import Path

import pytest

from segattn.io.atomic_write import whole_file


def test_the_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with whole_file(target) as path:
        path.write_text("half")
        assert not target.exists()
        assert path.suffix == ".txt"
        path.write_text("whole")
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted():
        with whole_file(target) as path:
            path.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_cannot_be_written_is_said_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"^\S*file/a.txt cannot be written: [A-Za-z ]+\.$"),
        whole_file(tmp_path / "file" / "a.txt"),
    ):
        raise AssertionError("the block must not be entered")


def test_a_file_inside_another_is_said_once(tmp_path):
    with (
        pytest.raises(OSError, match=r"^\S*/a.txt cannot be written: No space left on device\.$"),
        whole_file(tmp_path / "a.txt") as outer,
        whole_file(outer),
    ):
        raise OSError(28, "No space left on device")


def test_what_a_link_leads_to_is_written(tmp_path):
    real, link = tmp_path / "deep" / "real.txt", tmp_path / "link.txt"
    real.parent.mkdir()
    link.symlink_to(real)
    for text in ("first", "second"):
        with whole_file(link) as path:
            path.write_text(text)
        assert link.is_symlink()
        assert real.read_text() == text
    assert list(real.parent.iterdir()) == [real]


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match=f"^{path} cannot be written: it is no regular file.$"), whole_file(path):
            raise AssertionError("the block must not be entered")
    assert (tmp_path / "pipe").is_fifo()

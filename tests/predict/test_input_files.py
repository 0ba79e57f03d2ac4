import os
import tracemalloc
from pathlib import Path

import pytest

from segattn.predict.input_files import find_inputs, names_with_equal_stems
from segattn.predict.sources import Sources
from tests.predict.conftest import save_pictures


def found(*paths, output="/nowhere"):
    sources, problems = find_inputs(paths, Path(output))
    return [source.name for source in sources], problems


def test_folders_are_searched_with_subfolders(tmp_path):
    save_pictures(tmp_path, "b.JPG", "a/ö ü/c d.png", "a/x.TIFF", ".hidden.png", ".hidden/y.png", "z.webp")
    (tmp_path / "notes.txt").write_text("no image")
    assert found(tmp_path) == (["a/x.TIFF", "a/ö ü/c d.png", "b.JPG", "z.webp"], {})


def test_names_are_relative_to_the_deepest_common_folder(tmp_path):
    save_pictures(tmp_path, "train/aachen/1.png", "train/bochum/1.png", "train/bochum/2.png")
    assert found(tmp_path / "train/aachen", tmp_path / "train/bochum/1.png")[0] == ["aachen/1.png", "bochum/1.png"]
    assert found(tmp_path / "train/bochum/2.png")[0] == ["2.png"]
    assert found(tmp_path / "train", tmp_path / "train/bochum/2.png")[0] == [
        "aachen/1.png",
        "bochum/1.png",
        "bochum/2.png",
    ]


def test_names_keep_the_variable_part_of_a_pattern(tmp_path):
    save_pictures(tmp_path, "a/1.png", "b/1.png", "b/c/3.jpg", "[x].png")
    assert found(f"{tmp_path}/*/1.png")[0] == ["a/1.png", "b/1.png"]
    assert found(f"{tmp_path}/**/*.jpg")[0] == ["b/c/3.jpg"]
    assert found(f"{tmp_path}/[x].png")[0] == ["[x].png"], "an existing file is not a pattern"
    names, problems = found(tmp_path / "a", f"{tmp_path}/*.gif")
    assert (names, problems) == (["1.png"], {"../*.gif": "no file matches this pattern"})


def test_lists_contain_one_path_per_line(tmp_path, monkeypatch):
    save_pictures(tmp_path, "a/1.png", "b/2 3.png", "b/sub/4.png", "c/5.png")
    monkeypatch.chdir(tmp_path / "c")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a/1.png\n\n  b/2 3.png \nb/sub\n5.png\ngone.png\n")
    names, problems = found(tmp_path / "list.txt")
    assert names == ["a/1.png", "b/2 3.png", "b/sub/4.png", "c/5.png"]
    assert problems == {"c/gone.png": "there is no such file or folder"}
    (tmp_path / "list").write_text("b/sub/4.png")
    assert found(f"@{tmp_path}/list")[0] == ["4.png"]
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    names, problems = found(tmp_path / "a", tmp_path / "list.txt")
    assert "the list cannot be read" in problems["../list.txt"]


def test_symlinks_are_followed_but_not_in_loops(tmp_path):
    save_pictures(tmp_path, "in/real/1.png", "elsewhere/2.png")
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/real/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/self").symlink_to("self")
    assert found(tmp_path / "in") == (["link/2.png", "real/1.png"], {})


def test_folders_of_results_are_not_searched(tmp_path):
    save_pictures(tmp_path, "1.png", "out/1.png", "earlier/1.png", "mine/1.png")
    (tmp_path / "earlier/manifest.jsonl").write_text('{"segattn": "0.1.0"}')
    (tmp_path / "mine/manifest.jsonl").write_text('{"dataset": "mine"}')
    assert found(tmp_path, output=tmp_path / "out")[0] == ["1.png", "mine/1.png"]
    assert found(tmp_path / "earlier")[0] == ["1.png"], "a named folder is searched"


def test_unreadable_folders_are_problems(tmp_path, monkeypatch):
    save_pictures(tmp_path, "open/1.png", "shut/2.png")
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", guarded)
    assert found(tmp_path) == (["open/1.png"], {"shut": "the folder cannot be read: Permission denied"})


def test_an_error_lists_where_no_images_were_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"There are no images in {tmp_path}\.$"):
        found(tmp_path)
    (tmp_path / ".hidden.png").touch()
    with pytest.raises(FileNotFoundError, match=r"\(skipped 1 file that is hidden or .*/\.hidden\.png\)\.$"):
        found(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"in gone\.png \(.*/gone\.png: there is no such file or folder\)\.$"):
        found("gone.png")


def test_an_error_names_folders_of_results_that_were_not_searched(tmp_path):
    save_pictures(tmp_path, "io/1.jpg", "io/2.jpg")
    with pytest.raises(ValueError, match=r"/io is a folder of images, .*: choose another output"):
        found(tmp_path / "io", output=tmp_path / "io")
    with pytest.raises(FileNotFoundError, match=r"\(.*/io: folders of results are searched only if they are named"):
        found(tmp_path, output=tmp_path / "io")


def test_images_are_never_overwritten(tmp_path):
    save_pictures(tmp_path, "1.png", "sub/2.jpg")
    with pytest.raises(ValueError, match=r"mask of .*1\.png would overwrite an image"):
        found(tmp_path / "1.png", output=tmp_path)
    assert found(tmp_path / "sub/2.jpg", output=tmp_path)[0] == ["2.jpg"]


def test_images_are_never_overwritten_through_symbolic_links(tmp_path):
    save_pictures(tmp_path, "in/1.png", "in/sub/2.png", "elsewhere/3.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to(tmp_path / "in/sub")
    with pytest.raises(ValueError, match=r"mask of .*2\.png would overwrite an image"):
        found(tmp_path / "in", output=tmp_path / "out")
    (tmp_path / "out/sub").unlink()
    assert found(tmp_path / "in", output=tmp_path / "out")[0] == ["1.png", "sub/2.png"]
    (tmp_path / "out/1.png").symlink_to(tmp_path / "in/sub/2.png")
    with pytest.raises(ValueError, match=r"mask of .*1\.png would overwrite an image"):
        found(tmp_path / "in", output=tmp_path / "out")
    (tmp_path / "out/1.png").unlink()
    (tmp_path / "elsewhere/3.png").rename(tmp_path / "out/1.png")
    (tmp_path / "in/4.png").symlink_to(tmp_path / "out/1.png")
    with pytest.raises(ValueError, match=r"mask of .*1\.png would overwrite an image"):
        found(tmp_path / "in", output=tmp_path / "out")


def test_memory_per_input(tmp_path):
    count = 1000
    for index in range(count):
        (tmp_path / f"{index}.jpg").touch()
    tracemalloc.start()
    try:
        sources, _ = find_inputs([tmp_path], Path("/nowhere"))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(sources) == count
    assert kept < 150 * count
    assert peak < 800 * count


def test_sources_are_found_by_name():
    sources = Sources("/data", ["a.mp4", "b/1.jpg", "b/1.png"], {"b/1.jpg", "b/1.png"})
    assert [sources.index(name) for name in ("a.mp4", "b/1.jpg", "b/1.png", "b/1", "", "z")] == [
        0,
        1,
        2,
        None,
        None,
        None,
    ]
    assert [source.stem for source in sources] == ["a", "b/1.jpg", "b/1.png"]
    assert [source.is_video for source in sources] == [True, False, False]
    assert sources.select([0, 2])[1].path == Path("/data/b/1.png")


def test_images_with_the_same_stem_keep_their_extension():
    names = ["a.jpg", "a.png", "b.jpg", "c/a.png", "d.jpg", "d.png", "d.jpg.tif"]
    stem = Sources("", names, names_with_equal_stems(names)).stem
    assert [stem(name) for name in names] == ["a.jpg", "a.png", "b", "c/a", "d.jpg", "d.png", "d.jpg.tif"]

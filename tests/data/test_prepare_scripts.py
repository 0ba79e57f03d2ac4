"""The prepare scripts, with a local server."""

import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import prepare_ade20k
import prepare_cityscapes
import pytest

from tests.data import layouts


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, list[str]]]:
    """A folder with the archives of a tiny ADE20K, and the arguments that download them from a local server."""
    source, served = tmp_path / "source", tmp_path / "served"
    root = layouts.ade20k(source / "ADEChallengeData2016", instances=True)
    shutil.make_archive(str(served / "instances"), "tar", root, "annotations_instance")
    instances = root / "annotations_instance"
    instances.rename(source / "moved")
    shutil.make_archive(str(served / "ade"), "zip", source, "ADEChallengeData2016")
    (source / "moved").rename(instances)
    monkeypatch.setattr(prepare_ade20k, "NUM_IMAGES", {"train": 4, "val": 3})
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=served))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{http.server_port}"
    yield (
        served,
        [
            "--output",
            str(tmp_path / "data"),
            "--url",
            f"{address}/ade.zip",
            "--instances-url",
            f"{address}/instances.tar",
        ],
    )
    http.shutdown()
    thread.join()
    http.server_close()


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ade20k_is_downloaded_and_unpacked(
    server: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served, arguments = server
    assert prepare_ade20k.main([*arguments, "--instances"]) == 0
    assert "ADE20K is complete in /" in capsys.readouterr().out
    assert files_below(tmp_path / "data") == files_below(tmp_path / "source")
    shutil.rmtree(served)
    assert prepare_ade20k.main([*arguments, "--instances"]) == 0  # nothing is downloaded again


def test_missing_ade20k_images_are_reported(
    server: tuple[Path, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prepare_ade20k, "NUM_IMAGES", {"train": 20210, "val": 3})
    assert prepare_ade20k.main([*server[1], "--keep-archives"]) == 1
    assert "The split train has 4 images instead of 20210." in capsys.readouterr().out
    assert (tmp_path / "data" / "ade.zip").is_file()


@pytest.mark.parametrize("problem", ["digest", "damaged", "missing"])
def test_a_failed_download_leaves_nothing_behind(
    server: tuple[Path, list[str]],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served, arguments = server
    if problem == "digest":
        monkeypatch.setattr(prepare_ade20k, "URL", arguments[3])
    elif problem == "damaged":
        (served / "ade.zip").write_bytes((served / "ade.zip").read_bytes()[:5000])
    else:
        (served / "ade.zip").unlink()
    assert prepare_ade20k.main(arguments) == 1
    assert "ade.zip cannot be downloaded and unpacked: " in capsys.readouterr().err
    assert not (tmp_path / "data" / "ADEChallengeData2016").exists()


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python 3.11.4 brought the filter")
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("outside")
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.add(tmp_path / "file", "../../outside")
    with pytest.raises(tarfile.OutsideDestinationError):
        prepare_ade20k.unpack(tmp_path / "bad.tar", tmp_path / "folder" / "instances")
    assert not (tmp_path / "outside").exists()


def test_missing_cityscapes_files_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare_cityscapes.main([str(tmp_path)]) == 1
    missing = capsys.readouterr().out
    assert missing.count("No data found in") == 2
    assert "register at https://www.cityscapes-dataset.com" in missing

    monkeypatch.setattr(prepare_cityscapes, "NUM_IMAGES", {"train": 4, "val": 3})
    layouts.cityscapes(tmp_path)
    assert prepare_cityscapes.main([str(tmp_path)]) == 0
    assert "Cityscapes is complete in /" in capsys.readouterr().out

    next((tmp_path / "gtFine" / "val").rglob("*_instanceIds.png")).unlink()
    assert prepare_cityscapes.main([str(tmp_path)]) == 1
    assert "1 label files are missing, for example " in capsys.readouterr().out

"""The prepare scripts against a local server that can break off, ignore ranges, and lie."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts import prepare_ade20k, prepare_cityscapes
from segattn.data.download import download, extract
from segattn.data.errors import DownloadError
from tests.data import layouts

CONTENT = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves the bytes in ``files``; ``requests`` holds the range of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str | None] = []
        self.break_after: int | None = None
        self.knows_ranges = True

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        content, wanted = self.server.files.get(self.path[1:]), self.headers.get("Range")
        self.server.requests.append(wanted)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted[len("bytes=") : -1]) if wanted and self.server.knows_ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if wanted and self.server.knows_ranges else 200)
        if wanted and self.server.knows_ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content) if self.server.break_after is None else start + self.server.break_after
        self.wfile.write(content[start:stop])


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        server.files["file.bin"] = CONTENT
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_is_fetched_whole(server: Server, tmp_path: Path) -> None:
    download(server.address("file.bin"), tmp_path / "new" / "file.bin")
    assert (tmp_path / "new" / "file.bin").read_bytes() == CONTENT
    assert not (tmp_path / "new" / "file.bin.part").exists()


def test_an_interrupted_fetch_goes_on(server: Server, tmp_path: Path) -> None:
    server.break_after = 4000
    for tries in (4000, 8000):
        with pytest.raises(DownloadError, match=f"ended after {tries} of 10240 bytes; run the command again to go on"):
            download(server.address("file.bin"), tmp_path / "file.bin")
        assert not (tmp_path / "file.bin").exists()
    download(server.address("file.bin"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=4000-", "bytes=8000-"]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 20000)
    server.knows_ranges = False
    download(server.address("file.bin"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_whole_needs_no_byte(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    download(server.address("file.bin"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("rest", [b"", CONTENT + b"!"])
def test_other_content_is_refused_and_removed(server: Server, tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(rest or b"x" * 5000)
    digest = f"sha1:{hashlib.sha1(CONTENT).hexdigest()}"
    with pytest.raises(DownloadError, match=r"is not the expected file: .* what was fetched is removed"):
        download(server.address("file.bin"), tmp_path / "file.bin", digest=digest)
    assert not list(tmp_path.iterdir())
    download(server.address("file.bin"), tmp_path / "file.bin", digest=digest)


def test_an_address_that_does_not_answer_is_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"http://127.*/other answered 404 Not Found; check the address"):
        download(server.address("other"), tmp_path / "other")
    with pytest.raises(DownloadError, match=r"could not be fetched \(.*refused.*\); run the command again"):
        download("http://127.0.0.1:9/file", tmp_path / "file")


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_appears_whole(tmp_path: Path, pack: object) -> None:
    members = {"top/a.txt": b"a", "top/b/c.txt": b"c"}
    (tmp_path / "archive").write_bytes(pack(members))  # type: ignore[operator]
    extract(tmp_path / "archive", tmp_path / "out", member="top")
    assert files_below(tmp_path / "out") == members


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../evil.txt": b"", "top/a.txt": b""}, r"would write outside of its folder: \.\./evil\.txt"),
        ({"/tmp/evil.txt": b"", "top/a.txt": b""}, "would write outside of its folder: /tmp/evil.txt"),
        ({"other/a.txt": b""}, "holds no folder top"),
    ],
)
def test_a_wrong_archive_leaves_nothing_behind(
    tmp_path: Path, pack: object, members: dict[str, bytes], message: str
) -> None:
    (tmp_path / "archive").write_bytes(pack(members))  # type: ignore[operator]
    with pytest.raises(DownloadError, match=message):
        extract(tmp_path / "archive", tmp_path / "out", member="top")
    assert files_below(tmp_path / "out") == {}
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_damaged_archive_is_said(tmp_path: Path, pack: object) -> None:
    whole = pack({"top/a.txt": b"some text" * 100})  # type: ignore[operator]
    (tmp_path / "archive").write_bytes(whole[:600])
    with pytest.raises(DownloadError, match="archive is no whole archive; remove it and run the command again"):
        extract(tmp_path / "archive", tmp_path / "out", member="top")
    assert files_below(tmp_path / "out") == {}


@pytest.fixture
def ade20k_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Serves a tiny ADE20K, and makes its counts the expected ones."""
    source = tmp_path / "source"
    layouts.ade20k(source / "ADEChallengeData2016", instances=True)
    files = files_below(source)
    instances = {name.partition("/")[2]: data for name, data in files.items() if "/annotations_instance/" in name}
    others = {name: data for name, data in files.items() if "/annotations_instance/" not in name}
    server.files |= {"ade.zip": zipped(others), "instances.tar": tarred(instances)}
    monkeypatch.setattr(prepare_ade20k, "NUM_IMAGES", {"train": 4, "val": 3})
    return server


def test_ade20k_is_prepared_in_spite_of_interruptions(
    ade20k_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = ["--url", ade20k_server.address("ade.zip")]
    addresses += ["--instances-url", ade20k_server.address("instances.tar")]
    arguments = ["--output", str(tmp_path / "data"), "--instances", *addresses]
    ade20k_server.break_after = 4000
    tries = 1
    while prepare_ade20k.main(arguments) != 0:
        assert "run the command again to go on" in capsys.readouterr().err
        tries += 1
    assert tries > 1
    assert "ADE20K is complete in /" in capsys.readouterr().out
    assert files_below(tmp_path / "data") == files_below(tmp_path / "source")
    requests = len(ade20k_server.requests)
    assert prepare_ade20k.main(arguments) == 0
    assert len(ade20k_server.requests) == requests


def test_an_incomplete_ade20k_is_said(
    ade20k_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_ade20k, "NUM_IMAGES", {"train": 20210, "val": 3})
    arguments = ["--output", str(tmp_path / "data"), "--url", ade20k_server.address("ade.zip"), "--keep-archives"]
    assert prepare_ade20k.main(arguments) == 1
    assert "The split train has 4 images with labels instead of 20210." in capsys.readouterr().out
    assert (tmp_path / "data" / "ade.zip").is_file()


def test_cityscapes_is_checked(
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
    assert "1 label files are missing, the first is" in capsys.readouterr().out

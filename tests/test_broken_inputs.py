"""More than five hundred broken inputs: no traceback, one sentence, the right exit code, nothing written elsewhere.

They are random mutations of valid inputs, with fixed seeds. If a mutated input is still valid, the command must
succeed, and the input does not count.
"""

import hashlib
import io
import json
import pickle
import warnings
import zlib
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from segattn.cli import main
from tests.checkpoints.saved import save_checkpoint
from tests.data import layouts
from tests.mutations import broken_bytes, broken_data, broken_text
from tests.predict.conftest import picture
from tests.report.records import write_record

LEAST = {"images": 120, "pairs": 60, "configs": 40, "class tables": 60, "checkpoints": 45, "command lines": 30}
LEAST |= {"records": 65, "costs": 25, "masks to score": 100, "manifests": 1}
"""Minimum number of inputs of each kind that are refused."""


class Arena:
    """A folder with inputs in which commands are run; only ``out`` may change."""

    def __init__(self, root, capfd):
        self.root = root
        self.capfd = capfd
        self.refused = 0
        (root / "in").mkdir()
        (root / "cwd").mkdir()
        self._before = None

    def write(self, name, content):
        path = self.root / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        return path

    def freeze(self):
        self._before = self._snapshot()

    def run(self, *arguments):
        """Run a command, which must succeed or fail with one sentence."""
        arguments = [str(argument) for argument in arguments]
        self.capfd.readouterr()
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
        out, error = self.capfd.readouterr()
        lines = [line for line in error.splitlines() if line.startswith(("segattn", "failed: "))]
        shown = f"{arguments}\n{code}\n{error}"
        assert "Traceback" not in out + error, shown
        assert code in (0, 1, 2), shown
        if code == 1:
            assert len(lines) == 1, shown
            assert all(line.startswith((f"segattn {arguments[0]}: ", "failed: ")) for line in lines), shown
            assert len(error) < 2500, shown
        if code == 2:
            assert "error: " in error or len(lines) == 1, shown
        self.refused += code != 0
        return code, out, error

    def _snapshot(self):
        files = (path for folder in ("in", "cwd") for path in (self.root / folder).rglob("*") if path.is_file())
        return {str(path): hashlib.sha1(path.read_bytes()).digest() for path in files}

    def close(self):
        assert self._snapshot() == self._before
        assert {path.name for path in self.root.iterdir()} <= {"in", "cwd", "out"}


@pytest.fixture
def arena(tmp_path, capfd, monkeypatch):
    arena = Arena(tmp_path, capfd)
    monkeypatch.chdir(tmp_path / "cwd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield arena
    arena.close()


def encoded(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("good") / "tiny.ckpt")


def test_images(arena, checkpoint):
    random = Random(1)
    kinds = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".webp": "WEBP"}
    for index in range(180):
        suffix, kind = random.choice(list(kinds.items()))
        arena.write(f"images/{index}{suffix}", broken_bytes(encoded(picture(index), kind), random))
    bomb = bytearray(encoded(picture(0), "PNG"))
    bomb[16:24] = (200_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    for name, content in {"empty.png": b"", "text.jpg": b"<html>404</html>", "bomb.png": bytes(bomb)}.items():
        arena.write(f"images/{name}", content)
    arena.write("images/float.tif", encoded(np.zeros((8, 8), np.float32), "TIFF"))
    arena.write("images/good.png", encoded(picture(3), "PNG"))
    arena.freeze()
    images, out = arena.root / "in" / "images", arena.root / "out"
    names = {path.name for path in images.iterdir()}
    arguments = ["predict", "--checkpoint", checkpoint, "--images", images, "--output", out]
    code = main([str(argument) for argument in arguments])
    _, error = arena.capfd.readouterr()
    assert code == 1
    reasons = dict(line.removeprefix("failed: ").split(": ", 1) for line in error.splitlines())
    assert len(reasons) == len(error.splitlines())
    lines = (out / "manifest.jsonl").read_text().splitlines()[1:]
    rows = {row["image"]: row for row in map(json.loads, lines)}
    assert rows.keys() == names
    assert {name for name, row in rows.items() if "reason" in row} == reasons.keys()
    assert all(name in reasons or next(iter(row["files"])) for name, row in rows.items())
    assert "Traceback" not in error
    assert "good.png" not in reasons
    assert len(reasons) >= LEAST["images"]
    assert "limit" in reasons["bomb.png"]


def test_pairs_of_a_data_set(arena):
    random = Random(2)
    root = arena.root / "in" / "data"
    layouts.camvid(root, {"train": 90, "val": 1})
    for index, path in enumerate(sorted((root / "annotations/train").iterdir())):
        twin = root / "images/train" / path.with_suffix(".jpg").name
        chosen = (path, twin)[index % 2]
        chosen.write_bytes(broken_bytes(chosen.read_bytes(), random))
    arena.freeze()
    arguments = [
        "--data",
        "CamVidDataModule",
        "--data.root",
        root,
        "--data.crop_size",
        "[9,9]",
        "--data.num_workers",
        0,
    ]
    report = arena.root / "out" / "fix.json"
    page = arena.root / "out" / "page.html"
    code, _, _ = arena.run("check", *arguments, "--all", "--fix-report", report, "--html", page)
    assert code == 1
    findings = json.loads(report.read_text())["findings"]
    wrong = {file for finding in findings if finding["severity"] == "error" for file in finding["files"]}
    assert len(wrong) >= LEAST["pairs"]


CONFIG = {
    "data": {
        "class_path": "FolderDataModule",
        "init_args": {
            **{"root": "../in/data", "classes": "classes.yaml", "train_images": "images/train"},
            **{"crop_size": [16, 16], "batch_size": 2, "num_workers": 0, "flip": 0.5, "scale_range": [0.5, 2.0]},
            "inference": {"size_rule": {"short_side": 24, "max_long_side": 99}},
        },
    },
    "model": {"object_sizes": {"edges": [10, 100], "names": ["small", "medium", "large"]}},
}


def test_configs(arena):
    random = Random(3)
    layouts.folder(arena.root / "in" / "data")
    broken = [arena.write(f"{i}.yaml", yaml.safe_dump(broken_data(CONFIG, random))) for i in range(36)]
    text = yaml.safe_dump(CONFIG)
    broken += [arena.write(f"text {i}.yaml", broken_text(text, random)) for i in range(20)]
    broken += [arena.write("binary.yaml", b"\xff\xfe\x00\x80" * 9), arena.write("deep.yaml", "[" * 1200)]
    broken += [arena.write("loop.yaml", "base: loop.yaml"), arena.write("code.yaml", "data: !!python/name:os.system")]
    broken += [arena.write("list.yaml", "- 1"), arena.write("base.yaml", "base: {a: 1}"), arena.root / "in"]
    broken += [arena.write("bases.yaml", "base: [3]"), arena.write("alias.yaml", "data: &a [*a]")]
    arena.freeze()
    for path in broken:
        arena.run("check", "--config", path)
    assert arena.refused >= LEAST["configs"]
    for path in random.sample(broken, 4):
        arena.run("fit", "--config", path, "--print_config")


CLASSES = {
    "classes": [{"name": "road", "label": 1}, {"name": "car", "label": 2, "thing": True}, {"name": "tree", "label": 7}],
    "ignore": [255],
    "remap": [{"from": 9, "to": 7}],
}


def test_class_tables(arena):
    random = Random(4)
    layouts.folder(arena.root / "in" / "data")
    broken = [yaml.safe_dump(broken_data(CLASSES, random)) for _ in range(45)]
    broken += [broken_text(yaml.safe_dump(CLASSES), random) for _ in range(25)]
    broken += ["", "[]", "classes: 3", "classes: {a: 1}", "classes: [3]", "classes: [[]]", "\ufeff\x00", "classes: *a"]
    names = [arena.write(f"data/{index}.yaml", content).name for index, content in enumerate(broken)]
    arena.freeze()
    common = ["--data", "FolderDataModule", "--data.root", arena.root / "in/data", "--data.crop_size", "[9,9]"]
    for name in names:
        arena.run("check", *common, "--data.classes", name)
    assert arena.refused >= LEAST["class tables"]


class Malicious:
    """Creates a file when unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return exec, (f"open({self.command!r}, 'w').close()",)


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def test_checkpoints(arena, checkpoint):
    random = Random(5)
    image = arena.write("good.png", encoded(picture(0), "PNG"))
    whole = checkpoint.read_bytes()
    content = torch.load(checkpoint, weights_only=True)
    broken = [arena.write(f"bytes {i}.ckpt", broken_bytes(whole, random)) for i in range(16)]
    for index in range(16):
        described = broken_data({"segattn": content["segattn"]}, random)
        broken.append(arena.write(f"content {index}.ckpt", saved({**described, "state_dict": content["state_dict"]})))
    for index in range(6):
        key = random.choice(list(content["state_dict"]))
        state = {name: value for name, value in content["state_dict"].items() if name != key}
        state |= random.choice(({}, {key: torch.zeros(3, 1, 2)}, {key: 7}, {f"{key}.more": torch.zeros(1)}))
        broken.append(arena.write(f"weights {index}.ckpt", saved({**content, "state_dict": state})))
    marker = str(arena.root / "cwd" / "executed")
    broken += [
        arena.write("pickle.ckpt", pickle.dumps(Malicious(marker))),
        arena.write("malicious.ckpt", saved({**content, "callbacks": Malicious(marker)})),
        arena.write("list.ckpt", saved([1, 2])),
        arena.write("text.ckpt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        arena.write("text.safetensors", "nonsense"),
        arena.write("none.ckpt", b""),
        arena.write("image.ckpt", image.read_bytes()),
        arena.write("empty.onnx", b""),
        arena.root / "in",
        arena.root / "nowhere.ckpt",
    ]
    arena.freeze()
    common = ["--output", arena.root / "out"]
    for path in broken:
        arena.run("predict", "--checkpoint", path, "--images", image, *common, "--overwrite")
    assert arena.refused >= LEAST["checkpoints"]
    for path in random.sample(broken, 5):
        arena.run("explain", "--checkpoint", path, "--image", image, "--point", "3,4", *common)
        arena.run("import", "--from", "danet", path, "--output", arena.root / "out" / "imported.ckpt")


def test_command_lines(arena, checkpoint):
    random = Random(6)
    image = arena.write("good.png", encoded(picture(0), "PNG"))
    arena.freeze()
    out = str(arena.root / "out")
    good = {
        "predict": ["--checkpoint", checkpoint, "--images", image, "--output", out, "--window", "32", "--scales", "1"],
        "explain": ["--checkpoint", checkpoint, "--image", image, "--point", "3,4", "--output", out],
    }
    for index in range(36):
        command, line = random.choice(list(good.items()))
        words = [command, *map(str, line)]
        place = random.choice([place for place in range(1, len(words)) if words[place] != out])
        slip = index % 4
        if slip == 0:
            del words[place]
        elif slip == 1:
            words[place] = random.choice(
                ("", "-1", "nan", "--", "a\0b", "\udcff", "1e99", "3,4,5", "x" * 400, "~", "/")
            )
        elif slip == 2:
            words.insert(
                place, random.choice(("--nonsense", "-z", "--ids", "--device=tpu", "--batch-size=0", "--stride=9"))
            )
        else:
            words[0] = random.choice(("predictt", "", "-", "fit predict", "--checkpoint", "explain", "check"))
        arena.run(*words)
    for words in (
        ["fit", "--config"],
        ["fit", "--trainer.max_epochs=many"],
        ["validate", "--ckpt_path"],
        ["check", "--al"],
        ["import", "--from", "nowhere", "a.pth", "--output", out],
        ["import", "--from", "danet", "a.pth", "--output", out],
        ["benchmark", "--block", "Nothing"],
    ):
        arena.run(*words)
    assert arena.refused >= LEAST["command lines"]


@pytest.fixture
def no_page(monkeypatch):
    """Comparing without the page, which takes most of the time."""
    monkeypatch.setattr("segattn.compare.command.write_page", lambda *args, **options: None)


@pytest.mark.usefixtures("no_page")
def test_records(arena):
    random = Random(7)
    good = write_record(arena.root / "in" / "good.parquet", images=3)
    content, table = good.read_bytes(), pq.read_table(good)
    broken = [arena.write(f"bytes {i}.parquet", broken_bytes(content, random)) for i in range(30)]
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    for index in range(20):
        key = random.choice(("class_names", "edges", "bucket_names", "relative", "min_objects", "things", "format"))
        value = random.choice(("", "nonsense", "NaN", "[]", "{}", "-1", "1e999", "[[]]", "null", "[1, 1, 0]", "\0"))
        broken.append(
            _table(arena, f"metadata {index}.parquet", table.replace_schema_metadata({**metadata, key: value}))
        )
    for index in range(20):
        name = random.choice(table.column_names)
        place, column = table.column_names.index(name), table[name]
        values = random.choice(
            (["x"] * len(column), [None] * len(column), [[-7]] * len(column), [-(10**9)] * len(column))
        )
        changed = random.choice((table.drop([name]), table.set_column(place, name, pa.array(values))))
        broken.append(_table(arena, f"column {index}.parquet", changed))
    broken += [arena.write("empty.parquet", b""), arena.write("text.parquet", "a,b\n1,2\n"), arena.root / "in"]
    broken += [_table(arena, "no rows.parquet", table.slice(0, 0)), arena.write("other.txt", content)]
    arena.freeze()
    for path in broken:
        arena.run("compare", path, "--output", arena.root / "out", "--no-pictures", "--resamples", 2)
    assert arena.refused >= LEAST["records"]


def _table(arena, name, table):
    path = arena.root / "in" / name
    pq.write_table(table, path)
    return path


@pytest.mark.usefixtures("no_page")
def test_costs(arena):
    random = Random(8)
    record = write_record(arena.root / "in" / "good.parquet", images=3)
    good = "name,input,parameters,multiply_adds,latency_ms,machine\nfcn,1x3x32x48,4058582,2216458496,73.99,2 threads\n"
    broken = []
    for index in range(48):
        cells = [line.split(",") for line in good.splitlines()]
        if index % 3 == 0:
            text = broken_bytes(good.encode(), random)
        elif index % 3 == 1:
            cells[1][random.choice((0, 2, 3, 4))] = random.choice(
                ("x", "nan", "-1", "inf", "1e999", '"', "", "[]", "1,2")
            )
            text = "\n".join(map(",".join, cells))
        else:
            cells.append(cells[1]) if random.random() < 0.3 else cells[0].__setitem__(random.randrange(5), "name")
            text = "\n".join(map(",".join, cells))
        broken.append(arena.write(f"{index}.csv", text))
    broken += [arena.write("empty.csv", b""), arena.root / "in", arena.root / "nowhere.csv"]
    arena.freeze()
    for path in broken:
        options = ["--output", arena.root / "out", "--no-pictures", "--resamples", 2]
        arena.run("compare", record, "--costs", path, *options)
    assert arena.refused >= LEAST["costs"]


def test_folders_of_masks(arena):
    random = Random(9)
    arena.write("classes.yaml", yaml.safe_dump(CLASSES))
    rng = np.random.default_rng(9)
    for index in range(150):
        truth, mask = (rng.choice(np.uint8([1, 2, 7]), (12, 17)) for _ in range(2))
        files = [encoded(truth, "PNG"), encoded(mask, "PNG")]
        if index:  # the first pair is good
            which = index % 3 != 0
            wrong = random.choice((mask[:, :9], mask + 90, np.dstack([mask] * 3)))
            files[which] = encoded(wrong, "PNG") if random.random() < 0.3 else broken_bytes(files[which], random)
        for folder, content in zip(("truth", "masks"), files, strict=True):
            arena.write(f"{folder}/{index}.png", content)
    (arena.root / "in" / "masks" / "folder.png").mkdir()
    arena.freeze()
    folder, out = arena.root / "in", arena.root / "out"
    options = ["--truth", folder / "truth", "--masks", folder / "masks", "--classes", folder / "classes.yaml"]
    code, _, _ = arena.run("score", *options, "--output", out, "--workers", 0)
    assert code == 1
    code, text, _ = arena.run("score", *options, "--output", out, "--workers", 0, "--incomplete")
    assert code == 0
    assert len([line for line in text.splitlines() if line.startswith("not scored: ")]) >= LEAST["masks to score"]


def test_manifests(arena, checkpoint):
    """A damaged manifest costs at most the work that it describes."""
    random = Random(10)
    image, out = arena.write("good.png", encoded(picture(0), "PNG")), arena.root / "out"
    arena.freeze()
    words = ["predict", "--checkpoint", checkpoint, "--images", image, "--output", out]
    assert arena.run(*words)[0] == 0
    manifest, mask = out / "manifest.jsonl", (out / "good.png").read_bytes()
    good = manifest.read_bytes()
    lines = [json.loads(line) for line in good.splitlines()]
    for index in range(24):
        broken = "\n".join(json.dumps(broken_data({"line": line}, random).get("line")) for line in lines).encode()
        manifest.write_bytes(broken_bytes(good, random) if index % 2 else broken)
        code, _, error = arena.run(*words, "--resume")
        assert code == 0 or "--overwrite" in error
        if code:
            assert arena.run(*words, "--resume", "--overwrite")[0] == 0
        assert (out / "good.png").read_bytes() == mask
        rows = [json.loads(line) for line in manifest.read_bytes().splitlines()]
        assert [row["image"] for row in rows[1:]] == ["good.png"]
    assert arena.refused >= LEAST["manifests"]


def test_minimum_numbers_add_up():
    assert sum(LEAST.values()) > 500

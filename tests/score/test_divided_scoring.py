import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

from segattn.cli import main
from segattn.processes import start_processes
from segattn.score import score_folder
from segattn.score.pair_scoring import PairScorer
from tests.launched_processes import NEEDS_FORK, Group, slurm, torchrun, wait_for_files

pytestmark = NEEDS_FORK


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Label files and random masks; each pair is a part."""
    monkeypatch.setattr("segattn.score.score_parts.IMAGES_PER_PART", 1)
    random = np.random.default_rng(0)
    (tmp_path / "classes.yaml").write_text("ignore: [0]\nclasses:\n- {name: a, label: 7}\n- {name: b, label: 8}\n")
    for kind, values in (("truth", [0, 7, 8]), ("masks", [7, 8])):
        (tmp_path / kind).mkdir()
        for index in range(14):
            labels = random.choice(values, (13, 22)).astype(np.uint8)
            Image.fromarray(labels).save(tmp_path / kind / f"{index:02d}.png")
    return tmp_path


def score(folder, output, *, num_nodes=1, **options):
    return score_folder(
        folder / "truth",
        folder / "masks",
        folder / output / "objects_val.parquet",
        classes=folder / "classes.yaml",
        processes=start_processes("cpu", num_nodes=num_nodes),
        **options,
    )


@pytest.mark.parametrize(("count", "launcher", "workers"), [(2, torchrun, 1), (3, slurm, 0)])
def test_several_processes_write_the_record_of_one(folders, count, launcher, workers):
    (folders / "masks/03.png").write_text("no image")
    (folders / "masks/04.png").unlink()
    score(folders, "one", incomplete=True)

    def run():
        nodes = count if launcher is slurm else 1
        report = score(folders, "out", num_nodes=nodes, workers=workers, incomplete=True)
        assert (report.images, list(report.problems)) == (12, ["03.png"])
        assert [path.name for path in report.missing] == ["04.png"]

    assert Group(folders, count, run, launcher=launcher).end() == ([0] * count, {})
    (record,) = (folders / "out").iterdir()
    assert record.read_bytes() == (folders / "one" / record.name).read_bytes()


@pytest.mark.parametrize("killed", [0, 1])
def test_another_number_of_processes_continues_after_one_was_killed(folders, monkeypatch, killed):
    original = PairScorer._score

    def slowly(self, pair):
        time.sleep(0.1)
        (folders / f"{pair.mask.stem} by {os.getpid()}.scored").touch()
        return original(self, pair)

    monkeypatch.setattr(PairScorer, "_score", slowly)
    running = Group(folders, 2, lambda: score(folders, "out"))
    wait_for_files(folders / "out", "*.parts/[0-9]*.parquet", 4)
    os.kill(running.processes[killed].pid, signal.SIGKILL)
    codes, errors = running.end()
    assert codes[killed] == -signal.SIGKILL
    assert "killed or lost its connection; run the same command again to continue" in errors[1 - killed]
    finished = {int(path.stem) for path in (folders / "out").glob("*.parts/[0-9]*.parquet")}
    assert 7 <= len(finished) < 14, "the other process finishes its share"
    (folders / "out/partial-123-objects_val.parquet").touch()
    assert Group(folders, 3, lambda: score(folders, "out")).end() == ([0] * 3, {})
    scored = [int(path.stem[:2]) for path in folders.glob("*.scored")]
    assert not [index for index in finished if scored.count(index) > 1], "finished images are scored once"
    score(folders, "one")
    (record,) = (folders / "out").iterdir()
    assert record.read_bytes() == (folders / "one" / record.name).read_bytes()


def test_an_error_ends_all_processes_with_one_message(folders):
    (folders / "masks/03.png").write_text("no image")
    codes, errors = Group(folders, 2, lambda: score(folders, "out")).end()
    assert (codes, set(errors)) == ([0, 0], {0})
    assert errors[0].startswith("DataError: 1 of 14 masks cannot be scored")


def test_the_command_writes_one_page(folders, capfd):
    arguments = ["--truth", folders / "truth", "--classes", folders / "classes.yaml", "--output", folders / "out"]
    arguments += ["--masks", folders / "masks", folders / "truth"]
    (folders / "classes.yaml").write_text(
        "classes:\n- {name: x, label: 0}\n- {name: a, label: 7}\n- {name: b, label: 8}\n"
    )
    assert Group(folders, 2, lambda: main(["score", *map(str, arguments)])).end() == ([0, 0], {})
    assert (folders / "out/index.html").exists()
    printed = capfd.readouterr().out
    assert printed.count("masks: 14 images scored") == 1
    assert printed.count("truth: 14 images scored") == 1
    assert printed.count("index.html") == 1
    assert not list(folders.glob("out/*/*.parts"))

"""The script that trains variants with several seeds repeats nothing and resumes interrupted runs."""

import importlib.util
from pathlib import Path

import pytest

from tests.report.records import named, write_record

SCRIPT = Path(__file__).parents[1] / "scripts" / "size_study.py"


@pytest.fixture
def study(monkeypatch):
    """The script, with a command that records its arguments and writes an object record when it validates."""
    spec = importlib.util.spec_from_file_location("size_study", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.calls, script.failing = [], ""

    def segattn(arguments, log, jobs):
        script.calls.append(arguments)
        folder = Path(arguments[arguments.index("--output") + 1]) / Path(arguments[2]).stem / "version_0"
        if script.failing and script.failing in str(folder):
            (folder / "checkpoints").mkdir(parents=True)
            (folder / "checkpoints" / "last.ckpt").touch()
            return False
        if arguments[0] == "validate":
            write_record(folder / "objects_val.parquet", seed=len(script.calls), images=2, **named(folder.parent.name))
        return True

    monkeypatch.setattr(script, "segattn", segattn)
    return script


def test_every_run_is_trained_once_and_compared(study, tmp_path, capsys):
    arguments = ["--prefix", "camvid", "--variants", "fcn", "fla", "--seeds", "0", "1", "--output", str(tmp_path)]
    assert study.main([*arguments, "--", "--data.root", "there"]) == 0
    assert [call[0] for call in study.calls] == ["fit", "validate"] * 4
    assert study.calls[0] == [
        *("fit", "--config", "camvid_fcn.yaml", "--output", str(tmp_path / "seed_0"), "--data.root", "there"),
        *("--seed_everything", "0"),
    ]
    assert "several runs (2 of camvid_fcn, 2 of camvid_fla)" in capsys.readouterr().out
    assert (tmp_path / "comparison" / "index.html").is_file()
    assert study.main(arguments) == 0
    assert len(study.calls) == 8


def test_failed_run_is_reported_and_resumed(study, tmp_path, capsys):
    arguments = ["--variants", "fcn", "fla", "--seeds", "3", "--output", str(tmp_path)]
    study.failing = "fla"
    assert study.main(arguments) == 1
    assert "failed: camvid_fla, seed 3; see the logs in" in capsys.readouterr().err
    study.failing = ""
    study.calls.clear()
    assert study.main(arguments) == 0
    assert [call[0] for call in study.calls] == ["fit", "validate"]
    assert study.calls[0][-2:] == ["--ckpt_path", "last"]

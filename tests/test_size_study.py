"""The script that trains variants with several seeds repeats nothing and resumes interrupted runs."""

import importlib.util
from pathlib import Path

import pandas as pd
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

    def segattn(arguments, log):
        script.calls.append(arguments)
        options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
        folder = Path(options["--output"]) / options["--name"] / "version_0"
        if arguments[0] == "fit":
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            (folder / "checkpoints" / "last.ckpt").touch()
            return not (script.failing and script.failing in str(folder))
        if arguments[0] in {"validate", "test"}:
            split = "test" if arguments[0] == "test" else "val"
            write_record(
                folder / f"objects_{split}.parquet", seed=len(script.calls), images=2, **named(folder.parent.name)
            )
        return True

    monkeypatch.setattr(script, "segattn", segattn)
    return script


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("plain: --config camvid_fcn.yaml\nfla: --config camvid_fla.yaml --model.head.channels 64\n")
    return str(path)


def test_every_run_is_trained_once_and_both_checkpoints_are_compared(study, study_file, tmp_path, capsys):
    arguments = ["--study", study_file, "--seeds", "0", "1", "--output", str(tmp_path)]
    assert study.main([*arguments, "--", "--data.root", "there"]) == 0
    assert [call[0] for call in study.calls] == ["fit", "validate", "validate"] * 4
    assert study.calls[3] == [
        *("fit", "--config", "camvid_fla.yaml", "--model.head.channels", "64", "--data.root", "there"),
        *("--name", "fla", "--output", str(tmp_path / "seed_0"), "--seed_everything", "0"),
    ]
    checkpoints = tmp_path / "seed_0" / "fla" / "version_0" / "checkpoints"
    assert [call[-1] for call in study.calls[4:6]] == [str(checkpoints / "best.ckpt"), str(checkpoints / "last.ckpt")]
    assert "several runs (2 of plain, 2 of fla)" in capsys.readouterr().out
    for which in ("best", "last"):
        assert (tmp_path / f"comparison_{which}" / "index.html").is_file()
    assert study.main(arguments) == 0
    assert len(study.calls) == 12


def test_failed_run_is_reported_and_resumed(study, study_file, tmp_path, capsys):
    arguments = ["--study", study_file, "--seeds", "3", "--output", str(tmp_path)]
    study.failing = "fla"
    assert study.main(arguments) == 1
    assert "failed: fla, seed 3; see the logs in" in capsys.readouterr().err
    study.failing = ""
    study.calls.clear()
    assert study.main([*arguments, "--variants", "fla", "--checkpoints", "last", "--split", "test"]) == 0
    assert [call[0] for call in study.calls] == ["fit", "test"]
    assert study.calls[0][-2:] == ["--ckpt_path", "last"]
    assert not (tmp_path / "comparison_best").exists()


def test_costs_of_the_variants_are_in_the_comparison(study, study_file, tmp_path, monkeypatch, capsys):
    from segattn.benchmark import cost_tables

    def write_measurements(factories, device, dtype, *, output):
        ((shape, variants),) = factories.items()
        assert (shape, device.type) == ((2, 3, 64, 96), "cpu")
        models = {name: make() for (name, _), make in variants.items()}
        sizes = {name: sum(each.numel() for each in model.parameters()) for name, model in models.items()}
        pd.Series(sizes, name="parameters").rename_axis("name").to_csv(output)

    monkeypatch.setattr(cost_tables, "write_measurements", write_measurements)
    arguments = ["--study", study_file, "--seeds", "0", "--output", str(tmp_path), "--checkpoints", "last"]
    assert study.main([*arguments, "--costs", "2x64x96", "--", "--model.encoder.name", "tu-test_resnet"]) == 0
    rows = pd.read_csv(tmp_path / "costs.csv").set_index("name")["parameters"]
    assert list(rows.index) == ["plain", "fla"]
    assert rows["fla"] != rows["plain"]
    assert f"{rows['fla'] / 1e6:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("shape", ["64x96", "2x64", "0x64x96", "2x64x-1", "2x64x96x3", "large"])
def test_another_shape_of_the_costs_is_refused(study, study_file, shape, capsys):
    with pytest.raises(SystemExit):
        study.main(["--study", study_file, "--costs", shape])
    assert f"{shape!r} is not the shape of a batch; write BxHxW such as 2x360x480" in capsys.readouterr().err
    assert not study.calls

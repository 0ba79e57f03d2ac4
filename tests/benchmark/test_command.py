from functools import partial

import pandas as pd
import pytest
import torch

from segattn.benchmark import cost_tables, measure
from segattn.benchmark.config_model import config_model
from segattn.benchmark.single_modules import attention_block, head_on_features, use_implementation
from segattn.cli import main
from segattn.heads import FCNHead
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel


def rows(text):
    """The cells of every line of the printed table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_block_is_measured_fused_and_plain(capsys, monkeypatch):
    monkeypatch.setattr(cost_tables, "peak_memory", lambda factory, shape, **_: (1.0, 2.0))  # starts processes
    assert main(["benchmark", "--block", "PositionAttention", "--channels", "16", "--size", "8x12"]) == 0
    found = rows(capsys.readouterr().out)
    assert [row[:3] for row in found] == [["PositionAttention", "1x16x8x12", path] for path in ("fused", "plain")]
    assert {row[3] for row in found} == {"341"}  # query and key 16 -> 2, value 16 -> 16, with biases, and gamma
    pairs = 8 * 12
    assert float(found[0][4]) == pytest.approx((pairs * 16 * 20 + pairs**2 * (2 + 16)) / 1e6, abs=0.05)
    numbers = [[float(cell.replace(",", "")) for cell in row[5:]] for row in found]
    for median, p90, rate, memory, step, step_memory in numbers:
        assert 0 < median <= p90
        assert rate == pytest.approx(1000 / median, rel=0.9)
        assert step > 0
        assert (memory, step_memory) == (1, 2)


class Clock:
    """A clock that stands still except while a module runs, for as long as its turn says."""

    def __init__(self, monkeypatch):
        self.now, self.turns = 0.0, []
        monkeypatch.setattr(measure.time, "perf_counter", lambda: self.now)

    def function(self, name, seconds):
        def run():
            self.turns.append(name)
            self.now += seconds[self.turns.count(name) - 1]

        return run


def test_modules_take_turns_and_the_first_turn_is_not_timed(monkeypatch):
    clock = Clock(monkeypatch)
    functions = [clock.function("a", [9, 1, 2, 4]), clock.function("b", [8, 3, 5, 7])]
    seconds = measure.seconds_in_turns(functions, device=torch.device("cpu"), repeats=3)
    assert seconds == [[1, 2, 4], [3, 5, 7]]
    assert clock.turns == ["a", "b"] * 4


def fixed_costs(monkeypatch):
    """Replace the measurements by known numbers."""
    monkeypatch.setattr(cost_tables, "peak_memory", lambda factory, shape, **_: (100.0, 2000.0))
    monkeypatch.setattr(cost_tables, "forward_and_step", lambda *_, **__: (None, None))
    times = [[0.010, 0.020, 0.060], [0.1, 0.2, 0.3]]
    monkeypatch.setattr(cost_tables, "seconds_in_turns", lambda functions, **_: times)


def test_costs_of_several_configs_are_written(capsys, monkeypatch, tmp_path):
    fixed_costs(monkeypatch)
    file = tmp_path / "costs.csv"
    configs = ["--config", "camvid_fcn.yaml", "camvid_fla.yaml"]
    assert main(["benchmark", *configs, "--size", "32x48", "--batch", "2", "--output", str(file)]) == 0
    assert f"wrote {file}" in capsys.readouterr().out
    costs = pd.read_csv(file).set_index("name")
    assert list(costs.index) == ["camvid_fcn", "camvid_fla"]
    first = costs.loc["camvid_fcn"]
    assert first[["latency_ms", "latency_p90_ms", "step_ms"]].tolist() == pytest.approx([20, 52, 20])
    assert first["images_per_second"] == pytest.approx(100)
    assert (first["memory_mib"], first["step_memory_mib"], first["input"]) == (100, 2000, "2x3x32x48")
    assert first["parameters"] == measure.count_parameters(config_model(("--config", "camvid_fcn.yaml")))
    assert costs.loc["camvid_fla", "images_per_second"] == pytest.approx(10)


@pytest.mark.parametrize(
    ("ending", "row"), [("md", "| ECA | 1x512x8x8 | - | 5 |"), ("tex", "ECA & 1x512x8x8 & - & 5 &")]
)
def test_costs_are_written_as_text(ending, row, monkeypatch, tmp_path):
    fixed_costs(monkeypatch)
    file = tmp_path / f"costs.{ending}"
    assert main(["benchmark", "--block", "ECA", "--size", "8x8", "--output", str(file)]) == 0
    text = file.read_text()
    assert row in text
    assert "median and 90th percentile of 10 predictions" in text


def test_block_with_one_implementation_and_an_option(capsys):
    block = ["--block", "SCSA", "--channels", "16", "--option", "window=4", "--size", "9x8"]
    assert main(["benchmark", *block, "--predict"]) == 0
    ((_, shape, path, *_),) = rows(capsys.readouterr().out)
    assert (shape, path) == ("1x16x9x8", "-")


def test_head_and_config_are_estimated_without_data_or_weights(capsys):
    head = ["--head", "DANetHead", "--encoder", "resnet18", "--size", "512x1024"]
    assert main(["benchmark", *head, "--predict"]) == 0
    fused, plain = rows(capsys.readouterr().out)
    pairs = 4 * (64 * 128) ** 2 / 2**20
    assert int(plain[-2].replace(",", "")) - int(fused[-2].replace(",", "")) > pairs / 2
    assert (
        main(
            [
                "benchmark",
                "--config",
                "camvid_fcn.yaml",
                "--size",
                "64x96",
                "--batch",
                "2",
                "--predict",
                "--model.head.channels",
                "64",
            ]
        )
        == 0
    )
    ((_, shape, _, _, _, weights, prediction, training),) = rows(capsys.readouterr().out)
    assert shape == "2x3x64x96"
    assert int(weights) < int(prediction) < int(training)


def test_config_model_returns_a_loss_in_training_mode():
    module = config_model(("--config", "camvid_danet.yaml"))
    assert use_implementation(module, "plain") > 0
    image = torch.rand(2, 3, 32, 48)
    assert module.train()(image).ndim == 0
    assert module.eval()(image).shape == (2, 11, 32, 48)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--block", "SCAS", "--size", "8x8"], 1, "segattn.attention has no SCAS; it has: BAM, CBAM"),
        (["--block", "SCSA", "--size", "8x8", "--option", "windw=4"], 1, "unexpected keyword argument 'windw'"),
        (["--block", "SCSA", "--size", "8"], 2, "'8' is not a size; write HEIGHTxWIDTH such as 512x1024"),
        (["--block", "SCSA", "--size", "8x8", "--bacth", "2"], 2, "unrecognized arguments: --bacth 2"),
        (["--block", "SCSA", "--size", "8x8", "--option", "kernel_sizes=[3"], 2, "'kernel_sizes=[3' is not valid YAML"),
        (
            ["--block", "NAM", "--size", "1x1", "--channels", "4", "--predict"],
            1,
            "batch norm needs at least two images per batch",
        ),
        (["--size", "8x8"], 1, "Choose one of --block, --head and --config"),
        (["--block", "SCSA", "--head", "FCNHead", "--size", "8x8"], 1, "Choose one of --block, --head and --config"),
        (
            ["--block", "SCSA", "--size", "8x8", "--model.head", "FCNHead"],
            1,
            "--model.head has no effect without --config",
        ),
        (["--block", "SCSA", "--size", "8x8", "--batch", "0"], 1, "must be positive"),
        (["--config", "x.yaml", "--size", "8x8", "--output", "a.txt"], 2, "'a.txt' must end in .csv, .md or .tex"),
        (["--config", "a/x.yaml", "b/x.yaml", "--size", "8x8"], 1, "different names, got a/x.yaml, b/x.yaml"),
        (["--block", "ECA", "--size", "8x8", "--predict", "--output", "a.md"], 1, "--output has no effect with"),
        (["--config", "nowhere.yaml", "--size", "8x8"], 1, "There is no config nowhere.yaml"),
    ],
)
def test_user_errors_are_one_sentence(arguments, code, message, capsys):
    try:
        found = main(["benchmark", *arguments])
    except SystemExit as end:
        found = end.code
    assert found == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_attention_block_by_name():
    assert type(attention_block("ECA", 32, {"kernel_size": 5})).__name__ == "ECA"


@pytest.mark.parametrize("encoder", ["tu-test_convnext", "vit-test_vit"])
def test_a_head_is_measured_on_the_levels_that_it_gets_in_a_model(encoder):
    spec, head = EncoderSpec(encoder, None, 8), partial(FCNHead, channels=8)
    alone = head_on_features("FCNHead", 5, spec, shape=(1, 3, 64, 96), options={"channels": 8})
    model = SegmentationModel(ModelSpec(5, spec, head))
    shapes = [value.shape for value in alone.head.state_dict().values()]
    assert shapes == [value.shape for value in model.head.state_dict().values()]

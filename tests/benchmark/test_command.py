import pytest
import torch

from segattn.benchmark import command
from segattn.benchmark.block_cost import attention_block, use_implementation
from segattn.benchmark.model_cost import config_model
from segattn.cli import main


def rows(text):
    """The cells of every line of the printed table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_a_block_is_measured_fused_and_plain(capsys, monkeypatch):
    monkeypatch.setattr(command, "peak_memory", lambda factory, shape, **_: (1.0, 2.0))  # which starts processes
    assert main(["benchmark", "--block", "PositionAttention", "--channels", "16", "--size", "8x12"]) == 0
    found = rows(capsys.readouterr().out)
    assert [row[:2] for row in found] == [["1x16x8x12", path] for path in ("fused", "plain")]
    assert {row[2] for row in found} == {"341"}  # query and key 16 -> 2, value 16 -> 16, with biases, and gamma
    pairs = 8 * 12
    assert float(found[0][3]) == pytest.approx((pairs * 16 * 20 + pairs**2 * (2 + 16)) / 1e6, abs=0.05)
    assert all(float(row[column]) > 0 for row in found for column in (4, 6))
    assert all((row[5], row[7]) == ("1", "2") for row in found)


def test_a_block_with_one_path_takes_options(capsys):
    arguments = [
        "benchmark",
        "--block",
        "SCSA",
        "--channels",
        "16",
        "--size",
        "9x8",
        "--option",
        "window=4",
        "--predict",
    ]
    assert main(arguments) == 0
    ((shape, path, *_),) = rows(capsys.readouterr().out)
    assert (shape, path) == ("1x16x9x8", "-")


def test_a_head_and_a_config_are_estimated_without_data_or_weights(capsys):
    head = ["--head", "DANetHead", "--encoder", "resnet18", "--size", "512x1024"]
    assert main(["benchmark", *head, "--predict"]) == 0
    fused, plain = rows(capsys.readouterr().out)
    pairs = 4 * (64 * 128) ** 2 / 2**20
    assert int(plain[-2].replace(",", "")) - int(fused[-2].replace(",", "")) > pairs / 2
    assert main(["benchmark", "--config", "camvid_fcn.yaml", "--size", "64x96", "--batch", "2", "--predict"]) == 0
    ((shape, _, _, _, weights, prediction, training),) = rows(capsys.readouterr().out)
    assert shape == "2x3x64x96"
    assert int(weights) < int(prediction) < int(training)


def test_a_config_gives_a_loss_in_training():
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
        (["--block", "SCSA", "--size", "8"], 2, "'8' is no size; write height x width like 512x1024"),
        (["--block", "SCSA", "--size", "8x8", "--bacth", "2"], 2, "unrecognized arguments: --bacth 2"),
        (["--block", "SCSA", "--size", "8x8", "--option", "kernel_sizes=[3"], 2, "'kernel_sizes=[3' is no YAML"),
        (["--block", "NAM", "--size", "1x1", "--channels", "4", "--predict"], 1, "so take two or more a batch"),
        (["--config", "nowhere.yaml", "--size", "8x8"], 1, "There is no config nowhere.yaml"),
    ],
)
def test_mistakes_are_said_in_a_sentence(arguments, code, message, capsys):
    try:
        found = main(["benchmark", *arguments])
    except SystemExit as end:
        found = end.code
    assert found == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_blocks_are_made_by_name():
    assert type(attention_block("ECA", 32, {"kernel_size": 5})).__name__ == "ECA"

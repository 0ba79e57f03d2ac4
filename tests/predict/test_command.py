import subprocess
import sys

import pytest

from segattn.cli import main
from segattn.predict import Settings, command
from tests.predict.conftest import mask, save_pictures, tree


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def test_the_last_line_names_the_results(tmp_path, checkpoint, capsys):
    images = save_pictures(tmp_path / "in", "1.png", "2.png")
    assert predict("--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"2 masks in {tmp_path / 'out'}"]
    assert captured.err == ""


def test_failures_are_listed_and_the_exit_code_is_1(tmp_path, checkpoint, capsys):
    images = save_pictures(tmp_path / "in", "1.png", "[red]b.gif")
    (images / "bad.jpg").touch()
    (images / b"\xff.png".decode("utf-8", "surrogateescape")).touch()
    assert predict("--checkpoint", checkpoint, "--images", images, "gone", "--output", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "bad.jpg: it is empty" in captured.err
    assert "\\udcff.png: it is empty" in captured.err
    assert "gone: there is no such file or folder" in captured.err
    assert captured.out.splitlines()[-1] == f"2 masks in {tmp_path / 'out'}; 3 failed"


def test_a_file_name_cannot_print_lines_or_terminal_escapes(tmp_path, checkpoint, capsys):
    images = save_pictures(tmp_path / "in", "1.png")
    (images / "a\nfailed: 1.png: forged \x1b[31m.png").touch()
    assert predict("--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out") == 1
    assert capsys.readouterr().err == "failed: a\\nfailed: 1.png: forged \\x1b[31m.png: it is empty\n"


def test_the_last_line_counts_results_of_an_earlier_run(tmp_path, checkpoint, capsys):
    images = save_pictures(tmp_path / "in", "1.png")
    common = ["--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out", "--resume"]
    assert predict(*common) == predict(*common) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"1 masks in {tmp_path / 'out'}, 1 of them from an earlier run"


def test_resuming_with_other_options_says_why_nothing_is_kept(tmp_path, checkpoint, capsys):
    images = save_pictures(tmp_path / "in", "1.png")
    common = ["--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out"]
    assert predict(*common, "--overlay", "--window", 32) == 0
    assert predict(*common, "--resume", "--window", 32, "--flip") == 0
    changes = "overlay was true and is now false, flip was false and is now true"
    reason = f"it was predicted with other settings ({changes})"
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"note: nothing of {tmp_path / 'out'} was kept: {reason}",
        f"1 masks in {tmp_path / 'out'}",
    ]


def test_files_of_other_types_are_named(tmp_path, checkpoint, capsys):
    images = save_pictures(tmp_path / "in", "1.png", "favicon.ico")
    common = ["--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out"]
    assert predict(*common) == 0
    note = f"skipped 1 file that is hidden or not of an image type: {images}/favicon.ico"
    assert capsys.readouterr().out.splitlines()[0] == f"note: {note}"
    (images / "1.png").unlink()
    assert predict(*common) == 1
    assert capsys.readouterr().err == f"segattn predict: There are no images in {images} ({note}).\n"


def test_notes_are_printed(tmp_path, checkpoint, capsys):
    images = save_pictures(tmp_path / "in", "1.png")
    from PIL import Image

    first = Image.open(images / "1.png")
    first.save(images / "2.gif", save_all=True, append_images=[Image.new("RGB", first.size)])
    first.close()
    assert predict("--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out") == 0
    assert "note: 2.gif: several frames or pages, only the first is read" in capsys.readouterr().out


def test_every_option_reaches_the_run(monkeypatch, tmp_path):
    seen = {}

    def spy(checkpoint, images, output, *, settings, **options):
        seen.update(options, settings=settings, paths=(str(checkpoint), images, str(output)))
        raise ValueError("enough.")

    monkeypatch.setattr(command, "predict_folder", spy)
    line = (
        "--checkpoint m --images a b --output o --ids train --palette --overlay --panels --opacity 0.3 --confidence "
        "--probabilities 3 --window 40 50 --stride 20 --whole-image-weight 0.2 --short-side 9 "
        "--scales 0.5 1 --flip --precision bf16 "
        "--device cuda:1 --devices 2 --num-nodes 3 --batch-size 4 "
        "--compile --resume --overwrite --max-pixels 99 --quiet"
    )
    assert predict(*line.split()) == 1
    assert seen.pop("paths") == ("m", ["a", "b"], "o")
    assert seen.pop("settings") == Settings("cuda:1", 2, 3, 4, True, True, True, 99, False)
    assert seen == {
        "ids": "train",
        "palette": True,
        "overlay": True,
        "panels": True,
        "opacity": 0.3,
        "confidence": True,
        "probabilities": 3,
        "window": (40, 50),
        "stride": (20, 20),
        "whole_image_weight": 0.2,
        "whole": False,
        "short_side": 9,
        "original_size": False,
        "scales": (0.5, 1.0),
        "flip": True,
        "precision": "bf16",
    }


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--window", "1", "2", "3"], "argument --window: expected one or 2 values, got 3"),
        (["--probabilities", "many"], "argument --probabilities: must be all or an integer, got 'many'"),
        (["--ids", "own"], "argument --ids: invalid choice: 'own'"),
    ],
)
def test_invalid_command_lines_end_in_one_sentence(arguments, what, capsys):
    with pytest.raises(SystemExit) as caught:
        predict("--checkpoint", "m", "--images", "i", "--output", "o", *arguments)
    assert caught.value.code == 2
    assert what in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--checkpoint", "gone.ckpt"], "There is no checkpoint"),
        (["--opacity", "0.5"], "no effect without overlay"),
        (["--stride", "4"], "no effect without a window"),
    ],
)
def test_user_errors_end_in_one_sentence(tmp_path, checkpoint, arguments, what, capsys):
    images = save_pictures(tmp_path / "in", "1.png")
    common = ["--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out"]
    assert predict(*common, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("segattn predict: ")
    assert what in error
    assert error.count("\n") == 1


def test_missing_images_end_in_one_sentence(tmp_path, capsys):
    assert predict("--checkpoint", "m.ckpt", "--images", "gone", "--output", tmp_path) == 1
    assert capsys.readouterr().err.startswith("segattn predict: There are no images in gone (")


def test_help_needs_no_torch_and_predicting_no_lightning(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    script = (
        "import sys; from segattn.cli import main\n"
        "try: main(['predict', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'timm', 'lightning'} & set(sys.modules), 'help'\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert not {'lightning', 'pytorch_lightning', 'albumentations', 'pandas'} & set(sys.modules), 'run'\n"
    )
    arguments = ["predict", "--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out"]
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True, capture_output=True)
    assert mask(tmp_path / "out/1.png").shape == (40, 56)
    assert "manifest.jsonl" in tree(tmp_path / "out")

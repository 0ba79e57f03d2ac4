"""The command, the check before training, and what a quick check does not read."""

import datetime
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from segattn import cli
from segattn.check import check_data
from segattn.check.listing import SAMPLE
from segattn.data import CamVidDataModule, FolderDataModule
from tests.check.conftest import distinct_photos, labels, make_folder
from tests.data import layouts


@pytest.fixture
def config(camvid, monkeypatch):
    """A config of sound data in the current folder, with sections that the check does not read."""
    root, data = camvid
    monkeypatch.chdir(root)
    content = {
        "data": {
            "class_path": "CamVidDataModule",
            "init_args": {"root": str(root), "crop_size": [16, 16], "batch_size": 2, "num_workers": 0},
        },
        "model": {
            "encoder": {"name": "tu-test_resnet", "weights": None, "output_stride": 8},
            "head": {"class_path": "FCNHead", "init_args": {"channels": 8, "stage3_channels": None}},
            "object_sizes": {"edges": [100], "names": ["little", "rest"]},
        },
        "trainer": {
            **{"max_epochs": 1, "accelerator": "cpu", "num_sanity_val_steps": 0, "logger": False},
            **{"enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 1},
        },
    }
    (root / "own.yaml").write_text(yaml.safe_dump(content))
    return data


def spoil(data):
    """Write an unknown value into a label file."""
    path = data.dataset("train").pairs[0].mask
    layouts.save(path, layouts.quarters([0, 200, 3, 4]))
    return str(path)


def test_sound_data_gives_exit_code_0_and_a_table(config, capsys):
    assert cli.main(["check", "--config", "own.yaml"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "train: 12 of 12 pairs read" in captured.out
    assert re.search(r"bicyclist *│ +12 │ +2,496 │ +36\.11% │ +0 │ +12 │", captured.out)
    assert "Objects by size in pixels: little < 100 <= rest." in captured.out
    assert captured.out.splitlines()[-1] == "no problems found"


def test_errors_give_exit_code_1_and_are_listed(config, capsys):
    path = spoil(config)
    assert cli.main(["check", "--config", "own.yaml"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "segattn check: training on this data would fail or train a useless model: 1 error.\n"
    assert "error train: 1 label file with values that are neither a class nor ignored: 200." in captured.out
    assert path in captured.out


def test_overrides_work_as_in_fit(config, tmp_path, capsys):
    other = distinct_photos(layouts.camvid(tmp_path / "other", {"train": 3, "val": 1}))
    assert cli.main(["check", "--config", "own.yaml", "--data.root", str(other), "--data.crop_size", "[9,99]"]) == 0
    printed = capsys.readouterr().out
    assert "train: 3 of 3 pairs" in printed
    assert "crop of 99x9" in printed


def test_the_report_lists_all_files(tmp_path, capsys):
    data = make_folder(tmp_path / "data", [layouts.quarters([0, 1, 9, 9])] * 7, labels(0, 1))
    arguments = ["--data", "FolderDataModule", "--data.root", str(data.root), "--data.crop_size", "[8,8]"]
    assert cli.main(["check", *arguments, "--fix-report", str(tmp_path / "new" / "fix.json")]) == 1
    printed = capsys.readouterr().out
    assert "2.png and 4 more" in printed
    report = json.loads((tmp_path / "new" / "fix.json").read_text())
    assert report["splits"]["train"] == {"pairs": 7, "read": 7}
    finding = report["findings"][0]
    assert [finding[key] for key in ("severity", "kind", "split")] == ["error", "unknown-values", "train"]
    assert finding["files"] == [str(tmp_path / "data/masks/train" / f"{index}.png") for index in range(7)]


class Page(HTMLParser):
    """Images and tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.sources = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]


def test_page_is_self_contained_and_escapes_names(tmp_path):
    classes = {"classes": [{"name": "<script>alert(1)</script>", "label": 0}, {"name": "b&w", "label": 1}]}
    data = make_folder(tmp_path / "data", [layouts.quarters([0, 1, 0, 1])] * 2, classes)
    image = data.dataset("train").pairs[0].image
    for path in (image, data.dataset("train").pairs[0].mask):
        path.rename(path.with_stem('"><script>'))
    arguments = ["--data", "FolderDataModule", "--data.root", str(data.root), "--data.crop_size", "[8,8]"]
    assert cli.main(["check", *arguments, "--html", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == 1  # sorting
    assert "&lt;script&gt;alert(1)" in text
    icon, *pictures = page.sources
    assert (icon, len(pictures)) == ("data:,", 4)
    assert all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    assert not [path for path in tmp_path.iterdir() if path.name not in ("data", "page.html")]


def test_all_files_are_read_with_and_without_workers(tmp_path, capsys):
    mask = layouts.quarters([0, 1, 0, 1], (4, 6))
    data = make_folder(tmp_path, [mask] * (SAMPLE + 6), labels(0, 1), val=[mask])
    assert len(check_data(data).splits["train"].inspections) == SAMPLE
    for workers in (0, 2):
        result = check_data(data, every=True, workers=workers).splits["train"]
        assert [seen.index for seen in result.inspections] == list(range(SAMPLE + 6))
        assert result.pixels.tolist() == [12 * (SAMPLE + 6)] * 2 + [0]
        assert result.objects.tolist() == [[SAMPLE + 6, 0, 0]] * 2
    arguments = ["--data", "FolderDataModule", "--data.root", str(tmp_path), "--data.crop_size", "[8,8]"]
    assert cli.main(["check", *arguments]) == 0
    assert "in a sample; --all reads all files" in capsys.readouterr().out
    assert cli.main(["check", *arguments, "--all"]) == 0
    assert f"train: {SAMPLE + 6} of {SAMPLE + 6} pairs" in capsys.readouterr().out


@pytest.fixture
def listing(tmp_path, monkeypatch):
    """5,000 hard links to four files, and the set of all opened paths."""
    for part, count in {"train": 4000, "val": 1000}.items():
        for kind, array in (("images", layouts.photo(len(part))), ("masks", layouts.quarters([0, 1, 0, 1]))):
            layouts.save(tmp_path / kind / f"{part}.png", array)
            (tmp_path / kind / part).mkdir()
            for index in range(count):
                (tmp_path / kind / part / f"{index:05d}.png").hardlink_to(tmp_path / kind / f"{part}.png")
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump(labels(0, 1)))
    opened = set()
    from PIL import Image

    original = Image.open

    def spy(path, *args, **kwargs):
        opened.add(str(path))
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Image, "open", spy)
    return FolderDataModule(str(tmp_path), crop_size=(16, 16), num_workers=0), opened


def test_a_quick_check_opens_only_its_sample(listing):
    data, opened = listing
    report = check_data(data)
    assert not report.findings
    assert len(opened) == 2 * 2 * SAMPLE
    assert len(report.splits["train"].inspections) == len(report.splits["val"].inspections) == SAMPLE


def test_a_quick_check_finds_one_copy_among_many_images(tmp_path):
    """Images of equal file size are read first."""
    masks = [layouts.quarters([0, 1, 0, 1], (6, 8))] * 300
    data = make_folder(tmp_path, masks, labels(0, 1))
    for part, index in (("train", 250), ("val", 31)):
        layouts.save(tmp_path / "images" / part / f"{index}.png", np.full((6, 8, 3), 7, dtype=np.uint8))
    assert [finding.kind for finding in check_data(data).findings if finding.split == "val"] == ["duplicates"]


def test_the_sample_is_smaller_for_large_images(tmp_path, monkeypatch):
    monkeypatch.setattr("segattn.check.data_check.SAMPLE_PIXELS", 5 * 48)
    data = make_folder(tmp_path, [layouts.quarters([0, 1, 0, 1], (6, 8))] * 9, labels(0, 1))
    assert len(check_data(data).splits["train"].inspections) == 5
    assert len(check_data(data, every=True).splits["train"].inspections) == 9


def test_a_check_draws_no_random_numbers(camvid):
    _, data = camvid
    before = torch.get_rng_state()
    check_data(data, every=True)
    assert torch.equal(before, torch.get_rng_state())


def test_fit_stops_on_errors(config, capfd):
    path = spoil(config)
    assert cli.main(["fit", "--config", "own.yaml"]) == 1
    error = capfd.readouterr().err
    assert error.count("segattn fit: ") == 1
    assert "Training on this data would fail or train a useless model" in error
    assert f"train: 1 label file with values that are neither a class nor ignored: 200. {path}" in error


def test_fit_reports_missing_files_together_with_other_errors(config, capfd):
    path = spoil(config)
    lost = config.dataset("train").pairs[1].mask
    lost.unlink()
    assert cli.main(["fit", "--config", "own.yaml"]) == 1
    error = capfd.readouterr().err
    assert f"1 of 12 images have no label file, for example {lost} is missing." in error
    assert "Add the label files, or remove the images." in error
    assert path in error
    assert cli.main(["fit", "--config", "own.yaml", "--check", "false"]) == 1
    assert f"1 label files are missing, for example {lost}" in capfd.readouterr().err


def test_validate_accepts_configs_with_the_key_check(config, capsys):
    own = Path("own.yaml")
    own.write_text(f"{own.read_text()}check: false\n")
    weights = ["--model.init_from", "some.ckpt"]
    assert cli.main(["validate", "--config", "own.yaml", "--data.root", "gone", *weights]) == 1
    assert "No data found in" in capsys.readouterr().err


def test_the_check_can_be_disabled(config, monkeypatch, capsys):
    spoil(config)
    monkeypatch.setattr("segattn.training.command.check_before_fit", lambda data: pytest.fail("checked"))
    assert cli.main(["fit", "--config", "own.yaml", "--check", "false", "--data.batch_size", "99"]) == 1
    assert "12 training images are too few for a batch of 99" in capsys.readouterr().err


def test_fit_continues_after_warnings(config, capfd):
    assert cli.main(["fit", "--config", "own.yaml", "--data.crop_size", "[16,80]"]) == 0
    assert "warning: train: 12 of 12 images are smaller than the crop of 80x16" in capfd.readouterr().err


def test_validate_checks_nothing(config):
    spoil(config)
    data = CamVidDataModule(str(config.root), crop_size=(16, 16), num_workers=0)
    data.setup("validate")
    assert list(data.datasets) == ["val"]


def test_a_folder_with_the_name_of_a_date(config, monkeypatch, capsys):
    Path("2020-01-01").symlink_to(config.root)
    content = yaml.safe_load(Path("own.yaml").read_text())
    content["data"]["init_args"]["root"] = datetime.date(2020, 1, 1)
    Path("own.yaml").write_text(yaml.safe_dump(content))
    assert cli.main(["check", "--config", "own.yaml"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no problems found"


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--config", "nope.yaml"], 1, "There is no config nope.yaml"),
        (["--config", "own.yaml", "--data.nonsense", "3"], 2, "segattn check: There is no option nonsense."),
        (["--confg", "own.yaml"], 2, "segattn check: There is no option --confg: did you mean --config?"),
        (["--config", "own.yaml", "--data.crop_size", "[0,3]"], 1, "crop_size must be at least one pixel"),
        (["--config", "own.yaml", "--data.root", "gone"], 1, "would fail"),
        (["--config", "own.yaml", "--model.head", "FLAHead"], 2, "--model.head"),
        ([], 2, "data"),
        (["--data", "FolderDataModule", "--data.root", "."], 1, "classes.yaml"),
        (["--config", "own.yaml", "--html", "own.yaml/x.html"], 1, "cannot be written"),
    ],
)
def test_user_errors_are_reported_in_one_sentence(config, capsys, arguments, code, what):
    if code == 2:
        with pytest.raises(SystemExit, match="2"):
            cli.main(["check", *arguments])
    else:
        assert cli.main(["check", *arguments]) == code
    error = capsys.readouterr().err
    assert what in error
    assert error.count("segattn check") == 1
    assert error.count("\n") == 1 or code == 1

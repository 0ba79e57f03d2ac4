from itertools import pairwise

import pytest
import yaml
from jsonargparse import Namespace

from segattn.io.config_files import SHIPPED, expand_configs, find_config, require_sound


def write(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def paths(arguments):
    return [value for flag, value in pairwise(arguments) if flag == "--config"]


def test_a_shipped_name_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("ade20k_fla.yaml") == (SHIPPED / "ade20k_fla.yaml").absolute()


def test_a_file_of_the_user_comes_before_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = write(tmp_path / "ade20k_fla.yaml", trainer={})
    assert find_config("ade20k_fla.yaml") == own


def test_a_name_that_is_nowhere_lists_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no config nope\.yaml in .*ade20k_danet\.yaml, .*quickstart\.yaml"):
        find_config("nope.yaml")


@pytest.mark.parametrize("flags", [["--config", "own.yaml"], ["--config=own.yaml"], ["-c", "own.yaml"]])
def test_bases_come_first_and_other_arguments_keep_their_place(tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "own.yaml", base=["sub/middle.yaml", "quickstart.yaml"])
    write(tmp_path / "sub/middle.yaml", base="lowest.yaml")
    write(tmp_path / "sub/lowest.yaml", trainer={})
    expanded = expand_configs(["fit", "--trainer.max_steps=2", *flags, "--name", "x"])
    assert expanded[:2] == ["fit", "--trainer.max_steps=2"]
    assert expanded[-2:] == ["--name", "x"]
    names = [tmp_path / "sub/lowest.yaml", tmp_path / "sub/middle.yaml", SHIPPED / "quickstart.yaml"]
    assert paths(expanded) == [str(path.absolute()) for path in (*names, tmp_path / "own.yaml")]


def test_configs_that_build_on_themselves_are_refused(tmp_path):
    write(tmp_path / "a.yaml", base="b.yaml")
    write(tmp_path / "b.yaml", base="a.yaml")
    with pytest.raises(ValueError, match="builds on itself"):
        expand_configs(["fit", "--config", str(tmp_path / "a.yaml")])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: [", "valid YAML"),
        ("[" * 1200, "nested too deeply"),
        ("- a", "must be a YAML mapping"),
        ("", "mapping"),
        ("base: [3]", "must be the name of a config or a list of names"),
        ("model: [1]", r"The key model of the config .*own\.yaml must be a mapping, got \[1\]"),
        ("trainer: 3", "The key trainer of the config .* must be a mapping"),
    ],
)
def test_files_that_are_no_config_are_refused(tmp_path, text, what):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=what):
        expand_configs(["fit", "--config", str(path)])


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("model.encoder", None, "model.encoder must be a mapping, got None"),
        ("model.schedule", [1], "model.schedule must be a mapping"),
        ("model.head", None, "model.head must name a class"),
        ("model.optimizer", None, "model.optimizer must name a class"),
        ("output", None, "output must be the name of a folder, got None"),
        ("name", "a/../../b", "name must be a folder below output"),
        ("name", "/b", "name must be a folder below output"),
        ("trainer.accumulate_grad_batches", 0, "trainer.accumulate_grad_batches must be positive, got 0"),
        ("trainer.accumulate_grad_batches", None, "trainer.accumulate_grad_batches must be positive"),
        ("trainer.val_check_interval", 0.0, "trainer.val_check_interval must be positive"),
        ("trainer.check_val_every_n_epoch", -1, "trainer.check_val_every_n_epoch must be positive"),
    ],
)
def test_what_the_parser_lets_pass_is_refused_by_name(key, value, what):
    model = Namespace(**dict.fromkeys(("encoder", "schedule", "head", "optimizer"), Namespace()))
    config = Namespace(name="a/b", output="runs", model=model)
    config.trainer = Namespace(accumulate_grad_batches=1, val_check_interval=0.5, check_val_every_n_epoch=None)
    require_sound(config)
    config[key] = value
    with pytest.raises(ValueError, match=what):
        require_sound(config)

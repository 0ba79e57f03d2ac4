from itertools import pairwise

import pytest
import yaml

from segattn.io.config_files import SHIPPED, expand_configs, find_config


def write(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def paths(arguments):
    return [value for flag, value in pairwise(arguments) if flag == "--config"]


def test_shipped_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("ade20k_fla.yaml") == (SHIPPED / "ade20k_fla.yaml").absolute()


def test_user_files_take_precedence_over_shipped_configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = write(tmp_path / "ade20k_fla.yaml", trainer={})
    assert find_config("ade20k_fla.yaml") == own


def test_unknown_name_lists_the_shipped_configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no config nope\.yaml in .*ade20k_danet\.yaml, .*quickstart\.yaml"):
        find_config("nope.yaml")


def test_the_nearest_shipped_config_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no config quikstart\.yaml in .*: did you mean quickstart\.yaml\?$"):
        find_config("quikstart.yaml")


@pytest.mark.parametrize("flags", [["--config", "own.yaml"], ["--config=own.yaml"], ["-c", "own.yaml"]])
def test_extended_configs_come_first_and_other_arguments_stay(tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "own.yaml", base=["sub/middle.yaml", "quickstart.yaml"])
    write(tmp_path / "sub/middle.yaml", base="lowest.yaml")
    write(tmp_path / "sub/lowest.yaml", trainer={})
    expanded = expand_configs(["fit", "--trainer.max_steps=2", *flags, "--name", "x"])
    assert expanded[:2] == ["fit", "--trainer.max_steps=2"]
    assert expanded[-2:] == ["--name", "x"]
    names = [tmp_path / "sub/lowest.yaml", tmp_path / "sub/middle.yaml", SHIPPED / "quickstart.yaml"]
    assert paths(expanded) == [str(path.absolute()) for path in (*names, tmp_path / "own.yaml")]


def test_config_that_extends_itself_is_an_error(tmp_path):
    write(tmp_path / "a.yaml", base="b.yaml")
    write(tmp_path / "b.yaml", base="a.yaml")
    with pytest.raises(ValueError, match="extends itself"):
        expand_configs(["fit", "--config", str(tmp_path / "a.yaml")])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: [", "valid YAML"),
        ("[" * 1200, "nested too deeply"),
        ("data: {}\ndata: {}", r"own\.yaml is not valid YAML: the key data is given twice \(lines 1 and 2\)"),
        ("- a", "must be a YAML mapping"),
        ("", "mapping"),
        ("base: [3]", "must be the name of a config or a list"),
    ],
)
def test_files_that_are_not_configs_are_errors(tmp_path, text, what):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=what):
        expand_configs(["fit", "--config", str(path)])

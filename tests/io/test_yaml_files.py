"""YAML that nobody could go through is refused at once."""

import pytest

from segattn.data.errors import DataError
from segattn.data.folder_dataset import LabelScheme
from segattn.io.yaml_files import MOST_VALUES, read_yaml

BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (BOMB, "values by repeating its anchors; 100,000 are allowed"),
        ("data: &a {init_args: *a}", "contains itself"),
        ("[" * 1200, "nested too deeply"),
        ("a: [", "while parsing"),
        (b"\xff\xfe\x00", "can't decode|truncated data"),
    ],
)
def test_it_is_refused(tmp_path, text, what):
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=what):
        read_yaml(path)


def test_anchors_and_long_lists_are_read(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\nc: " + str(list(range(MOST_VALUES // 2))))
    content = read_yaml(path)
    assert content["b"] == [1, 2]
    assert len(content["c"]) == MOST_VALUES // 2


def test_a_file_of_classes_that_repeats_itself_is_one_sentence(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(BOMB + "classes: *a11\n")
    with pytest.raises(DataError, match=r"file of classes .*classes.yaml cannot be used: it holds 2[\d,]* values"):
        LabelScheme.read(path)

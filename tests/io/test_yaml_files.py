import pytest

from segattn.io.yaml_files import read_yaml


@pytest.mark.parametrize(
    ("content", "message"), [(b"a: [", "while parsing"), (b"\xff\xfe\x00", "can't decode|truncated data")]
)
def test_invalid_yaml_is_reported_in_one_line(tmp_path, content, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


def test_yaml_files_are_read_as_plain_data(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\n")
    assert read_yaml(path) == {"a": [1, 2], "b": [1, 2]}

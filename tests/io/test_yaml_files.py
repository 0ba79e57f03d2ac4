import pytest
import yaml

from segattn.io.yaml_files import key_lines, parse_yaml, read_yaml

MERGED = {"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}, "c": {"x": 1, "y": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", r"expected the node content, but found '<stream end>' \(line 1\)"),
        (b"a: 1\nb: c: d", r"mapping values are not allowed here \(line 2\)"),
        (b"a: *b", "undefined alias 'b'"),
        (b"a: !!python/name:os.system", "could not determine a constructor"),
        (b"a: !!bool maybe", "does not match its tag"),
        (b"a: !!timestamp maybe", "does not match its tag"),
        (b"a: \x00", "special characters are not allowed"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"a: 1\nb: 2\na: 3", r"the key a is given twice \(lines 1 and 3\)"),
        (b"- {name: x, name: y}", r"the key name is given twice \(lines 1 and 1\)"),
        (b"a: 1\n---\nb: 2", "found another document"),
        (b"[" * 1200, "nested too deeply"),
    ],
)
def test_invalid_yaml_is_reported_in_one_line(tmp_path, content, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("a: &a [1, 2]\nb: *a\n", {"a": [1, 2], "b": [1, 2]}),
        ("a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}\nc: {<<: *a}", MERGED),
        ("[no, yes, on, off, n, Y, NO, 2020-01-01, 1_000, 1:30, =]", "no yes on off n Y NO 2020-01-01 1_000 1:30 ="),
        ("[true, False, null, ~, '']", [True, False, None, None, ""]),
        ("[10, -3, 010, 0o10, 0x1F, +2]", [10, -3, 10, 8, 31, 2]),
        ("[1.5, 1e-3, -.5, 2., .inf, 1E4]", [1.5, 1e-3, -0.5, 2.0, float("inf"), 1e4]),
        ("{1: a, '1': b}", {1: "a", "1": "b"}),
    ],
)
def test_plain_values_are_read_as_in_yaml_1_2(text, expected):
    found = parse_yaml(text)
    assert found == (expected.split() if isinstance(expected, str) else expected)


def test_written_yaml_is_read_back():
    data = {"a": [1, 1e-05, -2.5, None, True, "no", "", "010", "a: b", "ü\n"], "b": {"3": {}, "x y": []}}
    assert parse_yaml(yaml.safe_dump(data)) == data


def test_lines_of_keys(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a:\n  class_path: X\n  init_args:\n    b: {c: 1}\nd: &d\n  e: *d\n")
    assert key_lines(path) == {"a": 2, "a.b": 4, "a.b.c": 4, "d": 5, "d.e": 6}
    path.write_text("")
    assert key_lines(path) == {}

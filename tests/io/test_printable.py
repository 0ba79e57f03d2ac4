import pytest

from segattn.io.printable import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße 路 🚗.png", "Straße 路 🚗.png"),
        ("a\nfailed: b", "a\\nfailed: b"),
        ("\x1b[31mred\r\t", "\\x1b[31mred\\r\\t"),
        ("right\u202eleft\x85\u2028", "right\\u202eleft\\x85\\u2028"),
        ("\udcff.png", "\\udcff.png"),
    ],
)
def test_only_printable_characters_stay(text, expected):
    assert printable(text) == expected
    printable(text).encode("utf-8")

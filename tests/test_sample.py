import json

import numpy as np
import pytest

from segattn.sample import ClassInfo, ClassTable, SizeRule

TABLE = ClassTable((ClassInfo("sky", (1, 2, 3), 23), ClassInfo("car", (4, 5, 6), 26, thing=True)))


def test_class_table_survives_json():
    assert ClassTable.from_dicts(json.loads(json.dumps(TABLE.to_dicts()))) == TABLE
    assert TABLE.things == (1,)
    assert TABLE.palette.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_label_ids_use_the_smallest_type():
    indices = np.array([[0, 1, 1]])
    assert TABLE.to_label_ids(indices).tolist() == [[23, 26, 26]]
    assert TABLE.to_label_ids(indices).dtype == np.uint8
    wide = ClassTable((ClassInfo("a", (0, 0, 0), 256),))
    assert wide.to_label_ids(np.zeros((1, 1), dtype=int)).tolist() == [[256]]
    assert wide.to_label_ids(np.zeros((1, 1), dtype=int)).dtype == np.uint16


@pytest.mark.parametrize(
    ("infos", "what"),
    [
        ((), "1 to 255"),
        ((ClassInfo("a", (0, 0, 0), 1), ClassInfo("a", (0, 0, 0), 2)), "share the name a"),
        ((ClassInfo("a", (0, 0, 0), 7), ClassInfo("b", (0, 0, 0), 7)), "share the label id 7"),
    ],
)
def test_invalid_class_tables_are_rejected(infos, what):
    with pytest.raises(ValueError, match=what):
        ClassTable(infos)


@pytest.mark.parametrize("label", [-1, 1 << 16, 10**30])
def test_label_ids_out_of_range_are_rejected(label):
    with pytest.raises(ValueError, match="The label id of the class 'a' must be 0 to 65535, got "):
        ClassInfo("a", (0, 0, 0), label)


@pytest.mark.parametrize("color", [(0, 0, 256), (0, -1, 0)])
def test_colors_out_of_range_are_rejected(color):
    with pytest.raises(ValueError, match="The color of the class 'a' must be three numbers 0 to 255, got "):
        ClassInfo("a", color, 0)


def test_size_rule_keeps_the_aspect_ratio_and_the_upper_bound():
    assert SizeRule().resized(7, 3000) == (7, 3000)
    assert SizeRule(short_side=512).resized(1024, 2048) == (512, 1024)
    assert SizeRule(short_side=512, max_long_side=1000).resized(100, 1000) == (100, 1000)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"short_side": 0}, "must be positive"),
        ({"max_long_side": 9}, "without short_side"),
    ],
)
def test_invalid_size_rules_are_rejected(arguments, what):
    with pytest.raises(ValueError, match=what):
        SizeRule(**arguments)

import json
from dataclasses import asdict

import numpy as np
import pytest

from segattn.sample import ClassInfo, ClassTable, SizeRule

TABLE = ClassTable((ClassInfo("sky", (1, 2, 3), 23), ClassInfo("car", (4, 5, 6), 26, thing=True)))


def test_class_table_survives_json():
    assert ClassTable.from_json(TABLE.to_json()) == TABLE
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
def test_impossible_class_tables_are_refused(infos, what):
    with pytest.raises(ValueError, match=what):
        ClassTable(infos)


def test_size_rule_keeps_the_ratio_and_the_bound():
    assert SizeRule().resized(7, 3000) == (7, 3000)
    assert SizeRule(short_side=512).resized(1024, 2048) == (512, 1024)
    assert SizeRule(short_side=512, max_long_side=1000).resized(100, 1000) == (100, 1000)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"short_side": 0}, "at least one pixel"),
        ({"max_long_side": 9}, "without short_side"),
        ({"window": (4, 4)}, "go together"),
        ({"window": (4, 4), "stride": (4, 5)}, "gaps"),
    ],
)
def test_impossible_size_rules_are_refused(arguments, what):
    with pytest.raises(ValueError, match=what):
        SizeRule(**arguments)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([1, 2], "A size rule is a mapping with the keys short_side, max_long_side, window, stride, got"),
        ({"short": 1}, "A size rule is a mapping with the keys"),
        ({"short_side": "512"}, "short_side of a size rule is an integer or null, got '512'"),
        ({"short_side": [4, 4]}, "short_side of a size rule is an integer or null"),
        ({"window": 4, "stride": 4}, r"window of a size rule is a pair of integers \(height, width\) or null, got 4"),
        ({"window": [4, 4.5], "stride": [4, 4]}, "window of a size rule is a pair"),
    ],
)
def test_size_rules_of_another_form_are_refused(content, what):
    with pytest.raises(ValueError, match=what):
        SizeRule.from_dict(content)


def test_size_rules_come_back_from_plain_data():
    rule = SizeRule(short_side=64, window=(32, 48), stride=(16, 24))
    assert SizeRule.from_dict(json.loads(json.dumps(asdict(rule)))) == rule

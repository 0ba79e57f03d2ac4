"""The picture of the definition shows the counts of the metric."""

from collections import Counter

import draw_size_metric
import numpy as np

from segattn.metrics.functional import attribute, size_counts, target_objects


def test_colors_are_the_counts():
    target, prediction = draw_size_metric.maps()
    colors = Counter(np.array(draw_size_metric.color_map(target, prediction)).flatten().tolist())
    rows = attribute(prediction, target_objects(target, 2), 2)
    small, large = size_counts(rows, np.array([draw_size_metric.EDGE]), 2)[1].tolist()
    assert [colors[color] for color in draw_size_metric.LARGE] == [large[0], large[1] + large[2]]
    assert colors[draw_size_metric.SMALL[0]] == small[0]
    assert colors[draw_size_metric.SMALL[1]] + colors[draw_size_metric.FREE] == small[1] + small[2]
    assert colors[draw_size_metric.FREE] == 6

"""The objects of a mask by plain loops over pixels."""

from tests.oracles.object_size import objects_of


def objects(mask, num_classes, ignore_index):
    """(class, area, smallest squared distance of a pixel to the centroid, centroid, pixels), by first pixels."""
    found = []
    for class_id in range(num_classes):
        for pixels in objects_of(mask, class_id, ignore_index, None):
            y, x = (sum(values) / len(pixels) for values in zip(*pixels, strict=True))
            nearest = min((row - y) ** 2 + (column - x) ** 2 for row, column in pixels)
            found.append((class_id, len(pixels), nearest, (y, x), pixels))
    return sorted(found, key=lambda entry: entry[-1][0])

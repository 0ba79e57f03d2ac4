import numpy as np

from segattn.io.overlay import blend


def test_colors_are_blended_and_unknown_labels_show_the_image():
    image = np.full((1, 3, 3), 100, dtype=np.uint8)
    palette = np.array([[0, 0, 0], [200, 50, 101]], dtype=np.uint8)
    labels = np.array([[0, 1, 255]])
    assert blend(image, labels, palette, opacity=0.5).tolist() == [[[50, 50, 50], [150, 75, 100], [100, 100, 100]]]
    assert blend(image, labels, palette, opacity=0.0).tolist() == image.tolist()
    assert blend(image, labels, palette, opacity=1.0)[0, :2].tolist() == palette.tolist()

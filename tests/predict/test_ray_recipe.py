"""Runs the Ray Data recipe of docs/predict.md on this machine; skipped where Ray is not installed."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import segattn
from segattn.predict import Settings, predict_folder
from tests.predict.conftest import mask, save_pictures

ray = pytest.importorskip("ray", reason="needs segattn[ray]")
pytest.importorskip("ray.data", reason="needs segattn[ray]")
DOCS = Path(segattn.__file__).parents[1] / "docs/predict.md"


@pytest.mark.filterwarnings("ignore")
def test_the_recipe_predicts_the_masks_of_the_command(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", *(f"{index}.png" for index in range(5)))
    save_pictures(tmp_path / "in", "large.png", height=48, width=64)
    section = DOCS.read_text(encoding="utf-8").partition(": Ray Data\n")[2]
    recipe = re.search(r"```python\n(.*?)```", section, re.S)[1]
    for old, new in (
        ("s3://lake/photos", str(images)),
        ("s3://lake/masks", str(tmp_path / "masks")),
        ("best.ckpt", str(checkpoint)),
        ("concurrency=4, num_gpus=1", "concurrency=1"),
    ):
        assert old in recipe
        recipe = recipe.replace(old, new)
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        exec(recipe, {"__name__": "recipe"})
    finally:
        ray.shutdown()
    expected = predict_folder(checkpoint, images, tmp_path / "out", flip=True, settings=Settings(progress=False))
    table = pd.read_parquet(tmp_path / "masks")
    found = {Path(row.path).name: np.array(Image.open(io.BytesIO(row.mask))) for row in table.itertuples()}
    assert found.keys() == expected.masks.keys()
    for name, path in expected.masks.items():
        assert np.array_equal(found[name], mask(path)), name

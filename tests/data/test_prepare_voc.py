"""The conversion of SBD's label files."""

from pathlib import Path

import numpy as np
import prepare_voc
import pytest
from PIL import Image
from scipy.io import savemat

from segattn.data import VOC
from tests.data import layouts
from tests.data.test_datasets import labels_of


@pytest.fixture
def sbd(tmp_path: Path) -> Path:
    """SBD's labels of one image of each list of Pascal VOC, and of one image that is in none."""
    root = layouts.voc(tmp_path / "VOC2012")
    (root / "ImageSets" / "Segmentation" / "trainaug.txt").unlink()
    (tmp_path / "sbd" / "cls").mkdir(parents=True)
    for name in ("2007_000001", "2008_000001", "2010_000002"):
        labels = {"Segmentation": layouts.quarters([0, 3, 20, 7]).astype(np.uint8), "CategoriesPresent": [3, 7, 20]}
        savemat(tmp_path / "sbd" / "cls" / f"{name}.mat", {"GTcls": labels}, do_compression=True)
    return tmp_path / "sbd"


def test_sbd_is_converted(sbd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = sbd.parent / "VOC2012"
    assert prepare_voc.main([str(sbd), "--root", str(root)]) == 0
    assert capsys.readouterr().out == "trainaug.txt lists 5 images; 1 of them have labels of SBD\n"
    data = VOC(root, sbd=True)
    assert [pair.name[:-4] for pair in data.pairs] == [f"2007_{index:06d}" for index in range(4)] + ["2010_000002"]
    assert labels_of(data[4]["mask"]) == [0, 3, 20, 7]
    stored = Image.open(data.pairs[4].mask)
    assert np.array(stored.convert("RGB"))[0, -1].tolist() == [128, 128, 0]  # the color of birds


@pytest.mark.parametrize("broken", ["empty", "text", "other", "cut"])
def test_broken_files_are_named(sbd: Path, capsys: pytest.CaptureFixture[str], broken: str) -> None:
    path = sbd / "cls" / "2010_000002.mat"
    content = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "text": b"hello" * 60, "other": content, "cut": content[: len(content) // 2]}[broken]
    )
    if broken == "other":
        savemat(path, {"GTinst": [1]})
    assert prepare_voc.main([str(sbd), "--root", str(sbd.parent / "VOC2012")]) == 1
    assert "2010_000002.mat is damaged, or does not belong to this data set.\n" in capsys.readouterr().err
    assert not (sbd.parent / "VOC2012" / "ImageSets" / "Segmentation" / "trainaug.txt").exists()


def test_missing_folders_are_named(sbd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_voc.main([str(sbd / "cls"), "--root", str(sbd.parent / "VOC2012")]) == 1
    assert "There are no files" in capsys.readouterr().err
    assert prepare_voc.main([str(sbd), "--root", str(sbd)]) == 1
    assert "train.txt" in capsys.readouterr().err

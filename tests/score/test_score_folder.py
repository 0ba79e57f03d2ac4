import numpy as np
import pytest
from PIL import Image

from segattn.cli import main
from segattn.data.errors import DataError, DataNotFoundError
from segattn.objects import read_record
from segattn.score import command, score_folder
from segattn.score.mask_pairs import pair_masks

CLASSES = "ignore: [0, 255]\nclasses:\n- {name: a, label: 7}\n- {name: b, label: 8}\n- {name: never, label: 9}\n"
NAMES = ("x/1.png", "x/2.png", "y/3.png")


def save(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(labels, dtype=np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path):
    """Label files with ignored pixels, and random masks of the same ids."""
    random = np.random.default_rng(0)
    (tmp_path / "classes.yaml").write_text(CLASSES)
    for name in NAMES:
        save(tmp_path / "truth" / name, random.choice([0, 7, 8], (13, 22)))
        save(tmp_path / "masks" / name, random.choice([7, 8], (13, 22)))
    return tmp_path


def score(folder, **options):
    classes = folder / "classes.yaml"
    return score_folder(folder / "truth", folder / "masks", folder / "out.parquet", classes=classes, **options)


def read(path):
    with Image.open(path) as image:
        return np.array(image)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_sums_are_the_plain_confusion_counts(folders, workers):
    rows = read_record(score(folders, workers=workers).record).rows
    for index, value in enumerate((7, 8, 9)):
        expected = np.zeros(3, dtype=int)
        for name in NAMES:
            true, predicted = read(folders / "truth" / name), read(folders / "masks" / name)
            valid = true != 0
            is_true, is_predicted = (true == value) & valid, (predicted == value) & valid
            parts = (is_true & is_predicted, is_predicted & ~is_true, is_true & ~is_predicted)
            expected += [part.sum() for part in parts]
        assert rows.loc[rows["class_id"] == index, ["tp", "fp", "fn"]].sum().tolist() == expected.tolist()


def test_indices_and_ids_give_the_same_rows(folders):
    by_ids = read_record(score(folders).record).rows
    for name in NAMES:
        save(folders / "masks" / name, read(folders / "masks" / name) - 7)
    by_indices = read_record(score(folders, values="indices").record).rows
    assert by_ids.to_json() == by_indices.to_json()


def test_the_command_reads_indices(folders):
    expected = read_record(score(folders).record).rows
    for name in NAMES:
        save(folders / "masks" / name, read(folders / "masks" / name) - 7)
    options = {"truth": "truth", "masks": "masks", "classes": "classes.yaml", "output": "scores"}
    arguments = [part for name, path in options.items() for part in (f"--{name}", str(folders / path))]
    assert main(["score", *arguments, "--values", "indices"]) == 0
    rows = read_record(folders / "scores/masks/objects_val.parquet").rows
    assert rows.to_json() == expected.to_json()


def test_a_missing_mask_is_refused_or_left_out(folders):
    (folders / "masks/x/2.png").unlink()
    save(folders / "masks/x/4.png", [[7]])
    with pytest.raises(DataError, match="1 of 3 label files have no mask"):
        score(folders)
    assert not (folders / "out.parquet").exists()
    report = score(folders, incomplete=True)
    assert (report.images, len(report.missing), len(report.extra)) == (2, 1, 1)
    assert set(read_record(report.record).rows["image"]) == {"x/1.png", "y/3.png"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"no image", "cannot be read as an image"),
        (np.full((13, 22), 5), "neither a class nor ignored: 5"),
        (np.full((13, 22), 255), "ignored value on"),
        (np.full((13, 21), 7), "21x13 pixels but its label file .* has 22x13"),
    ],
)
def test_a_mask_that_cannot_be_scored_is_refused_or_left_out(folders, content, message):
    path = folders / "masks/x/2.png"
    path.write_bytes(content) if isinstance(content, bytes) else save(path, content)
    with pytest.raises(DataError, match=message):
        score(folders)
    assert not (folders / "out.parquet").exists()
    report = score(folders, incomplete=True)
    assert report.images == 2
    assert list(report.problems) == ["x/2.png"]


def test_masks_of_another_size_are_resized_on_request(folders):
    expected = read_record(score(folders).record).rows
    for name in NAMES:
        save(folders / "masks" / name, read(folders / "masks" / name).repeat(3, 0).repeat(3, 1))
    report = score(folders, resize="nearest")
    assert report.resized == 3
    assert read_record(report.record).rows.to_json() == expected.to_json()


def test_an_interrupted_run_keeps_its_finished_parts(folders, monkeypatch):
    monkeypatch.setattr("segattn.score.score_parts.IMAGES_PER_PART", 1)
    expected = read_record(score(folders).record).rows
    read_names = []

    def rows(*arguments, image, **options):
        read_names.append(image)
        if len(read_names) == 3:
            raise KeyboardInterrupt
        return original(*arguments, image=image, **options)

    from segattn.metrics.record_columns import object_rows as original

    monkeypatch.setattr("segattn.score.pair_scoring.object_rows", rows)
    with pytest.raises(KeyboardInterrupt):
        score(folders)
    report = score(folders)
    assert read_names == [*NAMES, "y/3.png"]
    assert read_record(report.record).rows.to_json() == expected.to_json()
    assert not (folders / "out.parts").exists()


def test_cityscapes_names_are_paired_in_any_folder_depth(tmp_path):
    for kind in ("labelIds", "instanceIds", "color", "labelTrainIds"):
        save(tmp_path / f"truth/ulm/ulm_1_gtFine_{kind}.png", [[7]])
    save(tmp_path / "masks/deep/er/ulm_1_leftImg8bit.png", [[7]])
    pairing = pair_masks(tmp_path / "truth", tmp_path / "masks")
    (pair,) = pairing.pairs
    assert not pairing.missing
    assert pair.name == "ulm/ulm_1_gtFine_labelIds.png"


def test_names_in_several_folders_are_not_confused(folders):
    save(folders / "truth/y/1.png", [[7]])
    assert [path.name for path in pair_masks(folders / "truth", folders / "masks").missing] == ["1.png"]
    (folders / "masks/x").rename(folders / "masks/z")
    (folders / "masks/y").rename(folders / "masks/w")
    with pytest.raises(DataError, match="have the same name, and no relative path"):
        pair_masks(folders / "truth", folders / "masks")


def test_folders_without_masks_are_refused(folders):
    (folders / "empty").mkdir()
    for masks in ("empty", "absent"):
        with pytest.raises(DataNotFoundError, match=r"There (is no folder|are no image files)"):
            pair_masks(folders / "truth", folders / masks)


def test_the_command_compares_two_folders(folders, capsys):
    for name in NAMES:
        save(folders / "other" / name, np.full((13, 22), 7))
    arguments = ["--truth", "truth", "--masks", "masks", "other", "--classes", "classes.yaml", "--output", "out"]
    paths = [each if each.startswith("--") else str(folders / each) for each in arguments]
    assert main(["score", *paths]) == 0
    assert "3 images scored" in capsys.readouterr().out
    assert (folders / "out/index.html").is_file()
    assert main(["score", *paths[:-4], "--classes", "nonsense", *paths[-2:]]) == 1
    assert "shipped classes are ade20k, camvid, cityscapes" in capsys.readouterr().err


def test_masks_with_instance_maps_of_plain_ids(folders):
    """With a class file, values above 0 are ids; pixels without one form components."""
    for name in NAMES:
        save(folders / "truth" / name, np.full((2, 5), 7))
        save(folders / "masks" / name, [[7, 7, 8, 7, 7]] * 2)
        save(folders / "maps" / name, [[1, 0, 2, 1, 0]] * 2)
    report = score(folders, instances=folders / "maps")
    found = read_record(report.record).rows.query("image == 'x/1.png' and class_id == 0")
    assert found[["size_px", "tp", "fn"]].to_numpy().tolist() == [[4, 4, 0], [2, 2, 0], [2, 0, 2], [2, 2, 0]]
    save(folders / "maps/x/2.png", [[1]])
    with pytest.raises(DataError, match=r"instance map .*2\.png has 1x1 pixels but the label file .* has 5x2"):
        score(folders, instances=folders / "maps")
    (folders / "maps/x/2.png").unlink()
    with pytest.raises(DataError, match="1 label files have no instance map in"):
        score(folders, instances=folders / "maps", incomplete=True)


def test_rows_are_named_after_images(folders):
    for index, name in enumerate(NAMES):
        save((folders / "images" / name).with_suffix(".bmp"), [[index]])
    names = set(read_record(score(folders, images=folders / "images").record).rows["image"])
    assert names == {name.replace("png", "bmp") for name in NAMES}
    (folders / "images/x/2.bmp").unlink()
    with pytest.raises(DataError, match="1 label files have no image in"):
        score(folders, images=folders / "images")


def test_an_interrupted_command_says_how_to_continue(folders, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "score_folder", interrupt)
    options = ("--truth", "truth", "--masks", "masks", "--classes", "ade20k", "--output", "out")
    assert main(["score", *options]) == 130
    assert capsys.readouterr().err == (
        "Stopped. Finished images are kept; the same command continues with the others.\n"
    )

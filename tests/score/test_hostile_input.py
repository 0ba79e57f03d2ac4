"""Broken and hostile input: one sentence and exit code 1, or the same counts as without it; no silent mistakes."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from segattn.cli import main
from segattn.objects import read_record
from segattn.score import score_folder

CLASSES = "ignore: [0]\nclasses:\n- {name: a, label: 7}\n- {name: b, label: 8}\n"
NAMES = ("1.png", "2.png", "3.png")
TARGET = np.array([[7, 7, 8], [0, 8, 8]], dtype=np.uint8)
MASK = np.array([[7, 8, 8], [7, 8, 7]], dtype=np.uint8)


def image(array, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classes.yaml").write_text(CLASSES)
    for kind, array in (("truth", TARGET), ("masks", MASK)):
        (tmp_path / kind).mkdir()
        for name in NAMES:
            (tmp_path / kind / name).write_bytes(image(array))
    return tmp_path


def replace(path, content):
    """Replace a file by bytes or by a link."""
    path.unlink()
    path.symlink_to(content) if isinstance(content, str) else path.write_bytes(content)


def refuse(capfd, message, **options):
    """Run the command, which must refuse with one sentence and write no record."""
    given = {"truth": "truth", "masks": "masks", "classes": "classes.yaml", "output": "out", **options}
    capfd.readouterr()
    assert main(["score", *(str(part) for name, value in given.items() for part in (f"--{name}", value))]) == 1
    out, error = capfd.readouterr()
    assert "Traceback" not in out + error
    assert len(error.splitlines()) == 1
    assert error.startswith("segattn score: ")
    assert message in error
    assert not [folder for folder, _, names in os.walk(".") if "objects_val.parquet" in names]


def animation():
    file = io.BytesIO()
    Image.fromarray(MASK).save(file, "PNG", save_all=True, append_images=[Image.fromarray(MASK[::-1].copy())])
    return file.getvalue()


BROKEN_FILES = {  # content of one mask, and part of the message
    "zero bytes": (b"", "it is empty"),
    "text": (b"<html>404</html>", "cannot be read as an image"),
    "half a PNG": (image(MASK)[:50], "cannot be read as an image"),
    "bad checksum": (image(MASK)[:-20] + bytes(20), "cannot be read as an image"),
    "floats": (image(MASK.astype(np.float32), "TIFF"), "contains float32 values; integers are needed"),
    "colors": (image(np.stack([MASK, MASK + 1, MASK], -1)), "is a color image"),
    "16-bit value": (image(MASK.astype(np.uint16) * 256), "neither a class nor ignored"),
    "unknown id": (image(MASK + 1), "neither a class nor ignored: 9"),
    "bool": (image(MASK == 7), "neither a class nor ignored: 1"),
    "ignored value": (image(np.zeros_like(MASK)), "ignored value on 5 pixels"),
    "1x1": (image(MASK[:1, :1]), "has 1x1 pixels but its label file"),
    "animation": (animation(), "has several frames; one is needed"),
    "JPEG": (image(np.full_like(MASK, 7), "JPEG", quality=100), "is a JPEG file"),
    "a dangling link": ("absent", "2.png"),
    "a link to itself": ("2.png", "2.png"),
    "turned": (image(MASK.T.copy()), "has 2x3 pixels but its label file"),
}


@pytest.mark.parametrize("kind", BROKEN_FILES)
def test_a_broken_mask_is_refused_or_listed(folders, capfd, kind):
    content, message = BROKEN_FILES[kind]
    replace(folders / "masks/2.png", content)
    refuse(capfd, message)
    report = score_folder("truth", "masks", "out.parquet", classes="classes.yaml", incomplete=True)
    assert (report.images, list(report.problems)) == (2, ["2.png"])
    assert message in report.problems["2.png"]
    assert set(read_record(report.record).rows["image"]) == {"1.png", "3.png"}


@pytest.mark.parametrize(
    "kind",
    ["zero bytes", "text", "half a PNG", "floats", "colors", "unknown id", "animation", "JPEG", "a dangling link"],
)
def test_a_broken_label_file_is_refused(folders, capfd, kind):
    content, message = BROKEN_FILES[kind]
    replace(folders / "truth/2.png", content)
    refuse(capfd, message)


def no_pair(folder):
    for name in NAMES:
        (folder / "masks" / name).rename(folder / "masks" / f"other {name}")


def only_other_files(folder):
    for name in NAMES:
        (folder / "masks" / name).rename(folder / "masks" / f"{name}.txt")


def unreadable(folder):
    if os.geteuid() == 0:
        pytest.skip("the superuser may read all files")
    (folder / "masks/2.png").chmod(0)


REFUSED = {  # preparation, options, part of the message
    "no truth": (None, {"truth": "absent"}, "There is no folder"),
    "empty truth": (lambda f: (f / "empty").mkdir(), {"truth": "empty"}, "There are no image files in"),
    "truth is a file": (None, {"truth": "classes.yaml"}, "There is no folder"),
    "no masks": (None, {"masks": "absent"}, "There is no folder"),
    "no pair": (no_pair, {}, "No mask in masks has the name of a label file"),
    "only other files": (only_other_files, {}, "There are no image files in"),
    "a missing mask": (lambda f: (f / "masks/2.png").unlink(), {}, "1 of 3 label files have no mask"),
    "the same stem twice": (lambda f: (f / "masks/2.bmp").write_bytes(image(MASK, "BMP")), {}, "keep one"),
    "an unreadable file": (unreadable, {}, "Permission denied"),
    "no class file": (None, {"classes": "absent.yaml"}, "There is no class file"),
    "empty class file": (lambda f: (f / "classes.yaml").write_text(""), {}, "cannot be used"),
    "broken class file": (lambda f: (f / "classes.yaml").write_text("classes: [{"), {}, "classes.yaml"),
    "binary class file": (lambda f: (f / "classes.yaml").write_bytes(image(MASK)), {}, "classes.yaml"),
    "a label twice": (lambda f: (f / "classes.yaml").write_text(CLASSES.replace("8", "7")), {}, "7"),
    "a name twice": (lambda f: (f / "classes.yaml").write_text(CLASSES.replace("b,", "a,")), {}, "a"),
    "output is a file": (lambda f: (f / "out").write_text(""), {}, "out"),
    "instances are missing": (None, {"instances": "absent"}, "There is no folder"),
    "instances are floats": (
        lambda f: [
            ((f / "maps").mkdir(exist_ok=True), (f / "maps" / name).write_bytes(image(MASK / np.float32(2), "TIFF")))
            for name in NAMES
        ],
        {"instances": "maps"},
        "integers are needed",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_hostile_folders_are_refused(folders, capfd, kind):
    prepare, options, message = REFUSED[kind]
    if prepare:
        prepare(folders)
    refuse(capfd, message, **options)


def renamed(name):
    def prepare(folder):
        for kind in ("truth", "masks"):
            (folder / kind / "2.png").rename(folder / kind / name)

    return prepare


def palette_with_alpha(array):
    picture = Image.fromarray(array).convert("P")
    picture.putdata(array.ravel().tolist())
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes(range(0, 250, 25)))
    return file.getvalue()


def linked_masks(folder):
    (folder / "masks").rename(folder / "elsewhere")
    (folder / "masks").symlink_to("elsewhere")


ROTATED = Image.Exif()
ROTATED[0x0112] = 6


ACCEPTED = {
    "escapes in names": renamed("\x1b[31m2\n.png"),
    "unicode names": renamed("straße 道路 🚗.png"),
    "very long names": renamed("x" * 251 + ".png"),
    "a link to the folder itself": lambda f: (f / "masks/again").symlink_to(f / "masks"),
    "extra masks": lambda f: (f / "masks/4.png").write_bytes(b"no image"),
    "hidden files": lambda f: (f / "masks/._2.png").write_bytes(b"no image"),
    "other files": lambda f: (f / "masks/2.txt").write_bytes(b"no image"),
    "RGBA": lambda f: (f / "masks/2.png").write_bytes(
        image(np.stack([MASK] * 3 + [np.zeros_like(MASK)], -1)),
    ),
    "16 bits": lambda f: (f / "masks/2.png").write_bytes(image(MASK.astype(np.uint16))),
    "32 bits": lambda f: (f / "masks/2.png").write_bytes(image(MASK.astype(np.int32), "TIFF")),
    "gray and alpha": lambda f: (f / "masks/2.png").write_bytes(image(np.stack([MASK, 0 * MASK], -1))),
    "a palette with alpha": lambda f: (f / "masks/2.png").write_bytes(palette_with_alpha(MASK)),
    "lossless WebP": lambda f: (f / "masks/2.png").write_bytes(image(MASK, "WEBP", lossless=True)),
    "bytes after the image": lambda f: (f / "masks/2.png").write_bytes(image(MASK) + bytes(100)),
    "rotated by EXIF": lambda f: (f / "masks/2.png").write_bytes(image(MASK, exif=ROTATED)),
    "upper-case suffix": lambda f: (f / "masks/2.png").rename(f / "masks/2.PNG"),
    "a link to the folder of masks": linked_masks,
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_harmless_peculiarities_change_no_count(folders, kind):
    ACCEPTED[kind](folders)
    report = score_folder("truth", "masks", "out/out.parquet", classes="classes.yaml")
    assert (report.images, report.missing, len(report.extra)) == (3, [], kind == "extra masks")
    sums = read_record(report.record).rows.groupby("class_id")[["tp", "fp", "fn"]].sum()
    assert sums.to_numpy().tolist() == [[3, 3, 3], [6, 3, 3]]
    assert not list(folders.glob("out/*.parts"))


def test_the_truth_itself_and_an_output_among_the_masks(folders):
    report = score_folder("truth", "truth", "masks/out/objects_val.parquet", classes="classes.yaml", incomplete=True)
    assert (read_record(report.record).rows["iou"] == 1).all()
    again = score_folder("truth", "masks", "masks/out/objects_val.parquet", classes="classes.yaml")
    assert (again.images, again.extra) == (3, [])

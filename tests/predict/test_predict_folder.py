import errno
import json
import multiprocessing
import os
import random
import signal
import struct
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segattn.inference import InferenceConfig
from segattn.io.folder_lock import folder_lock
from segattn.io.image_files import open_image
from segattn.predict import Settings, predict_folder
from segattn.predict.predictor import Predictor
from segattn.predict.result_files import ResultWriter
from segattn.sample import ClassInfo, ClassTable, SizeRule
from tests.checkpoints.saved import CLASSES, save_checkpoint
from tests.predict.conftest import mask, picture, save_pictures, tree

QUIET = Settings(progress=False)


def manifest_lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


def rows(output: Path) -> dict[str, dict]:
    _, *lines = manifest_lines(output)
    return {row["image"]: row for row in lines}


def test_masks_have_the_size_and_name_of_the_image(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "a/1.png", "ü 2.jpg", "b.png", "b.jpg")
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    assert list(report.masks) == ["a/1.png", "b.jpg", "b.png", "ü 2.jpg"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in report.masks.values()] == [
        "a/1.png",
        "b.jpg.png",
        "b.png.png",
        "ü 2.png",
    ]
    for path in report.masks.values():
        values = mask(path)
        assert (values.shape, values.dtype) == ((40, 56), np.uint8)
        assert set(np.unique(values)) <= set(CLASSES.label_ids)
    assert not report.failures
    assert sorted(tree(tmp_path / "out")) == [
        "a/1.png",
        "b.jpg.png",
        "b.png.png",
        "classes.json",
        "manifest.jsonl",
        "ü 2.png",
    ]


def test_the_manifest_describes_the_run_and_every_image(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    Image.fromarray(picture(0).astype(np.uint16)[..., 0] * 257).save(images / "2.png")
    (images / "3.png").touch()
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET, flip=True)
    manifest, one, two, three = manifest_lines(tmp_path / "out")
    assert len(manifest["checkpoint"]["sha256"]) == len(manifest["fingerprint"]) == 64
    assert manifest["options"]["flip"] is True
    assert {"python", "torch", "numpy"} <= set(manifest["versions"])
    assert (one["image"], one["height"], one["width"], one["notes"]) == ("1.png", 40, 56, [])
    values = mask(tmp_path / "out/1.png")
    for info in CLASSES.classes:
        assert one["shares"].get(info.name, 0) == pytest.approx((values == info.label_id).mean(), abs=1e-6)
    assert two["notes"] == report.notes["2.png"] == ["16 bits a channel, scaled to 8"]
    assert three["reason"] == report.failures["3.png"] == "it is empty"


def test_additional_results(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "a/1.png")
    out = tmp_path / "out"
    predict_folder(
        checkpoint,
        images,
        out,
        settings=QUIET,
        overlay=True,
        opacity=1.0,
        panels=True,
        confidence=True,
        probabilities=2,
        palette=True,
    )
    values = mask(out / "a/1.png")
    index = np.array([CLASSES.label_ids.index(value) for value in values.ravel()]).reshape(values.shape)
    colors = CLASSES.palette[index]
    with Image.open(out / "a/1.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image.convert("RGB")), colors)
    np.testing.assert_array_equal(mask(out / "overlays/a/1.png"), colors)
    np.testing.assert_array_equal(mask(out / "panels/a/1.png"), np.concatenate([picture(0), colors, colors], axis=1))
    with np.load(out / "probabilities/a/1.npz") as saved:
        np.testing.assert_array_equal(saved["labels"][..., 0], values)
        assert saved["probabilities"].dtype == np.float16
        np.testing.assert_allclose(mask(out / "confidence/a/1.png") / 255, saved["probabilities"][..., 0], atol=3e-3)
    assert set(rows(out)["a/1.png"]["files"]) == set(tree(out)) - {"manifest.jsonl", "classes.json"}


def test_classes_json_describes_the_values(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    predict_folder(checkpoint, images, tmp_path / "own", settings=QUIET)
    predict_folder(checkpoint, images, tmp_path / "train", settings=QUIET, ids="train", probabilities="all")
    own, train = (json.loads((tmp_path / name / "classes.json").read_text()) for name in ("own", "train"))
    assert [entry["value"] for entry in own["classes"]] == [7, 23, 26, 24]
    assert [entry["value"] for entry in train["classes"]] == [0, 1, 2, 3]
    assert (own["masks"], train["masks"]) == ("label ids of the data set", "class indices from 0")
    assert own["classes"][2] == {
        "value": 26,
        "index": 2,
        "name": "car",
        "color": [0, 0, 142],
        "label_id": 26,
        "thing": True,
    }
    np.testing.assert_array_equal(CLASSES.to_label_ids(mask(tmp_path / "train/1.png")), mask(tmp_path / "own/1.png"))
    with np.load(tmp_path / "train/probabilities/1.npz") as saved:
        assert saved["labels"].tolist() == [0, 1, 2, 3]


def test_large_label_ids_take_16_bits(tmp_path):
    classes = ClassTable((ClassInfo("a", (0, 0, 0), 1), ClassInfo("b", (9, 9, 9), 4000)))
    checkpoint = save_checkpoint(tmp_path / "m.ckpt", classes=classes)
    images = save_pictures(tmp_path / "in", "1.png")
    predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    assert set(np.unique(mask(tmp_path / "out/1.png"))) <= {1, 4000}
    with pytest.raises(ValueError, match="label ids go up to 4000: use --ids train"):
        predict_folder(checkpoint, images, tmp_path / "out2", settings=QUIET, palette=True)


def test_exif_orientation_is_applied(tmp_path, checkpoint):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "in/turned.png", exif=exif)
    Image.fromarray(np.rot90(picture(0), -1)).save(tmp_path / "in/upright.png")
    predict_folder(checkpoint, tmp_path / "in", tmp_path / "out", settings=QUIET)
    np.testing.assert_array_equal(mask(tmp_path / "out/turned.png"), mask(tmp_path / "out/upright.png"))


def png_of(width: int, height: int) -> bytes:
    """A PNG of zeros, a few kilobytes at any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def mixed_folder(root: Path) -> Path:
    """Twenty-five images that can be read and fifteen files that cannot."""
    colors = Image.fromarray(picture(0))
    exif = Image.Exif()
    exif[0x0112] = 8
    root.mkdir()
    (root / "deep/er").mkdir(parents=True)
    colors.save(root / "rgb.jpg")
    colors.save(root / "rgb.png")
    colors.save(root / "rgb.webp")
    colors.save(root / "rgb.tiff")
    colors.save(root / "rgb.bmp")
    colors.save(root / "UPPER.JPEG", exif=exif)
    colors.convert("L").save(root / "grey.jpg")
    colors.convert("LA").save(root / "grey alpha.png")
    colors.convert("RGBA").save(root / "rgba.png")
    colors.quantize(8).save(root / "palette.png", transparency=bytes(range(8)))
    colors.convert("1").save(root / "bits.png")
    colors.convert("CMYK").save(root / "cmyk.jpg")
    colors.convert("CMYK").save(root / "cmyk.tif")
    cv2.imwrite(str(root / "grey16.png"), picture(1)[..., 0].astype(np.uint16) * 257)
    cv2.imwrite(str(root / "rgb16.tif"), picture(1).astype(np.uint16) * 257)
    cv2.imwrite(str(root / "rgb16.png"), picture(1).astype(np.uint16) * 257)
    colors.save(root / "animated.gif", save_all=True, append_images=[Image.fromarray(picture(2))])
    colors.save(root / "animated.webp", save_all=True, append_images=[Image.fromarray(picture(2))])
    Image.fromarray(picture(3, 1, 1)).save(root / "one pixel.png")
    Image.fromarray(picture(3, 7, 3000)).save(root / "7x3000.png")
    Image.fromarray(picture(3, 3000, 7)).save(root / "3000x7.jpg")
    colors.save(root / "deep/er/ünï cödé 图.png")
    colors.save(root / "deep/[x] #1 %20.png")
    colors.save(root / "named as a.jpg", format="PNG")
    (root / "link.png").symlink_to(root / "rgb.png")

    (root / "empty.jpg").touch()
    (root / "text.jpg").write_text("no image")
    (root / "page.png").write_text("<html>404</html>")
    (root / "dangling.png").symlink_to(root / "nowhere")
    (root / "circle.png").symlink_to("circle.png")
    os.mkfifo(root / "pipe.png")
    (root / "bomb.png").write_bytes(png_of(30_000, 6_000))
    for suffix in ("jpg", "png", "webp", "tiff", "bmp"):
        data = (root / f"rgb.{suffix}").read_bytes()
        (root / f"half.{suffix}").write_bytes(data[: len(data) // 2])
    data = bytearray((root / "rgb.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (root / "flipped bit.png").write_bytes(data)
    Image.fromarray(np.random.default_rng(0).random((9, 9), dtype=np.float32)).save(root / "float.tif")
    (root / "random.jpg").write_bytes(np.random.default_rng(0).bytes(999))
    return root


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("batch_size", [1, 3])
def test_unreadable_files_are_listed_and_do_not_stop_the_run(tmp_path, checkpoint, batch_size):
    images = mixed_folder(tmp_path / "in")
    report = predict_folder(
        checkpoint, images, images / "out", settings=Settings(progress=False, batch_size=batch_size)
    )
    assert len(report.masks) == len(list((images / "out").rglob("*.png"))) == 25
    assert len(report.failures) == 15
    assert all(reason and "\n" not in reason for reason in report.failures.values())
    assert "180,000,000 pixels are more than the limit of 178,956,970" in report.failures["bomb.png"]
    for name, path in report.masks.items():
        with open_image(images / name) as opened:
            assert mask(path).shape == opened.read().shape[:2]
    assert set(report.notes) == {"grey16.png", "rgb16.tif", "rgb16.png", "animated.gif", "animated.webp"}
    assert set(rows(images / "out")) == set(report.masks) | set(report.failures)


def test_larger_images_than_max_pixels_are_refused(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    settings = Settings(progress=False, max_pixels=40 * 56 - 1)
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=settings)
    assert report.failures == {"1.png": "its 2,240 pixels are more than the limit of 2,239"}


def test_windows_of_the_checkpoint_are_the_default(tmp_path, monkeypatch):
    inference = InferenceConfig(window=(24, 24), stride=(16, 16))
    checkpoint = save_checkpoint(tmp_path / "m.ckpt", inference=inference)
    images = save_pictures(tmp_path / "in", "1.png")
    for name, options in (("rule", {}), ("same", {"window": (24, 24)}), ("whole", {"whole": True})):
        predict_folder(checkpoint, images, tmp_path / name, settings=QUIET, confidence=True, **options)
    rule_map, same, whole = (mask(tmp_path / name / "confidence/1.png") for name in ("rule", "same", "whole"))
    np.testing.assert_array_equal(rule_map, same)
    assert (rule_map != whole).any()


def test_unknown_devices_are_refused(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    for name in ("cuda:7", "nonsense"):
        with pytest.raises(ValueError, match=f"The device '{name}' cannot be used here"):
            predict_folder(checkpoint, images, tmp_path / "out", settings=Settings(device=name))


@pytest.fixture
def computed(monkeypatch):
    """The images that are computed."""
    images = []
    predict = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, batch: images.extend(batch) or predict(self, batch))
    return images


def test_complete_results_are_kept(tmp_path, checkpoint, computed):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(6)))
    out, resume = tmp_path / "out", Settings(progress=False, resume=True)
    predict_folder(checkpoint, images, out, settings=resume, overlay=True)
    complete = tree(out)
    computed.clear()
    (out / "1.png").write_bytes(complete["1.png"][:-9])
    (out / "overlays/2.png").unlink()
    os.utime(images / "3.png", (0, 0))  # the image was changed
    report = predict_folder(checkpoint, images, out, settings=resume, overlay=True)
    assert (len(computed), report.kept) == (3, ["0.png", "4.png", "5.png"])
    assert without_manifest(out) == {name: data for name, data in complete.items() if name != "manifest.jsonl"}
    computed.clear()
    report = predict_folder(checkpoint, images, out, settings=resume, overlay=True, opacity=0.1)
    assert (len(computed), report.kept) == (6, []), "no result is valid for other options"


def without_manifest(folder):
    return {name: data for name, data in tree(folder).items() if name != "manifest.jsonl"}


def test_resuming_with_more_images_keeps_the_rows_of_the_others(tmp_path, checkpoint):
    one, two = save_pictures(tmp_path / "one", "1.png"), save_pictures(tmp_path / "two", "1.png", "2.png")
    resume = Settings(progress=False, resume=True)
    predict_folder(checkpoint, one, tmp_path / "out", settings=resume)
    report = predict_folder(checkpoint, two / "2.png", tmp_path / "out", settings=resume)
    assert (report.kept, set(rows(tmp_path / "out"))) == ([], {"1.png", "2.png"})
    report = predict_folder(checkpoint, two, tmp_path / "out", settings=resume)
    assert report.kept == ["2.png"], "the other 1.png is another image"


def test_a_resumed_run_computes_the_same_batches(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(7)))
    settings = Settings(progress=False, resume=True, batch_size=3)
    predict_folder(checkpoint, images, tmp_path / "out", settings=settings, probabilities="all")
    complete = tree(tmp_path / "out")
    (tmp_path / "out/4.png").unlink()
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=settings, probabilities="all")
    assert len(report.kept) == 6
    assert tree(tmp_path / "out") == complete


def test_results_of_another_checkpoint_are_replaced_only_with_overwrite(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    other = save_checkpoint(tmp_path / "other.ckpt", inference=InferenceConfig(SizeRule(20)))
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"contains results of another checkpoint \(.*tiny\.ckpt\)"):
            predict_folder(other, images, tmp_path / "out", settings=Settings(progress=False, resume=resume))
    report = predict_folder(other, images, tmp_path / "out", settings=Settings(progress=False, overwrite=True))
    assert list(report.masks) == ["1.png"]
    predict_folder(other, images, tmp_path / "out", settings=QUIET)


def test_a_second_prediction_into_a_folder_is_refused(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    with folder_lock(tmp_path / "out"), pytest.raises(ValueError, match=r"Another command is writing into .*out"):
        predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    assert list(predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET).masks) == ["1.png"]


def test_other_files_are_replaced_only_with_overwrite(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.jpg")
    truth = save_pictures(tmp_path / "annotations", "1.png")
    before = tree(truth)
    with pytest.raises(ValueError, match=r"annotations/1\.png exists and was not predicted"):
        predict_folder(checkpoint, images, truth, settings=QUIET)
    assert tree(truth) == before
    predict_folder(checkpoint, images, truth, settings=Settings(progress=False, overwrite=True))


def test_images_in_a_folder_named_like_a_result_folder_are_refused(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "overlays/1.jpg", "2.jpg")
    with pytest.raises(ValueError, match="subfolder 'overlays', which is also a folder of the results"):
        predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET, overlay=True)
    assert len(predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET).masks) == 2


def test_a_run_resumes_after_a_full_disk(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(8)))
    predict_folder(checkpoint, images, tmp_path / "complete", settings=QUIET)
    save = Image.Image.save

    def until_full(self, path, **options):
        if not Path(path).name.endswith(("0.png", "1.png", "2.png")):  # not a count: several threads write
            Path(path).write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", until_full)
        with pytest.raises(OSError, match=r"cannot be written: No space left on device; 3 of 8 images are finished"):
            predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    finished = {name: data for name, data in tree(tmp_path / "out").items() if name.endswith("png")}
    assert len(finished) == 3
    assert finished.items() <= tree(tmp_path / "complete").items()
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=Settings(progress=False, resume=True))
    assert len(report.kept) == 3
    assert tree(tmp_path / "out") == tree(tmp_path / "complete")


def test_a_result_that_cannot_be_written_does_not_stop_the_run(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", "1.png", "2.png")
    (tmp_path / "out/1.png").mkdir(parents=True)
    settings = Settings(progress=False, overwrite=True)
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=settings)
    assert list(report.masks) == ["2.png"]
    assert "1.png cannot be written: it is not a regular file" in report.failures["1.png"]


def test_a_failing_model_does_not_stop_the_run(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", "1.png", "2.png")
    predict = Predictor.predict

    def failing(self, batch):
        return ["the model failed: reasons"] if (batch[0] == picture(0)).all() else predict(self, batch)

    monkeypatch.setattr(Predictor, "predict", failing)
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    assert list(report.masks) == ["2.png"]
    assert report.failures == {"1.png": "the model failed: reasons"}


def test_read_only_images_and_symlinked_folders(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    (images / "1.png").chmod(0o444)
    images.chmod(0o555)
    (tmp_path / "link").symlink_to(images)
    report = predict_folder(checkpoint, tmp_path / "link", tmp_path / "out", settings=QUIET)
    images.chmod(0o755)
    assert list(report.masks) == ["1.png"]


@pytest.fixture
def slowly(monkeypatch):
    """Give time to interrupt runs."""
    write = ResultWriter.write
    monkeypatch.setattr(ResultWriter, "write", lambda *arguments: (time.sleep(0.1), write(*arguments))[1])


def predict_heeding_ctrl_c(checkpoint, images, out, settings):
    """Shells let background processes ignore SIGINT, and Python keeps that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    predict_folder(checkpoint, images, out, settings=settings)


def interrupted(checkpoint, images, out, done, signal_number, *, wait=0.0):
    """Run in another process and send it a signal once a number of masks exists."""
    context = multiprocessing.get_context("fork")
    settings = Settings(progress=False, resume=True)
    process = context.Process(target=predict_heeding_ctrl_c, args=(checkpoint, images, out, settings))
    process.start()
    while process.is_alive() and len(list(out.rglob("*.png"))) < done:
        time.sleep(0.001)
    time.sleep(wait)
    os.kill(process.pid, signal_number)
    process.join(60)
    return process.exitcode


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_and_resumed_runs_write_the_same_files(tmp_path, checkpoint, slowly, seed):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(30)), height=80, width=120)
    predict_folder(checkpoint, images, tmp_path / "complete", settings=QUIET)
    complete = tree(tmp_path / "complete")
    chance = random.Random(seed)
    done = 0
    for _ in range(3):
        done += chance.randint(1, 8)
        code = interrupted(checkpoint, images, tmp_path / "out", done, signal.SIGKILL, wait=chance.random() * 0.1)
        assert code == -signal.SIGKILL
        results = without_manifest(tmp_path / "out")
        finished = {name: data for name, data in results.items() if not name.startswith("partial-")}
        assert finished.items() <= complete.items()
        assert len(finished) < len(complete)
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=Settings(progress=False, resume=True))
    assert report.kept
    assert tree(tmp_path / "out") == complete


def test_partial_files_and_a_cut_off_manifest_of_a_killed_run_are_removed(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "a/1.png", "partial-7-2.png")
    out = tmp_path / "out"
    predict_folder(checkpoint, images, out, settings=QUIET)
    complete = tree(out)
    (out / "a/partial-123-1.png").write_bytes(b"half a file")
    with (out / "manifest.jsonl").open("ab") as manifest:
        manifest.write(b'{"image": "a/1')
    report = predict_folder(checkpoint, images, out, settings=Settings(progress=False, resume=True))
    assert report.kept == ["a/1.png", "partial-7-2.png"]
    assert tree(out) == complete


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
@pytest.mark.usefixtures("one_thread")
def test_ctrl_c_ends_the_run_soon_and_leaves_complete_files(tmp_path, checkpoint, slowly, capfd):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(40)), height=40, width=60)
    assert interrupted(checkpoint, images, tmp_path / "out", 5, signal.SIGINT) == 1
    assert "KeyboardInterrupt" in capfd.readouterr().err
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=Settings(progress=False, resume=True))
    assert 0 < len(report.kept) < 40
    predict_folder(checkpoint, images, tmp_path / "complete", settings=QUIET)
    assert tree(tmp_path / "out") == tree(tmp_path / "complete")

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
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from segattn.inference import InferenceConfig
from segattn.io.image_files import open_image
from segattn.predict import Settings, outputs, predict_folder
from segattn.predict import prediction_run as run_module
from segattn.predict.inference import Predictor
from segattn.sample import ClassInfo, ClassTable, SizeRule
from tests.checkpoints.saved import CLASSES, save_checkpoint
from tests.predict.conftest import mask, picture, save_pictures, tree

QUIET = Settings(progress=False)


def rows(output: Path) -> dict[str, dict]:
    manifest = json.loads((output / "manifest.json").read_text())
    return {row["image"]: row for row in manifest["images"]}


def test_masks_have_the_images_own_sizes_names_and_label_ids(tmp_path, checkpoint):
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
        "manifest.json",
        "ü 2.png",
    ]


def test_the_manifest_says_what_was_done(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    Image.fromarray(picture(0).astype(np.uint16)[..., 0] * 257).save(images / "2.png")
    (images / "3.png").touch()
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET, flip=True)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert len(manifest["checkpoint"]["sha256"]) == len(manifest["fingerprint"]) == 64
    assert manifest["options"]["flip"] is True
    assert {"python", "torch", "numpy"} <= set(manifest["versions"])
    one, two, three = manifest["images"]
    assert (one["image"], one["height"], one["width"], one["notes"]) == ("1.png", 40, 56, [])
    values = mask(tmp_path / "out/1.png")
    for info in CLASSES.classes:
        assert one["shares"].get(info.name, 0) == pytest.approx((values == info.label_id).mean(), abs=1e-6)
    assert two["notes"] == report.notes["2.png"] == ["16 bits a channel, scaled to 8"]
    assert three["reason"] == report.failures["3.png"] == "it is empty"


def test_every_extra_output(tmp_path, checkpoint):
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
    assert set(rows(out)["a/1.png"]["files"]) == set(tree(out)) - {"manifest.json", "classes.json"}


def test_what_the_values_mean_is_written_beside_them(tmp_path, checkpoint):
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


def test_label_ids_beyond_a_byte_take_two(tmp_path):
    classes = ClassTable((ClassInfo("a", (0, 0, 0), 1), ClassInfo("b", (9, 9, 9), 4000)))
    checkpoint = save_checkpoint(tmp_path / "m.ckpt", classes=classes)
    images = save_pictures(tmp_path / "in", "1.png")
    predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    assert set(np.unique(mask(tmp_path / "out/1.png"))) <= {1, 4000}
    with pytest.raises(ValueError, match="label ids go up to 4000; take ids: train"):
        predict_folder(checkpoint, images, tmp_path / "out2", settings=QUIET, palette=True)


def test_orientation_is_that_of_the_upright_image(tmp_path, checkpoint):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "in/turned.png", exif=exif)
    Image.fromarray(np.rot90(picture(0), -1)).save(tmp_path / "in/upright.png")
    predict_folder(checkpoint, tmp_path / "in", tmp_path / "out", settings=QUIET)
    np.testing.assert_array_equal(mask(tmp_path / "out/turned.png"), mask(tmp_path / "out/upright.png"))


def png_of(width: int, height: int) -> bytes:
    """A PNG of zeros, a few kilobytes whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def nasty_folder(root: Path) -> Path:
    """Twenty-five good images and fifteen bad ones."""
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
def test_a_folder_of_nasty_files_gives_25_masks_and_15_reasons(tmp_path, checkpoint, batch_size):
    images = nasty_folder(tmp_path / "in")
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


def test_the_limit_of_pixels_is_adjustable(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    settings = Settings(progress=False, max_pixels=40 * 56 - 1)
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=settings)
    assert report.failures == {"1.png": "its 2,240 pixels are more than the limit of 2,239"}


def test_windows_and_stride_come_from_the_checkpoint(tmp_path, monkeypatch):
    inference = InferenceConfig(window=(24, 24), stride=(16, 16))
    checkpoint = save_checkpoint(tmp_path / "m.ckpt", inference=inference)
    images = save_pictures(tmp_path / "in", "1.png")
    for name, options in (("rule", {}), ("same", {"window": (24, 24)}), ("whole", {"whole": True})):
        predict_folder(checkpoint, images, tmp_path / name, settings=QUIET, confidence=True, **options)
    rule_map, same, whole = (mask(tmp_path / name / "confidence/1.png") for name in ("rule", "same", "whole"))
    np.testing.assert_array_equal(rule_map, same)
    assert (rule_map != whole).any()


def test_each_image_goes_to_one_of_several_devices(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(12)))
    seen: dict[int, list[bytes]] = {}
    predict = Predictor.predict

    def watched(self, images):
        seen.setdefault(id(self), []).append(images.tobytes())
        time.sleep(0.01)
        return predict(self, images)

    predict_folder(checkpoint, images, tmp_path / "one", settings=QUIET)
    monkeypatch.setattr(Predictor, "predict", watched)
    settings = Settings(progress=False, devices=["cpu", "cpu"])
    predict_folder(checkpoint, images, tmp_path / "two", settings=settings)
    assert len(seen) == 2
    computed = [image for batch in seen.values() for image in batch]
    assert len(computed) == len(set(computed)) == 12
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_device_that_is_not_there_is_refused(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    for name in ("cuda:7", "nonsense"):
        with pytest.raises(ValueError, match=f"The device '{name}' cannot be used here"):
            predict_folder(checkpoint, images, tmp_path / "out", settings=Settings(devices=name))


def test_what_is_done_and_whole_is_kept(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(6)))
    out, resume = tmp_path / "out", Settings(progress=False, resume=True)
    predict_folder(checkpoint, images, out, settings=resume, overlay=True)
    whole = tree(out)
    (out / "1.png").write_bytes(whole["1.png"][:-9])
    (out / "overlays/2.png").unlink()
    now = time.time() + 10
    os.utime(images / "3.png", (now, now))  # the image is newer than its mask
    computed = []
    predict = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, images: computed.append(images) or predict(self, images))
    report = predict_folder(checkpoint, images, out, settings=resume, overlay=True)
    assert (len(computed), report.kept) == (3, ["0.png", "4.png", "5.png"])
    assert tree(out) == whole
    os.utime(images / "3.png", (0, 0))
    computed.clear()
    report = predict_folder(checkpoint, images, out, settings=resume, overlay=True, opacity=0.1)
    assert (len(computed), report.kept) == (6, []), "other options, nothing is valid"


def test_resuming_with_more_images_keeps_the_rows_of_the_others(tmp_path, checkpoint):
    one, two = save_pictures(tmp_path / "one", "1.png"), save_pictures(tmp_path / "two", "1.png", "2.png")
    resume = Settings(progress=False, resume=True)
    predict_folder(checkpoint, one, tmp_path / "out", settings=resume)
    report = predict_folder(checkpoint, two / "2.png", tmp_path / "out", settings=resume)
    assert (report.kept, set(rows(tmp_path / "out"))) == ([], {"1.png", "2.png"})
    report = predict_folder(checkpoint, two, tmp_path / "out", settings=resume)
    assert report.kept == ["2.png"], "the other 1.png is another image"


def test_batches_are_the_same_when_a_run_goes_on(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(7)))
    settings = Settings(progress=False, resume=True, batch_size=3)
    predict_folder(checkpoint, images, tmp_path / "out", settings=settings, probabilities="all")
    whole = tree(tmp_path / "out")
    (tmp_path / "out/4.png").unlink()
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=settings, probabilities="all")
    assert len(report.kept) == 6
    assert tree(tmp_path / "out") == whole


def test_results_of_another_checkpoint_are_refused_unless_told(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    other = save_checkpoint(tmp_path / "other.ckpt", inference=InferenceConfig(SizeRule(20)))
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"holds the results of another checkpoint \(.*tiny\.ckpt\)"):
            predict_folder(other, images, tmp_path / "out", settings=Settings(progress=False, resume=resume))
    report = predict_folder(other, images, tmp_path / "out", settings=Settings(progress=False, overwrite=True))
    assert list(report.masks) == ["1.png"]
    predict_folder(other, images, tmp_path / "out", settings=QUIET)


def test_masks_that_no_run_wrote_are_not_overwritten(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.jpg")
    truth = save_pictures(tmp_path / "annotations", "1.png")
    before = tree(truth)
    with pytest.raises(ValueError, match=r"annotations/1\.png exists and was written by no prediction"):
        predict_folder(checkpoint, images, truth, settings=QUIET)
    assert tree(truth) == before
    predict_folder(checkpoint, images, truth, settings=Settings(progress=False, overwrite=True))


def test_names_of_result_folders_are_refused(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "overlays/1.jpg", "2.jpg")
    with pytest.raises(ValueError, match="sub-folder 'overlays', where results are to go"):
        predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET, overlay=True)
    assert len(predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET).masks) == 2


def test_a_full_disk_leaves_whole_files_and_the_run_goes_on_later(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(8)))
    predict_folder(checkpoint, images, tmp_path / "whole", settings=QUIET)
    save, count = Image.Image.save, [0]

    def until_full(self, path, **options):
        count[0] += 1
        if count[0] > 3:
            Path(path).write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", until_full)
        with pytest.raises(OSError, match=r"No space left on device: cannot write to .*; 3 of 8 images are done"):
            predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    finished = {name: data for name, data in tree(tmp_path / "out").items() if name.endswith("png")}
    assert len(finished) == 3
    assert finished.items() <= tree(tmp_path / "whole").items()
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=Settings(progress=False, resume=True))
    assert len(report.kept) == 3
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_result_that_cannot_be_written_holds_up_no_other(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", "1.png", "2.png")
    (tmp_path / "out/1.png").mkdir(parents=True)
    settings = Settings(progress=False, overwrite=True)
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=settings)
    assert list(report.masks) == ["2.png"]
    assert report.failures["1.png"].startswith("its results cannot be written: ")


def test_an_image_on_which_the_model_fails_holds_up_no_other(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", "1.png", "2.png")
    predict = Predictor.predict

    def failing(self, images):
        if (images == picture(0)).all():
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes.")
        return predict(self, images)

    monkeypatch.setattr(Predictor, "predict", failing)
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=QUIET)
    assert list(report.masks) == ["2.png"]
    assert "not enough memory for it; try sliding windows" in report.failures["1.png"]


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
    """Give runs time to be interrupted in."""
    write = run_module._write
    monkeypatch.setattr(run_module, "_write", lambda *arguments: (time.sleep(0.1), write(*arguments))[1])


def predict_heeding_ctrl_c(checkpoint, images, out, settings):
    """Python leaves SIGINT alone where its parent ignored it, as shells have it for what runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    predict_folder(checkpoint, images, out, settings=settings)


def interrupted(checkpoint, images, out, done, signal_number):
    """Run in another process and send it a signal as soon as a number of masks is there."""
    context = multiprocessing.get_context("fork")
    settings = Settings(progress=False, resume=True)
    process = context.Process(target=predict_heeding_ctrl_c, args=(checkpoint, images, out, settings))
    process.start()
    while process.is_alive() and len(list(out.rglob("*.png"))) < done:
        time.sleep(0.001)
    os.kill(process.pid, signal_number)
    process.join(60)
    return process.exitcode


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, checkpoint, slowly):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(40)), height=80, width=120)
    predict_folder(checkpoint, images, tmp_path / "whole", settings=QUIET)
    whole = tree(tmp_path / "whole")
    chance = random.Random(0)
    done = 0
    for _ in range(3):
        done += chance.randint(1, 9)
        code = interrupted(checkpoint, images, tmp_path / "out", done, signal.SIGKILL)
        assert code == -signal.SIGKILL
        results = {name: data for name, data in tree(tmp_path / "out").items() if not name.startswith(".segattn/")}
        assert results.items() <= whole.items()
        assert len(results) < len(whole)
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=Settings(progress=False, resume=True))
    assert report.kept
    assert tree(tmp_path / "out") == whole


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_an_interrupted_run_ends_soon_and_leaves_whole_files(tmp_path, checkpoint, slowly, capfd):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(40)), height=40, width=60)
    assert interrupted(checkpoint, images, tmp_path / "out", 5, signal.SIGINT) == 1
    assert "KeyboardInterrupt" in capfd.readouterr().err
    report = predict_folder(checkpoint, images, tmp_path / "out", settings=Settings(progress=False, resume=True))
    assert 0 < len(report.kept) < 40
    predict_folder(checkpoint, images, tmp_path / "whole", settings=QUIET)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_shares_are_counted_over_all_pieces(monkeypatch):
    monkeypatch.setattr(outputs, "COUNTED_AT_ONCE", 4)
    labels = np.array([[0, 1, 1], [1, 1, 0], [2, 1, 1], [1, 1, 1]], dtype=np.uint8)
    names = CLASSES.names
    writer = SimpleNamespace(classes=CLASSES)
    assert outputs.Writer.shares(writer, labels) == {names[0]: 0.166667, names[1]: 0.75, names[2]: 0.083333}
    assert outputs.Writer.shares(writer, labels[:1, :1]) == {names[0]: 1.0}

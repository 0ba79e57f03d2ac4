import json

import cv2
import numpy as np
import pytest

from segattn.predict import Settings, predict_folder
from tests.predict.conftest import mask, picture, save_pictures, tree

QUIET = Settings(progress=False)


def save_video(path, frames=5, size=(48, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, size[::-1])
    if not film.isOpened():
        pytest.skip("this OpenCV writes no video")
    for seed in range(frames):
        film.write(picture(seed, *size))
    film.release()
    return path


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def test_a_video_has_a_mask_for_every_frame_and_an_overlay_video(tmp_path, checkpoint):
    size = (48, 64)
    video = save_video(tmp_path / "in/clip.avi", size=size)
    out = tmp_path / "out"
    report = predict_folder(checkpoint, video, out, settings=Settings(progress=False, batch_size=2))
    assert report.masks == {"clip.avi": out / "clip"}
    assert [mask(out / f"clip/{i:06d}.png").shape for i in range(5)] == [size] * 5
    overlay = frames_of(out / "overlays/clip.mp4")
    assert [frame.shape for frame in overlay] == [(*size, 3)] * 5
    assert (overlay[0] != overlay[1]).any()
    row = json.loads((out / "manifest.jsonl").read_text().splitlines()[1])
    assert (row["frames"], row["height"], row["width"], row["notes"]) == (5, *size, [])
    assert sum(row["shares"].values()) == pytest.approx(1, abs=1e-4)
    assert set(row["files"]) == set(tree(out)) - {"manifest.jsonl", "classes.json"}
    again = predict_folder(checkpoint, video, out, settings=Settings(progress=False, batch_size=2, resume=True))
    assert again.kept == ["clip.avi"]


def test_frames_are_predicted_like_images(tmp_path, checkpoint):
    video = save_video(tmp_path / "clip.avi", frames=2)
    save_pictures(tmp_path / "frames")
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(frames_of(video)):
        cv2.imwrite(str(tmp_path / f"frames/{index}.png"), frame)
    predict_folder(checkpoint, [video, tmp_path / "frames"], tmp_path / "out", settings=QUIET)
    for index in range(2):
        np.testing.assert_array_equal(
            mask(tmp_path / f"out/clip/{index:06d}.png"), mask(tmp_path / f"out/frames/{index}.png")
        )


def test_a_file_that_is_not_a_video_is_listed(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    (tmp_path / "in/text.mp4").write_text("no video")
    report = predict_folder(checkpoint, [images / "1.png", images / "text.mp4"], tmp_path / "out", settings=QUIET)
    assert list(report.masks) == ["1.png"]
    assert report.failures == {"text.mp4": "OpenCV cannot read it as a video"}


def test_the_readable_frames_of_a_truncated_video_are_predicted(tmp_path, checkpoint):
    video = save_video(tmp_path / "clip.avi", frames=12)
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 2 // 3])
    report = predict_folder(checkpoint, video, tmp_path / "out", settings=QUIET)
    masks = list((tmp_path / "out/clip").iterdir())
    assert 0 < len(masks) < 12
    assert len(frames_of(tmp_path / "out/overlays/clip.mp4")) == len(masks)
    assert report.notes == {"clip.avi": [f"{len(masks)} of 12 frames could be read"]}

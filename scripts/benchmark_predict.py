"""Measure how much time ``segattn predict`` needs in addition to the model.

    python scripts/benchmark_predict.py

Compares the command with the model alone on fixed tensors, and with a simple loop that reads, computes and writes one
image after the other. The script draws the images (by default as many as CamVid's validation and test images, in their
size); the model has random weights unless a checkpoint is given. The fastest of several rounds counts.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image

from segattn import __version__
from segattn.checkpoints.network import Network, load_network
from segattn.heads import FLAHead
from segattn.inference import InferenceConfig, predicted_classes
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from segattn.predict import Settings, predict_folder
from segattn.predict.manifest import file_state
from segattn.processes import choose_device
from segattn.sample import ClassInfo, ClassTable


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="default: a small mobile encoder with FLAHead, random weights")
    parser.add_argument("--images", type=int, default=233, help="number of images")
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--device", help="default: cuda where there is one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--large", type=int, metavar="SIDE", help="instead: peak memory for one square image in windows"
    )
    parser.add_argument(
        "--list", type=int, metavar="N", help="instead: list and resume N inputs, which are empty files"
    )
    parser.add_argument("--processes", type=int, nargs="+", metavar="N", help="instead: N processes on the CPU")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = given.checkpoint or save_random_model(folder / "model.ckpt")
        if given.large:
            measure_large(checkpoint, folder, given.large)
            return
        if given.list:
            measure_listing(checkpoint, folder, given.list)
            return
        draw_images(folder / "images", given.images, given.size)
        if given.processes:
            measure_processes(checkpoint, folder, given.processes, given.rounds)
            return
        print(f"start-up, imports only      {seconds(import_only):8.2f} s")
        first_image = sorted((folder / "images").iterdir())[0]
        start_up = seconds(partial(command_line, checkpoint, first_image, folder / "one"))
        print(f"start-up, one image         {start_up:8.2f} s")
        device = choose_device(given.device)
        network = load_network(checkpoint, device)
        settings = Settings(device=str(device), batch_size=given.batch_size, overwrite=True, progress=False)
        paths = sorted((folder / "images").iterdir())

        def command(images: list[Path]) -> None:
            predict_folder(checkpoint, images, folder / "masks", settings=settings)

        bare, whole, first, loop = [], [], [], []
        for _ in range(given.rounds):
            bare.append(seconds(partial(bare_model, network, paths, given.batch_size)))
            whole.append(seconds(partial(command, paths)))
            first.append(seconds(partial(command, paths[: given.batch_size])))
            loop.append(seconds(partial(simple_loop, network, paths, folder / "loop")))
        rest = 1 - given.batch_size / given.images
        print(f"model alone                 {min(bare):8.2f} s  {given.images / min(bare):7.1f} images/s")
        print(f"segattn predict             {min(whole) - min(first):8.2f} s  after its first batch")
        print(f"simple loop                 {min(loop):8.2f} s")
        print(f"segattn predict / model     {(min(whole) - min(first)) / (min(bare) * rest):8.3f}")
        print(f"simple loop / model         {min(loop) / min(bare):8.3f}")


def seconds(function: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def import_only() -> None:
    """Start a Python process that imports what predicting needs."""
    subprocess.run([sys.executable, "-c", "import segattn.predict.predictor"], check=True)


def command_line(checkpoint: Path, images: Path, output: Path, *options: str) -> None:
    """Run the command in a new process."""
    arguments = ["predict", "--checkpoint", checkpoint, "--images", images, "--output", output, *options]
    subprocess.run([sys.executable, "-m", "segattn", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def measure_processes(checkpoint: Path, folder: Path, counts: list[int], rounds: int) -> None:
    """Print the images per second by number of processes, without the time for one image per process."""
    paths = sorted((folder / "images").iterdir())
    for count in counts:
        options = ("--device", "cpu", "--devices", str(count), "--overwrite")
        (folder / "few.txt").write_text("\n".join(map(str, paths[:count])))
        few, all_images = [], []
        for _ in range(rounds):
            few.append(seconds(partial(command_line, checkpoint, folder / "few.txt", folder / "few", *options)))
            all_images.append(seconds(partial(command_line, checkpoint, folder / "images", folder / "all", *options)))
        elapsed = min(all_images) - min(few)
        rate = (len(paths) - count) / elapsed
        print(f"{count} processes    {rate:7.1f} images/s, start-up {min(few):.1f} s", flush=True)


def measure_large(checkpoint: Path, folder: Path, side: int) -> None:
    """Print time and peak memory of one image of ``side`` x ``side`` pixels in windows of 512."""
    blocks = np.random.default_rng(0).integers(0, 256, (side // 50, side // 50, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST).save(folder / "large.png")
    windows = ("--window", "512", "--stride", "384", "--device", "cpu")
    elapsed = seconds(partial(command_line, checkpoint, folder / "large.png", folder / "masks", *windows))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{side} x {side} pixels      {elapsed:8.2f} s, peak memory of the process {peak:.2f} GiB")


def measure_listing(checkpoint: Path, folder: Path, count: int) -> None:
    """Print time and peak memory of a run over many empty files, which all fail, and of resuming a finished run."""
    stems = [f"{index // 1000:04d}/{index:07d}" for index in range(count)]
    for name in (
        f"{kind}/{stem}{suffix}" for stem in stems for kind, suffix in (("images", ".jpg"), ("masks", ".png"))
    ):
        if name.endswith(("000.jpg", "000.png")):
            (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    run_on_stubs("a run over empty files ", checkpoint, folder, "overwrite=True")
    manifest = folder / "masks/manifest.jsonl"
    with manifest.open() as before, (folder / "new.jsonl").open("w") as after:
        after.write(next(before))
        for stem in stems:
            path = folder / f"images/{stem}.jpg"
            result = {"height": 360, "width": 480, "shares": {f"class {i}": 0.090909 for i in range(11)}}
            row = {"image": f"{stem}.jpg", "path": str(path), "state": file_state(path), "notes": []}
            after.write(json.dumps(row | result | {"files": {f"{stem}.png": 0}}) + "\n")
    (folder / "new.jsonl").replace(manifest)
    run_on_stubs("resuming a finished run", checkpoint, folder, "resume=True")


def run_on_stubs(title: str, checkpoint: Path, folder: Path, setting: str) -> None:
    """Print time and peak memory of :func:`predict_folder` in a new process."""
    code = (
        "import resource, sys; from segattn.predict import Settings, predict_folder\n"
        f"report = predict_folder(*sys.argv[1:], settings=Settings({setting}, progress=False))\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20\n"
        "print(f'{len(report.masks)} finished, {len(report.failures)} failed, peak memory {peak:.2f} GiB')"
    )
    arguments = [checkpoint, folder / "images", folder / "masks"]
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    print(f"{title}     {time.perf_counter() - start:8.1f} s, {process.stdout.strip()}", flush=True)


@torch.inference_mode()
def bare_model(network: Network, paths: list[Path], batch_size: int) -> None:
    """Run the model and select the classes, on one tensor that is already on the device."""
    with Image.open(paths[0]) as image:
        pixels = rearrange(torch.from_numpy(np.array(image)), "h w c -> 1 c h w").float() / 255
    batch = pixels.repeat(batch_size, 1, 1, 1).to(network.device)
    for _ in range(0, len(paths), batch_size):
        labels = predicted_classes(network.logits(batch))
    labels.cpu()


@torch.inference_mode()
def simple_loop(network: Network, paths: list[Path], output: Path) -> None:
    """Predict without any overlap of reading, computing and writing."""
    output.mkdir(exist_ok=True)
    for path in paths:
        image = np.array(Image.open(path).convert("RGB"))
        pixels = rearrange(torch.from_numpy(image), "h w c -> 1 c h w").to(network.device).float() / 255
        labels = network.logits(pixels).argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
        Image.fromarray(labels).save(output / f"{path.stem}.png")


def draw_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Draw smooth shapes with noise, which JPEG compresses about as well as photographs."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = smooth + generator.integers(-12, 13, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{index:04d}.jpg", quality=90)


def save_random_model(path: Path) -> Path:
    """Save a small mobile model with 11 classes."""
    classes = ClassTable(tuple(ClassInfo(f"class {index}", (index, index, index), index) for index in range(11)))
    spec = EncoderSpec("tu-tf_efficientnet_lite0", None, 16)
    model = SegmentationModel(ModelSpec(len(classes), spec, partial(FLAHead, channels=128)))
    content = {
        "version": __version__,
        "classes": classes.to_dicts(),
        "inference": asdict(InferenceConfig()),
        "model": model.spec.to_dict(),
    }
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": weights, "segattn": content}, path)
    return path


if __name__ == "__main__":
    main()

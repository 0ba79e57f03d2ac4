"""A trained model as a function, loaded from a checkpoint or an ONNX file."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from segattn.checkpoints.trained import load_model, read_description
from segattn.inference.image_to_logits import LogitsFunction
from segattn.inference.inference_config import InferenceConfig
from segattn.io.error_text import one_line
from segattn.models.weight_files import CONTENT, CheckpointError, parse_description
from segattn.sample import ClassTable


@dataclass(frozen=True)
class Network:
    """A model as a function.

    Attributes:
        logits: images (b, c, h, w), RGB in 0..1, on the device -> logits (b, classes, h, w) on the device.
        classes: classes of the training data.
        inference: how the model is applied to images.
        version: version of segattn that wrote the file.
        device: device of the model.
        exported: whether the model was loaded from an exported file, whose precision is fixed.
        channels: number of channels of its images; None for 8-bit RGB.
    """

    logits: LogitsFunction
    classes: ClassTable
    inference: InferenceConfig
    version: str
    device: torch.device
    exported: bool = False
    channels: int | None = None


def load_network(path: Path, device: torch.device, *, compile: bool = False) -> Network:
    """Load a model to predict with.

    Args:
        path: a checkpoint or its folder, or an ``.onnx`` file of ``segattn export``.
        device: device of the model.
        compile: whether to compile the model, which pays off for many images of one size.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no checkpoint {path.absolute()}.")
    if path.suffix == ".pt2":
        raise CheckpointError(
            f"{path} is a torch.export file, which segattn does not read: use the checkpoint or an ONNX file."
        )
    if path.suffix == ".onnx":
        if compile:
            raise ValueError(f"{path} is an ONNX file and cannot be compiled.")
        logits, description = _from_onnx(path, device)
        if not description:
            raise CheckpointError(f"{path} was not written by segattn export: it contains no description.")
        content = parse_description(description, path)
        classes, inference, version = read_description(content, path)
        channels = content["model"].get("channels") if isinstance(content.get("model"), dict) else None
        inference = replace(inference, precision="32")
        return Network(logits, classes, inference, version, device, exported=True, channels=channels)
    trained = load_model(path)
    trained.model.to(device)
    if compile:
        trained.model.compile()
    channels = trained.model.spec.channels
    return Network(trained.logits, trained.classes, trained.inference, trained.version, device, channels=channels)


def _from_onnx(path: Path, device: torch.device) -> tuple[LogitsFunction, str | None]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"Running {path} needs onnxruntime: pip install 'segattn[export]'.") from error
    providers = {"cuda": ["CUDAExecutionProvider"], "cpu": []}.get(device.type)
    if providers is None or not set(providers) <= set(onnxruntime.get_available_providers()):
        raise ValueError(f"This onnxruntime has no provider for the device {device}: use cpu.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised anyway
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as error:  # the exceptions of onnxruntime have no other common base
        raise CheckpointError(f"{path} is damaged or not an ONNX file: {one_line(error)}.") from error

    def logits(images: Tensor) -> Tensor:
        try:
            (output,) = session.run(None, {session.get_inputs()[0].name: images.cpu().numpy()})
        except Exception as error:  # as above
            raise RuntimeError(one_line(error)) from error
        return torch.from_numpy(output).to(device)

    return logits, session.get_modelmeta().custom_metadata_map.get(CONTENT)

"""A trained model as a function, loaded from a checkpoint or an ONNX file."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segattn.checkpoints.trained import TrainedModel, load_model
from segattn.inference.image_to_logits import LogitsFunction
from segattn.inference.inference_config import InferenceConfig
from segattn.io.error_text import first_line, one_line
from segattn.models.weight_files import CheckpointError
from segattn.sample import ClassTable

DESCRIPTION = "segattn"
"""Metadata key of classes, inference config and normalization (as JSON) in an exported file."""


@dataclass(frozen=True)
class Network:
    """A model as a function.

    Attributes:
        logits: images (b, 3, h, w) in 0..1 on the device -> logits (b, classes, h, w) on the device.
        classes: classes of the training data.
        inference: how the model is applied to images.
        version: version of segattn that wrote the file.
        device: where the model computes.
        exported: whether the model was loaded from an exported file, whose precision is fixed.
    """

    logits: LogitsFunction
    classes: ClassTable
    inference: InferenceConfig
    version: str
    device: torch.device
    exported: bool = False


def load_network(path: Path, device: torch.device, *, compile: bool = False) -> Network:
    """Load a model to predict with.

    Args:
        path: a checkpoint or its folder, or an ``.onnx`` file of ``segattn export``.
        device: where the model computes.
        compile: whether to compile the model, which pays off for many images of one size.

    Raises:
        FileNotFoundError: if the file does not exist.
        CheckpointError: if it is damaged or was not written by segattn.
        ValueError: if the file is ONNX, and ``compile`` is set or it cannot run on the device.
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
        classes, inference, version = described(path, description)
        return Network(logits, classes, replace(inference, precision="32"), version, device, exported=True)
    trained = load_model(path)
    model = trained.model.to(device)
    if compile:
        model.compile()
    return Network(lambda images: model(images).logits, trained.classes, trained.inference, trained.version, device)


def choose_devices(names: str | list[str] | None) -> list[torch.device]:
    """Devices by name: None is CUDA if available, otherwise the CPU; ``all`` is every CUDA device.

    Raises:
        ValueError: if a name is unknown, or its device is not available.
    """
    if names is None:
        return [torch.device("cuda" if torch.cuda.is_available() else "cpu")]
    names = [names] if isinstance(names, str) else names
    if names == ["all"]:
        names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]
    devices = []
    for name in names:
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"The device {name!r} cannot be used here: {first_line(error)}.") from error
        devices.append(device)
    return devices


def description_of(trained: TrainedModel) -> dict[str, Any]:
    """Return the metadata of an exported file as plain data; :func:`described` reads it.

    The normalization is for information only: it is part of the exported model, whose input is RGB in 0..1.
    """
    spec = trained.model.encoder.spec
    return {
        "version": trained.version,
        "classes": json.loads(trained.classes.to_json()),
        "inference": asdict(trained.inference),
        "normalization": {"mean": spec.mean, "std": spec.std, "inside": True},
    }


def described(path: Path, description: str | None) -> tuple[ClassTable, InferenceConfig, str]:
    """Classes, inference config and version from the metadata of an exported file.

    Raises:
        CheckpointError: if the metadata is missing or invalid.
    """
    if not description:
        raise CheckpointError(f"{path} was not written by segattn export: it contains no description of its classes.")
    try:
        content = json.loads(description)
        inference = InferenceConfig.from_dict(content["inference"])
        return ClassTable.from_dicts(content["classes"]), inference, content["version"]
    except (ValueError, TypeError, KeyError) as error:
        what = f"has no {one_line(error)}" if isinstance(error, KeyError) else one_line(error)
        raise CheckpointError(f"The description of the model in {path} cannot be used: {what}.") from error


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

    return logits, session.get_modelmeta().custom_metadata_map.get(DESCRIPTION)

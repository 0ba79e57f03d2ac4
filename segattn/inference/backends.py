"""A trained model ready to predict, from whatever file it is in: a checkpoint, an ONNX file, a torch export."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from segattn.checkpoints import CheckpointError, TrainedModel, load_model
from segattn.checkpoints.torch_export import require_plain_graph
from segattn.io.error_text import one_line
from segattn.sample import ClassTable, SizeRule

Precision = Literal["32", "bf16"]

DESCRIPTION = "segattn"
"""The key of an exported file's metadata under which classes, size rule and normalization are kept as JSON."""


@dataclass(frozen=True)
class Network:
    """A model as a function.

    Attributes:
        logits: images (b, 3, h, w) in 0..1 on the device -> logits (b, classes, h, w), float32, on the device.
        classes: of the data set that it was trained on.
        size_rule: how whole images are brought to the model.
        version: of segattn that wrote the checkpoint.
        device: where it computes.
    """

    logits: Callable[[Tensor], Tensor]
    classes: ClassTable
    size_rule: SizeRule
    version: str
    device: torch.device


def load_network(path: Path, device: torch.device, *, precision: Precision = "32", compile: bool = False) -> Network:
    """Load a model to predict with.

    Args:
        path: a checkpoint or its folder, or what ``segattn export`` wrote from one: ``.onnx`` or ``.pt2``.
        device: where it shall compute.
        precision: ``32``, or ``bf16`` for mixed precision.
        compile: whether to compile the model, which pays for many images of one size.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, or was written by something else.
        ValueError: if an exported file shall be compiled, or computed in another precision than it has.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no checkpoint {path.absolute()}.")
    if path.suffix not in (".onnx", ".pt2"):
        return _from_checkpoint(path, device, precision, compile)
    if precision != "32" or compile:
        raise ValueError(f"{path} is exported: its precision is fixed, and it cannot be compiled.")
    load = _from_onnx if path.suffix == ".onnx" else _from_torch_export
    logits, description = load(path, device)
    return Network(logits, *described(path, description), device)


def choose_devices(names: str | list[str] | None) -> list[torch.device]:
    """Devices by name: None takes CUDA where there is one, ``all`` every CUDA device.

    Raises:
        ValueError: if a name means nothing, or its device is not there.
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
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(f"The device {name!r} cannot be used here: {reason}.") from error
        devices.append(device)
    return devices


def description_of(trained: TrainedModel) -> dict[str, Any]:
    """What an exported file must tell beside its weights, as plain data; :func:`described` reads it.

    The normalization is told for information: it is part of the exported model, whose input is RGB in 0..1.
    """
    spec = trained.model.encoder.spec
    return {
        "version": trained.version,
        "classes": json.loads(trained.classes.to_json()),
        "size_rule": vars(trained.size_rule),
        "normalization": {"mean": spec.mean, "std": spec.std, "inside": True},
    }


def described(path: Path, description: str | None) -> tuple[ClassTable, SizeRule, str]:
    """Classes, size rule and version from the metadata of an exported file.

    Raises:
        CheckpointError: if the file has none, or not in this form.
    """
    if not description:
        raise CheckpointError(f"{path} was not written by segattn export: it does not describe its classes.")
    try:
        content = json.loads(description)
        return ClassTable.from_dicts(content["classes"]), SizeRule.from_dict(content["size_rule"]), content["version"]
    except (ValueError, TypeError, KeyError) as error:
        what = f"has no {one_line(error)}" if isinstance(error, KeyError) else one_line(error)
        raise CheckpointError(f"The description of the model in {path} cannot be used: {what}.") from error


def _from_checkpoint(path: Path, device: torch.device, precision: Precision, compile: bool) -> Network:
    trained = load_model(path)
    model = trained.model.to(device)
    if compile:
        model.compile()

    def logits(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            output: Tensor = model(images).logits
            return output.float()

    return Network(logits, trained.classes, trained.size_rule, trained.version, device)


def _from_onnx(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str | None]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"Running {path} needs onnxruntime: pip install 'segattn[export]'.") from error
    providers = {"cuda": ["CUDAExecutionProvider"], "cpu": []}.get(device.type)
    if providers is None or not set(providers) <= set(onnxruntime.get_available_providers()):
        raise ValueError(f"This onnxruntime has no provider for the device {device}; take cpu.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base but this one
        raise CheckpointError(f"{path} is damaged or no ONNX file: {one_line(error)}.") from error

    def logits(images: Tensor) -> Tensor:
        try:
            (output,) = session.run(None, {session.get_inputs()[0].name: images.cpu().numpy()})
        except Exception as error:  # as above
            raise RuntimeError(one_line(error)) from error
        return torch.from_numpy(output).to(device)

    return logits, session.get_modelmeta().custom_metadata_map.get(DESCRIPTION)


def _from_torch_export(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str | None]:
    from torch.export.passes import move_to_device_pass

    require_plain_graph(path)
    extra = {DESCRIPTION: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # the archive's reader raises many kinds
        raise CheckpointError(f"{path} is damaged or no torch export: {one_line(error)}.") from error
    module = move_to_device_pass(program, device).module()

    def logits(images: Tensor) -> Tensor:
        output: Tensor = module(images)
        return output

    return logits, extra[DESCRIPTION]

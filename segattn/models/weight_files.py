"""Reads files of weights, safetensors or ``torch.save``, without executing anything in them."""

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from segattn.io.error_text import first_line, one_line

CONTENT = "segattn"
"""The key in a checkpoint under which everything but the weights is stored, as plain data."""

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


class CheckpointError(ValueError):
    """The file is damaged, or is not the expected kind of checkpoint.

    Examples:
        >>> from segattn.checkpoints import CheckpointError, load_model
        >>> try:
        ...     load_model("photo.jpg")
        ... except CheckpointError as error:
        ...     print(error)
        photo.jpg is not a checkpoint: it is neither safetensors nor a file of torch.save.
    """


def read_checkpoint(path: Path, *, inert: Sequence[str] = ()) -> dict[str, Any]:
    """Read a file of weights. Nothing in it is executed.

    Args:
        path: the file. Its format is detected from the content.
        inert: packages, or full names, of objects in the file that are replaced by empty stand-ins; other objects that
            are neither weights nor plain data are refused.

    Returns:
        The object that was saved with ``torch.save``. For safetensors, the tensors under ``state_dict`` and the
        description, if there is one, under ``segattn``.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged, holds code, or has another format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path.absolute()}.")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise CheckpointError(f"{path} is empty: copy or write it again.")
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return _read_safetensors(path)
    if head.startswith(_ZIP) and (problem := _zip_problem(path)):
        raise CheckpointError(f"{path} is damaged ({problem}): copy it again.")
    if not head.startswith((_ZIP, _PICKLE)):
        raise CheckpointError(f"{path} is not a checkpoint: it is neither safetensors nor a file of torch.save.")
    return _read_torch(path, inert)


def weights_of(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint or a plain state dict, without the prefixes ``module.`` and ``_orig_mod.``."""
    state = checkpoint.get("state_dict", checkpoint.get("model", checkpoint))
    named = isinstance(state, Mapping) and all(isinstance(key, str) for key in state)
    if not named or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no weights: a mapping from names to tensors is needed.")
    for key, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise CheckpointError(f"{path}: {key} is not a dense, unquantized tensor.")
    for wrapper in ("module.", "_orig_mod."):
        if all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return {str(key): value for key, value in state.items()}


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights whose names and shapes must be those of the module; ``num_batches_tracked`` may be missing.

    Raises:
        ValueError: if a weight is missing, unknown or of another shape.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    unknown = [key for key in weights if key not in own]
    problems = [
        f"it {what} {keys[0]}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
        for what, keys in (("lacks", missing), ("has the unknown weight", unknown))
        if keys
    ]
    problems += [
        f"{key} has shape {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in weights.items()
        if key in own and value.shape != own[key].shape
    ][:1]
    if problems:
        raise ValueError(", and ".join(problems))
    module.load_state_dict({**own, **weights})


def parse_description(text: str, path: Path) -> Any:
    """Parse the description of a model, JSON in the metadata of a file."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: invalid JSON in its description ({one_line(error)}).") from error


def _zip_problem(path: Path) -> str | None:
    """What is damaged in an archive, or None. Compares checksums, which torch does not."""
    if not zipfile.is_zipfile(path):
        return "its end is missing"
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except Exception as error:  # zipfile raises many kinds on damaged archives
        return one_line(error)
    return None if bad is None else f"the checksum of {bad} is wrong"


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = file.keys()  # the open file itself cannot be iterated
            checkpoint: dict[str, Any] = {"state_dict": {key: file.get_tensor(key) for key in keys}}
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file ({one_line(error)}): copy it again."
        ) from error
    if CONTENT in metadata:
        checkpoint[CONTENT] = parse_description(metadata[CONTENT], path)
    return checkpoint


def _read_torch(path: Path, inert: Sequence[str]) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_stand_ins(path, inert)):
            checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None and "nsupported" not in str(error):
            raise CheckpointError(f"{path} is damaged or not a checkpoint: {first_line(error)}.") from error
        raise CheckpointError(
            f"{path} is refused: besides weights and plain data it holds {named[1] if named else 'objects'}, and "
            f"loading such a file can execute arbitrary code."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # the reader raises many kinds on damaged files
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {first_line(error)}.") from error
    if not isinstance(checkpoint, dict) or not all(isinstance(key, str) for key in checkpoint):
        raise CheckpointError(f"{path} is not a checkpoint: it holds a {type(checkpoint).__name__} without names.")
    return checkpoint


def _stand_ins(path: Path, packages: Sequence[str]) -> list[Any]:
    """Stand-ins for the objects in a file that are from some packages."""
    if not packages:
        return []
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # a damaged file: the reader gives the reason
        return []
    return [(_Inert, name) for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages)]


class _Inert:
    """Stand-in for an object that is not needed; ignores its arguments and state."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

"""Files of ``torch.export``: letting through what ``segattn export`` writes and nothing else.

``torch.export.load`` does more than read. It unpickles what an archive marks so, loads compiled libraries, evaluates
the sizes of tensors as Python, writes the names of the graph into a source that it executes, and looks up the
functions of the graph anywhere below ``torch``. So a file is gone through before, and refused for anything beyond
tensors, plain names, arithmetic on sizes and the operators of tensors.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from segattn.checkpoints.checkpoint_files import CheckpointError, zip_problem
from segattn.io.error_text import one_line

_MEMBER = re.compile(
    r"archive_format|archive_version|version|byteorder|\.data/(version|serialization_id)|\.(format_version|storage_alignment)"
    r"|models/model\.json|data/(weights|constants)/(weight_\d+|tensor_\d+|model_(weights|constants)_config\.json)"
    r"|data/(weights|constants|sample_inputs)/model\.pt|extra/\w+"
)
_ARITHMETIC = "add|sub|mul|truediv|floordiv|mod|pow|neg|eq|ne|lt|le|gt|ge|getitem|and_|or_|not_"
_TARGET = re.compile(
    rf"torch\.ops\.aten\.(?!from_file\b)\w+(\.\w+)?|_operator\.({_ARITHMETIC})|math\.(ceil|floor|trunc|sqrt)"
    r"|torch\.sym_(max|min|int|float|not|sum)"
)
_NAME = re.compile(r"[\w./:+-]*")
_TEXT = re.compile(r"[\w ./:+,>-]*")
_TREE = re.compile(r'([\[\]{}:, \d]|null|"(type|context|children_spec|null|\[\]|builtins\.(tuple|list|dict))")*')
_FUNCTIONS = (
    *("Add", "Mul", "Pow", "Max", "Min", "Mod", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Piecewise"),
    *("FloorDiv", "CleanDiv", "CeilDiv", "PythonMod", "ModularIndexing", "Where", "IntTrueDiv", "FloatTrueDiv"),
    *("CeilToInt", "FloorToInt", "TruncToInt", "TruncToFloat", "RoundToInt", "RoundDecimal", "ToFloat", "Identity"),
    *("FloatPow", "PowByNatural", "LShift", "RShift", r"OpaqueUnaryFn_\w+"),
)
_WORDS = ("Integer", "Float", "Rational", "Symbol", "integer", "positive", "nonnegative", "precision", "True", "False")
_SIZE = re.compile(rf"([\s()<>=+*/.,'-]|\b\d+\b|\b([su]\d+|{'|'.join((*_FUNCTIONS, *_WORDS))})\b)*")
_PATTERNS = {"target": _TARGET, "in_spec": _TREE, "out_spec": _TREE, "expr_str": _SIZE, "as_string": _TEXT}
"""What a text may be by the key that it stands under; anything else is a :data:`_NAME`."""

_KINDS = re.compile(
    r"as_(none|bools?|ints?|floats?|strings?|name|expr|sym_(ints?|bools?|floats?)|tensors?|nested_tensors|"
    r"optional_tensors?|scalar_type|memory_format|layout|device)"
)
_PROVENANCE = {"stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack", "from_node", "custom"}
"""Keys of the texts that tell where a node is from; they are looked at by people only."""


def require_plain_graph(path: Path) -> None:
    """Refuse a file for which ``torch.export.load`` would do more than to read a graph of tensor operators.

    Raises:
        CheckpointError: if the file is damaged, or holds what ``segattn export`` does not write.
    """
    problem = zip_problem(path)
    if problem is not None:
        raise CheckpointError(f"{path} is damaged or no torch export ({problem}): copy or export it again.")
    try:
        with ZipFile(path) as archive:
            found = next(_foreign_parts(archive), None)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or no torch export: {one_line(error)}.") from error
    if found is not None:
        raise CheckpointError(
            f"{path} is refused: it holds {found}, which segattn export does not write, and to load such a file can "
            f"run whatever its author wrote into it."
        )


def _foreign_parts(archive: ZipFile) -> Iterator[str]:
    names = archive.namelist()
    if len(set(names)) < len(names) or len({name.partition("/")[0] for name in names}) > 1:
        yield "files that hide others"
    for name in names:
        member = name.partition("/")[2]
        if not _MEMBER.fullmatch(member):
            yield f"the file {name}"
        elif member.endswith(".json"):
            yield from _foreign_values(json.loads(archive.read(name)))
        elif member.endswith(".pt"):
            try:
                torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
            except Exception:  # the reader raises many kinds
                yield f"objects beside tensors in {name}"


def _foreign_values(value: Any, key: str = "") -> Iterator[str]:
    """What stands in a JSON file and is neither a plain name nor what its key allows."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "metadata" and _is_provenance(inner):
                continue
            if name in ("use_pickle", "guards_code") and inner:
                yield f"something under {name}"
            if not _NAME.fullmatch(name) or (name.startswith("as_") and not _KINDS.fullmatch(name)):
                yield f"the key {name[:80]!r}"
            yield from _foreign_values(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _foreign_values(inner, key)
    elif isinstance(value, str) and not _PATTERNS.get(key, _NAME).fullmatch(value):
        yield f"the {key} {value[:80]!r}"


def _is_provenance(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() <= _PROVENANCE and all(isinstance(v, str) for v in value.values())

"""A file of ``torch.export`` that could run something is refused before torch reads it."""

import io
import json
import os
import zipfile

import pytest
import torch
from torch import nn

from segattn.checkpoints import CheckpointError
from segattn.checkpoints.torch_export import require_plain_graph
from segattn.inference.backends import load_network


class Doubled(nn.Module):
    def forward(self, image):
        return (image * image.shape[2])[..., : image.shape[3] // 2]


class Payload:
    """Unpickled, it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.pt2"
    sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(Doubled(), (torch.rand(1, 3, 6, 8),), dynamic_shapes=(sizes,))
    getattr(program, "_guards_code", []).clear()  # as segattn export does
    torch.export.save(program, path)
    return path


def rewritten(plain, path, member, change):
    """A copy in which one member is changed, or added where it is not there."""
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        top = source.namelist()[0].partition("/")[0]
        name = f"{top}/{member}"
        for entry in source.namelist():
            content = source.read(entry)
            target.writestr(entry, change(content) if entry == name else content)
        if name not in source.namelist():
            target.writestr(name, change(b""))
    return path


def edited(change):
    """Do something to the graph or to one of its nodes."""

    def apply(content):
        model = json.loads(content)
        change(model, model["graph_module"]["graph"]["nodes"][0])
        return json.dumps(model).encode()

    return apply


def pickled(made):
    def apply(content):
        buffer = io.BytesIO()
        torch.save(((Payload(made),), {}), buffer)
        return buffer.getvalue()

    return apply


EVIL = "__import__('os').mkdir('made')"
MODEL = "models/model.json"


def sizes_of(model):
    return next(iter(model["graph_module"]["graph"]["tensor_values"].values()))["sizes"]


HOSTILE = {
    "objects beside tensors in .*sample_inputs/model.pt": ("data/sample_inputs/model.pt", pickled("made")),
    "something under use_pickle": (
        "data/weights/model_weights_config.json",
        lambda _: b'{"config": {"x": {"path_name": "weight_0", "use_pickle": true}}}',
    ),
    "the file .*aotinductor/model/a.so": ("data/aotinductor/model/a.so", lambda _: b""),
    "the file .*weights/weight_0.py": ("data/weights/weight_0.py", lambda _: b""),
    "the target 'torch.os.system'": (MODEL, edited(lambda model, node: node.update(target="torch.os.system"))),
    "the target 'torch.ops.aten.from_file.default'": (
        MODEL,
        edited(lambda model, node: node.update(target="torch.ops.aten.from_file.default")),
    ),
    "the target '_operator.methodcaller'": (
        MODEL,
        edited(lambda model, node: node.update(target="_operator.methodcaller")),
    ),
    "the expr_str": (
        MODEL,
        edited(lambda model, node: sizes_of(model).append({"as_expr": {"expr_str": EVIL, "hint": None}})),
    ),
    "the expr_str 'exec.chr.1..": (
        MODEL,
        edited(lambda model, node: sizes_of(model).append({"as_expr": {"expr_str": "exec(chr(1))"}})),
    ),
    "something under guards_code": (MODEL, edited(lambda model, node: model.update(guards_code=[EVIL]))),
    "the name": (MODEL, edited(lambda model, node: node.update(name=EVIL))),
    "the key 'as_operator'": (
        MODEL,
        edited(lambda model, node: node["inputs"][0].update(arg={"as_operator": "torch.os.system"})),
    ),
    "the in_spec": (
        MODEL,
        edited(
            lambda model, node: model["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec='[1, {"type": "collections.defaultdict", "context": "[\\"os\\"]", "children_spec": []}]'
            )
        ),
    ),
    "the key .__import__": (
        MODEL,
        edited(lambda model, node: model["graph_module"]["graph"]["tensor_values"].update({EVIL: {}})),
    ),
}


def test_a_plain_graph_passes(plain):
    require_plain_graph(plain)
    with pytest.raises(CheckpointError, match="was not written by segattn export"):
        load_network(plain, torch.device("cpu"))


@pytest.mark.parametrize("what", HOSTILE)
def test_what_could_run_something_is_refused_unread(plain, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.export.load", lambda *_, **__: pytest.fail("read"))
    path = rewritten(plain, tmp_path / "bad.pt2", *HOSTILE[what])
    with pytest.raises(
        CheckpointError, match=rf"bad\.pt2 is refused: it holds {what}.*, which segattn export does not"
    ):
        load_network(path, torch.device("cpu"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.pt2"]


def test_two_files_of_one_name_are_refused(plain, tmp_path):
    path = rewritten(plain, tmp_path / "two.pt2", "byteorder", lambda content: content)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"")
    with pytest.raises(CheckpointError, match="holds files that hide others"):
        require_plain_graph(path)


def test_damaged_files_are_refused_without_a_traceback(plain, tmp_path, caplog):
    whole, path = plain.read_bytes(), tmp_path / "cut.pt2"
    for content in (b"", b"PK", whole[: len(whole) // 2], whole.replace(b'"target"', b'"tarXXX"', 1)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"cut\.pt2 is damaged or no torch export \("):
            load_network(path, torch.device("cpu"))
    rewritten(plain, path, MODEL, lambda content: content[:-1])
    with pytest.raises(CheckpointError, match=r"cut\.pt2 is damaged or no torch export: "):
        load_network(path, torch.device("cpu"))
    assert not caplog.records

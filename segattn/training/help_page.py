"""The short help of ``segattn fit``, ``validate`` and ``test``: the options that people set. Imports no torch.

Descriptions in braces are taken from the docstring of the class; ``--help-all`` prints the complete help.
"""

import ast
import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import docstring_parser

_PACKAGE = Path(__file__).parents[1]
_INDENT = 33
_WIDTH = 120

_DOCUMENTED = {
    "ModelSpec": "models/model_spec.py",
    "EncoderSpec": "models/encoders.py",
    "SegmentationTask": "training/task.py",
    "PolynomialSchedule": "training/schedule.py",
    "InferenceConfig": "inference/inference_config.py",
}

_RUN = """\
run
  --config FILE                  your config or a shipped one such as camvid_fla.yaml; may be repeated
"""
_FIT = """\
  --output DIR, --name NAME      the run is written to OUTPUT/NAME/version_N (default: runs/CONFIG/version_N)
  --ckpt_path last|FILE          resume a run: the last checkpoint of this name, or a file
  --seed_everything N            seed of weights, data order and augmentation (default: 0)
  --check false                  skip the check of the labels before training
"""
_SCORE = """\
  --ckpt_path best|last|FILE     the checkpoint: the newest one of this name, a file, or the folder of a run; the
                                 results are written into the folder of its run
  --output DIR, --name NAME      best and last are searched in OUTPUT/NAME (default: runs/CONFIG)
"""
_DATA = """\
data
  --data CLASS                   NAMEDataModule or your own; NAME is one of {data_sets}
  --data.root DIR, --data.num_workers N    folder of the data set, and number of DataLoader workers
"""
_MODEL = """\
  --data.batch_size N, --data.crop_size [H,W]    training images per step and process, and size of their crops
  --data.object_crops SHARE      share of the training crops that are centered on a small or medium object
model
  --model.encoder.name NAME      {EncoderSpec.name}
  --model.encoder.weights W      {EncoderSpec.weights}
  --model.encoder.output_stride  {EncoderSpec.output_stride}
  --model.encoder.freeze true    {EncoderSpec.freeze}
  --model.head CLASS             {heads}
  --model.head.channels N        an argument of the head; all of them: --model.head.help CLASS
  --model.attention CLASS        {ModelSpec.attention}: {blocks}
  --model.attention_levels [N]   {ModelSpec.attention_levels}
  --model.residual_attention C   {ModelSpec.residual_attention}
  --model.identity_start true    {ModelSpec.identity_start}
  --model.init_from FILE         {SegmentationTask.init_from}
training
  --model.loss CLASS             CrossEntropy, ObjectBalancedCrossEntropy, OHEM, Dice, Lovasz or WeightedSum
  --model.optimizer CLASS        an optimizer of torch; arguments: --model.optimizer.lr 0.01
  --model.schedule.warmup_steps  {PolynomialSchedule.warmup_steps}
  --model.compile true           {SegmentationTask.compile}
  --checkpoint.monitor SCORE     score that selects best.ckpt, e.g. val/miou_small (default: val/miou)
"""
_INFERENCE = """\
inference
  --inference.window [H,W]       {InferenceConfig.window}
  --inference.scales [X,...]     {InferenceConfig.scales}
  --inference.flip true          {InferenceConfig.flip}
trainer
"""
_TRAINER = """\
  --trainer.max_epochs N, --trainer.max_steps N    length of the training
  --trainer.val_check_interval N    steps between validations, with --trainer.check_val_every_n_epoch null
  --trainer.accumulate_grad_batches N, --trainer.sync_batchnorm true    batches per step; batch norm over all processes
"""
_DEVICES = """\
  --trainer.accelerator NAME, --trainer.devices N, --trainer.num_nodes N    hardware (default: all GPUs, or the CPU)
  --trainer.precision P          32-true, bf16-mixed or 16-mixed
  --trainer.limit_val_batches N, --trainer.logger false    evaluate only the first N batches; write no logs
"""
_END = """\

Every key of a config is an option and can be set in a file or here; the last value wins. Values are YAML.
  --print_config                 print the complete config and exit
  --help-all                     describe all options
Documentation: README.md and docs/ in the repository.
"""
_EXAMPLES = {
    "fit": """\
  segattn fit --config camvid_fla.yaml --data.root DIR --trainer.max_epochs 10 --model.head.channels 256
  segattn fit --config camvid_fla.yaml --ckpt_path last
""",
    "validate": """\
  segattn validate --config camvid_fla.yaml --ckpt_path best --inference.flip true
  segattn validate --config camvid_fla.yaml --ckpt_path model.safetensors --data.root DIR
""",
    "test": """\
  segattn test --config camvid_fla.yaml --ckpt_path best
""",
}
_SUMMARIES = {
    "fit": "Train a model and validate it; writes checkpoints, logs and the complete config.",
    "validate": "Score a checkpoint on the validation images, by object size, and write the object record.",
    "test": "Score a checkpoint on the test images, by object size, and write the object record.",
}


def help_page(command: str) -> str:
    """The help of ``fit``, ``validate`` or ``test``."""
    parts = [_RUN, _FIT if command == "fit" else _SCORE, _DATA, _MODEL if command == "fit" else "", _INFERENCE]
    parts += [_TRAINER if command == "fit" else "", _DEVICES]
    names = {name: SimpleNamespace(**_described(path, name)) for name, path in _DOCUMENTED.items()}
    text = "".join(parts).format(
        **names,
        data_sets=_listed("data", "DataModule").replace("DataModule", ""),
        heads=_listed("heads", "Head", "Decoder", "Pyramid"),
        blocks=_listed("attention", ""),
    )
    body = [line for long in (text + _END).splitlines() for line in _wrapped(long)]
    usage = f"usage: segattn {command} --config FILE [--KEY VALUE ...]"
    return "\n".join([usage, "", _SUMMARIES[command], "", _EXAMPLES[command], *body])


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, _WIDTH, subsequent_indent=" " * _INDENT, break_on_hyphens=False) or [""]


def _described(path: str, name: str) -> dict[str, str]:
    """The first clause of every argument in the docstring of a class, read without importing it."""
    tree = ast.parse((_PACKAGE / path).read_text(encoding="utf-8"))
    (node,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    parameters = docstring_parser.parse(ast.get_docstring(node) or "").params
    texts = {item.arg_name: " ".join((item.description or "").split()) for item in parameters}
    return {key: re.split(r"; |\. (?=[A-Z])|\.$", text.replace("``", ""))[0] for key, text in texts.items()}


def _listed(package: str, *endings: str) -> str:
    """The public classes of a package whose names end in one of some endings, read without importing it."""
    tree = ast.parse((_PACKAGE / package / "__init__.py").read_text(encoding="utf-8"))
    (names,) = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    bases = ("Head", "SegmentationDataModule")
    return ", ".join(name for name in names if name.endswith(endings) and name not in bases)

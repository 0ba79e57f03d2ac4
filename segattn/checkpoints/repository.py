"""How a repository stores its models: the names of their weights, and what these say about the architecture."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from segattn.heads import Head
from segattn.models.encoders import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec

Shapes = Mapping[str, tuple[int, ...]]

_BODY = "encoder.body.model."
_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_STEMS = {32: "c", 64: "s"}
"""Width of the first of three stem convolutions -> the letter that timm gives such ResNets."""


@dataclass(frozen=True)
class Repository:
    """How a repository stores a model with one of its heads.

    Attributes:
        body: prefix of the encoder's weights.
        mark: prefix of weights that only models with this head have.
        names: prefix of the head's weights -> our prefix.
        classifier: the weight whose first dimension is the number of classes.
        head_class: our head.
        widths: argument of the head -> the weight whose first dimension is its value.
        optional: as ``widths``, for weights that may be absent; the argument is then None.
        lengths: argument of the head -> the weight whose last dimension is its value.
        reductions: argument of the head -> the weight whose first dimension is ``channels`` divided by its value.
        options: further arguments of the head.
        settings: argument of the head -> key of the head in OpenMMLab's config; used if the file contains a config.
        fixed: key of the head in OpenMMLab's config -> the only value that our head supports.
        other_order: the weight whose inputs are encoder and attention features, in the opposite order of ours.
        align_corners: whether logits are resized with aligned corners, unless the file specifies it.
        dilations: dilations of our encoder, if they differ from the library's.
        left_out: pattern of the names of weights that are not needed.
    """

    body: str
    mark: str
    names: Mapping[str, str]
    classifier: str
    head_class: Callable[..., Head]
    widths: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    lengths: Mapping[str, str] = field(default_factory=dict)
    reductions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    other_order: str | None = None
    align_corners: bool = True
    dilations: dict[str, list[int]] | None = None
    left_out: str = r"(?!)"

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with our names, shapes and order of channels; those with unknown names keep them."""
        prefixes = {
            **self.names,
            f"{self.body}stem.7.": f"{_BODY}bn1.",
            f"{self.body}stem.": f"{_BODY}conv1.",
            self.body: _BODY,
        }
        renamed = {}
        for name, value in weights.items():
            prefix = next((theirs for theirs in prefixes if name.startswith(theirs)), "")
            key = prefixes.get(prefix, "") + name.removeprefix(prefix)
            renamed[key] = value.reshape(1) if value.ndim == 0 and "gamma" in name else value
            if name == self.other_order:
                renamed[key] = value.roll(weights[self.widths["channels"]].shape[0], dims=1)
        return renamed

    def head(self, shapes: Shapes, config: Mapping[str, Any]) -> Callable[..., Head]:
        """Our head for weights of these shapes and OpenMMLab's config of the head, which may be empty.

        Raises:
            ValueError: if the config has a value that our head does not support.
        """
        widths: dict[str, int | None] = {name: shapes[weight][0] for name, weight in self.widths.items()}
        widths |= {name: shapes[weight][-1] for name, weight in self.lengths.items()}
        widths |= {
            name: shapes[self.widths["channels"]][0] // shapes[weight][0] for name, weight in self.reductions.items()
        }
        widths |= {name: shapes[weight][0] if weight in shapes else None for name, weight in self.optional.items()}
        for key, value in self.fixed.items():
            if config.get(key, value) != value:
                raise ValueError(f"its config has {key} {config[key]!r}; supported is {value!r}")
        settings = {name: config[key] for name, key in self.settings.items() if key in config}
        return partial(self.head_class, **widths, **self.options, **settings)

    def encoder(self, shapes: Shapes) -> EncoderSpec:
        """The ResNet whose weights have these shapes."""
        stages = re.compile(rf"{re.escape(self.body)}layer([1-4])\.\d+\.conv3\.weight$")
        found = [match[1] for match in map(stages.match, shapes) if match]
        blocks = tuple(found.count(stage) for stage in "1234")
        if blocks not in _DEPTHS:
            raise ValueError(f"its encoder is not ResNet-50, 101 or 152: its stages have {blocks} bottlenecks")
        stems = [shapes[name] for name in (f"{self.body}stem.0.weight", f"{self.body}conv1.0.weight") if name in shapes]
        if stems and stems[0][0] not in _STEMS:
            raise ValueError(f"its stem has {stems[0][0]} channels; supported are {', '.join(map(str, _STEMS))}")
        name = f"tu-resnet{_DEPTHS[blocks]}{_STEMS[stems[0][0]] if stems else ''}"
        return EncoderSpec(name, None, 8, mean=IMAGENET_MEAN, std=IMAGENET_STD, dilations=self.dilations)


def norm_conv(theirs: str, ours: str, conv: str, norm: str) -> dict[str, str]:
    """Names of a convolution and its norm, with the names that these have in the repository."""
    return {f"{theirs}.{conv}.": f"{ours}.0.", f"{theirs}.{norm}.": f"{ours}.1."}

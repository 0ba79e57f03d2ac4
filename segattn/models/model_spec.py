"""Everything that defines a model except its weights, as one object and as plain data for checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from segattn.attention.block import BlockFactory
from segattn.heads import FCNHead, FeatureInfo, Head
from segattn.models.encoders import EncoderSpec
from segattn.models.factories import build_factory, describe_factory, plain_factory
from segattn.models.residual_attention import Position

HeadFactory = Callable[[FeatureInfo, int], Head]


@dataclass(frozen=True)
class ModelSpec:
    """Describes a segmentation model; :class:`segattn.models.SegmentationModel` is built from it.

    Images of any size are padded on the right and at the bottom by repeating the edge, and the logits are cropped back,
    so nothing is shifted or resized. ``align_corners`` and ``pad_to_stride`` exist for models of other repositories,
    which were trained differently.

    Attributes:
        num_classes: number of classes.
        encoder: name, weights and output stride of the encoder.
        head: a head class, or a partial of one; called with the encoder's features and the number of classes.
        attention: block applied to encoder levels; called with the number of channels. None for none.
        attention_levels: encoder levels with ``attention``, one block each; -1 is the last level.
        residual_attention: block inside every residual block of a ResNet-family encoder; None for none.
        residual_position: ``last`` (before the shortcut is added) or ``middle`` (before the last convolution).
        identity_start: whether these blocks start without an effect; a learned gamma per channel starts at 0. Heads
            have their own option.
        align_corners: align the corner pixels when logits are resized to the size of the image.
        channels: number of channels of images that are not 8-bit RGB, as the data set says.
        pad_to_stride: pad images to a multiple of the output stride. If false, the logits are stretched to the size of
            the image instead.
        channels_last: keep images, features and weights in the channels-last memory format, which is faster for many
            encoders.

    Raises:
        ValueError: if attention_levels is empty, identity_start has no effect, or a factory is neither a class nor a
            partial of one.

    Examples:
        >>> from functools import partial
        >>> from segattn.attention import SCSA
        >>> from segattn.heads import FLAHead
        >>> from segattn.models import EncoderSpec, ModelSpec
        >>> head = partial(FLAHead, channels=256)
        >>> spec = ModelSpec(19, EncoderSpec("resnet50", weights=None), head, attention=SCSA, attention_levels=(-2, -1))
        >>> spec.to_dict()["attention_levels"]
        [-2, -1]
    """

    num_classes: int
    encoder: EncoderSpec = EncoderSpec()
    head: HeadFactory = FCNHead
    attention: BlockFactory | None = None
    attention_levels: Sequence[int] = (-1,)
    residual_attention: BlockFactory | None = None
    residual_position: Position = "last"
    identity_start: bool = False
    align_corners: bool = False
    channels: int | None = None
    pad_to_stride: bool = True
    channels_last: bool = False

    def __post_init__(self) -> None:
        """Validate the arguments."""
        if self.attention and not self.attention_levels:
            raise ValueError("attention has no effect with empty attention_levels: name at least one level.")
        if self.identity_start and not (self.attention or self.residual_attention):
            raise ValueError(
                "identity_start has no effect without attention or residual_attention; for the blocks of a head, "
                "set the option of the head."
            )
        for field in fields(self):
            if callable(value := getattr(self, field.name)):
                object.__setattr__(self, field.name, plain_factory(value))

    def to_dict(self) -> dict[str, Any]:
        """Plain data (numbers, strings, lists and dicts) that :meth:`from_dict` reads back."""
        plain: dict[str, Any] = _to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "ModelSpec":
        """The inverse of :meth:`to_dict`. Nothing is imported that the data names, see :func:`build_factory`.

        Raises:
            ValueError: if a class is unknown or not trusted.
            TypeError: if the data has other fields.
        """
        spec: ModelSpec = _from_plain(cls, plain)
        return spec


def _to_plain(value: Any) -> Any:
    if callable(value):
        return describe_factory(value)
    if is_dataclass(value):
        return {field.name: _to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    return [_to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _from_plain(cls: Any, plain: Mapping[str, Any]) -> Any:
    """Build a dataclass, with lists as tuples, from its fields as plain data."""
    types = get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, value in plain.items():
        if is_dataclass(types.get(name)):
            values[name] = _from_plain(types[name], value)
        elif isinstance(value, Mapping) and "class_path" in value:
            values[name] = build_factory(value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)

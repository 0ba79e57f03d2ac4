"""What an object record holds: its columns, and what all its rows have in common.

The definition is in ``docs/object_size.md``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from segattn import __version__

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "image": (pa.string(), "name of the image"),
    "height": (pa.int32(), "height of the annotation, px"),
    "width": (pa.int32(), "width of the annotation, px"),
    "class_id": (pa.int16(), "index of the class"),
    "class_name": (pa.string(), "name of the class"),
    "kind": (pa.string(), "object, or false_positive: a free-standing one"),
    "size_px": (pa.int32(), "area, px"),
    "y0": (pa.int32(), "first row of the box"),
    "x0": (pa.int32(), "first column of the box"),
    "y1": (pa.int32(), "row after the box"),
    "x1": (pa.int32(), "column after the box"),
    "tp": (pa.int32(), "true positives, px"),
    "fp": (pa.int32(), "false positives, px"),
    "fn": (pa.int32(), "false negatives, px"),
    "recall": (pa.float64(), "tp / size_px"),
    "iou": (pa.float64(), "tp / (size_px + fp)"),
    "boundary_px": (pa.int32(), "pixels removed by a 3x3 erosion, px"),
    "max_width_px": (pa.float64(), "twice the largest distance to a pixel outside, minus 1, px"),
    "elongation": (pa.float64(), "size_px / max_width_px squared"),
    "touches_border": (pa.bool_(), "whether a pixel lies on the image's edge"),
    "touches_ignore": (pa.bool_(), "whether an ignored pixel is among the eight neighbours of a pixel"),
    "merged": (pa.bool_(), "whether a region that holds true positives of the object also holds another object's"),
    "top_confusion": (
        pa.int16(),
        "class predicted on most of an object's misses, or true on most of a false positive; the lowest of several; "
        "-1 if there is none",
    ),
    "confused_class": (pa.list_(pa.int16()), "classes predicted on an object's misses, or true on a false positive"),
    "confused_px": (pa.list_(pa.int32()), "on how many pixels each of them is, px"),
}
"""Type and meaning of every column, in the order of the file."""

FORMAT = 2
"""The layout of the file. Format 1 had neither the pixels of every confusion nor the rule of the means."""

UNITS = ("component", "instance")
_JSON_KEYS = ("class_names", "edges", "bucket_names", "relative", "min_objects", "things", "format")
_TEXT_KEYS = ("unit", "version")


class RecordError(ValueError):
    """A file is no object record, or records do not fit together."""


@dataclass(frozen=True)
class RecordInfo:
    """What every row of a record has in common; it is stored in the file's metadata.

    Attributes:
        class_names: names by class index.
        edges: areas between the size buckets, in pixels or, if ``relative``, as fractions of the image's area.
        bucket_names: one name per bucket, ascending.
        relative: what the edges are relative to.
        unit: what an object is: a connected ``component`` or an annotated ``instance``.
        min_objects: ground-truth objects that a class needs in a bucket to enter the bucket's means.
        things: indices of the thing-like classes.
        version: version of the project that wrote the file.
        format: layout of the file.
        extra: free keys, such as run, head, data set and split.

    Raises:
        ValueError: if the unit or the format is unknown, the names do not fit the edges, or a free key is one of the
            own ones.
    """

    class_names: Sequence[str]
    edges: Sequence[int | float]
    bucket_names: Sequence[str]
    relative: bool = False
    unit: str = "component"
    min_objects: int = 1
    things: Sequence[int] = ()
    version: str = __version__
    format: int = FORMAT
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what could not be read back, and make sequences equal to what will be."""
        if self.unit not in UNITS:
            raise ValueError(f"Unknown unit {self.unit!r}; allowed are {' and '.join(UNITS)}.")
        if self.format != FORMAT:
            raise ValueError(f"The record has format {self.format}, and this version knows format {FORMAT} alone.")
        if len(self.bucket_names) != len(self.edges) + 1:
            raise ValueError(
                f"{len(self.edges)} edges need {len(self.edges) + 1} bucket names, got {self.bucket_names}."
            )
        for name in ("class_names", "edges", "bucket_names", "things"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        taken = sorted(set(self.extra) & {*_JSON_KEYS, *_TEXT_KEYS})
        if taken:
            raise ValueError(f"The keys {', '.join(taken)} are the record's own; name the free keys otherwise.")

    def to_metadata(self) -> dict[str, str]:
        """Text by key; what is no text by itself becomes JSON."""
        own = {key: json.dumps(getattr(self, key)) for key in _JSON_KEYS}
        return own | {key: getattr(self, key) for key in _TEXT_KEYS} | dict(self.extra)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "RecordInfo":
        """The inverse of :meth:`to_metadata`; KeyError where a key is missing."""
        own = {key: json.loads(metadata[key]) for key in _JSON_KEYS} | {key: metadata[key] for key in _TEXT_KEYS}
        return cls(**own, extra={key: value for key, value in metadata.items() if key not in own})

"""What an object is: size bins, the objects of a ground truth, and the record of every evaluated object. No torch."""

from segattn.objects.ground_truth import TargetObjects, target_objects
from segattn.objects.record_files import (
    COLUMNS,
    RecordError,
    RecordInfo,
    RecordWriter,
    merge_records,
    pack_rows,
    part_path,
    read_confusions,
    read_record,
)
from segattn.objects.size_bins import ObjectSizes

__all__ = [
    "COLUMNS",
    "ObjectSizes",
    "RecordError",
    "RecordInfo",
    "RecordWriter",
    "TargetObjects",
    "merge_records",
    "pack_rows",
    "part_path",
    "read_confusions",
    "read_record",
    "target_objects",
]

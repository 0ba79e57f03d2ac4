"""What an object is: size bins, the objects of a ground truth, and the record of every evaluated object. No torch."""

from segattn.objects.ground_truth import TargetObjects, target_objects
from segattn.objects.record_files import (
    COLUMNS,
    ObjectRecord,
    RecordError,
    RecordInfo,
    RecordWriter,
    merge_records,
    part_path,
    read_confusions,
    read_record,
)
from segattn.objects.size_bins import (
    COCO_EDGES,
    FINE_EDGES,
    ObjectSizes,
    bucket_cuts,
    check_edges,
    fine_edges,
    pixel_edges,
)

__all__ = [
    "COCO_EDGES",
    "COLUMNS",
    "FINE_EDGES",
    "ObjectRecord",
    "ObjectSizes",
    "RecordError",
    "RecordInfo",
    "RecordWriter",
    "TargetObjects",
    "bucket_cuts",
    "check_edges",
    "fine_edges",
    "merge_records",
    "part_path",
    "pixel_edges",
    "read_confusions",
    "read_record",
    "target_objects",
]

"""What is missing in a copy of a data set; used by the scripts that prepare data."""

from collections.abc import Callable, Mapping

from segattn.data.dataset import SegmentationDataset
from segattn.data.errors import DataError, DataNotFoundError


def incomplete_splits(open_split: Callable[[str], SegmentationDataset], expected: Mapping[str, int]) -> list[str]:
    """Describe what is missing in a copy of a data set, one sentence per split; empty if it is complete."""
    problems = []
    for split, count in expected.items():
        try:
            dataset = open_split(split)
            dataset.require_files()
        except (DataNotFoundError, DataError) as error:
            problems.append(str(error))
        else:
            if len(dataset) != count:
                problems.append(f"The split {split} has {len(dataset)} images instead of {count}.")
    return problems

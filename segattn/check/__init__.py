"""Finding problems in a data set before a model is trained on it."""

from segattn.check.data_check import Report, UnsoundDataError, check_before_fit, check_data
from segattn.check.findings import Finding

__all__ = ["Finding", "Report", "UnsoundDataError", "check_before_fit", "check_data"]

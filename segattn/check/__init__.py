"""What is wrong with a data set, said before a model is trained on it."""

from segattn.check.check_data import Report, UnsoundDataError, check_data
from segattn.check.findings import Finding

__all__ = ["Finding", "Report", "UnsoundDataError", "check_data"]

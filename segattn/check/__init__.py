"""What is wrong with a data set, said before a model is trained on it."""

from segattn.check.findings import Finding
from segattn.check.run import Report, UnsoundDataError, check_data

__all__ = ["Finding", "Report", "UnsoundDataError", "check_data"]

"""Errors in data sets. Every message is one sentence."""


class DataNotFoundError(FileNotFoundError):
    """A data set, or one of its splits, does not exist."""


class DataError(ValueError):
    """A file of a data set exists but cannot be used."""


class ColorMaskError(DataError):
    """A label file contains colors where one channel of label values is needed."""

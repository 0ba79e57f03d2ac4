"""What can be wrong with a data set, each said in one sentence."""


class DataNotFoundError(FileNotFoundError):
    """A data set, or a part of it, is not where it was looked for."""


class DataError(ValueError):
    """A file of a data set is there but cannot be used as it is."""


class ColorMaskError(DataError):
    """A label file holds colors where one channel of label values is needed."""


class DownloadError(OSError):
    """A file could not be fetched whole, or is not what was asked for."""

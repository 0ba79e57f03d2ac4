"""Images and videos in, label masks out."""

from segattn.predict.folder import predict_folder
from segattn.predict.options import Options, Settings

__all__ = ["Options", "Settings", "predict_folder"]

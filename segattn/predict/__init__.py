"""Images and videos in, label masks out."""

from segattn.predict.options import Options, Settings
from segattn.predict.predict_folder import predict_folder

__all__ = ["Options", "Settings", "predict_folder"]

"""``segattn predict``: images and videos in, label masks out."""

from segattn.predict.options import Options, Settings
from segattn.predict.predict_folder import Report, predict_folder

__all__ = ["Options", "Report", "Settings", "predict_folder"]

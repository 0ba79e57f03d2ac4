"""Semantic segmentation with attention heads, scored by object size.

Importing this package does not import torch, so that ``segattn --help`` and ``segattn.report`` start quickly.
"""

__version__ = "0.1.0"

"""Semantic segmentation with attention heads, scored by object size.

Nothing heavy is imported here: ``segattn --help`` and ``segattn.report`` must not wait for torch.
"""

__version__ = "0.1.0"

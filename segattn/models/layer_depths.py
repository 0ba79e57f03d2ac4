"""The layer of each parameter of an encoder, for learning rates that decay with the distance from the head.

Bao et al.: BEiT: BERT Pre-Training of Image Transformers. ICLR 2022, https://arxiv.org/abs/2106.08254 (layer-wise
decay). The layers are those that timm defines for each architecture.
"""

import timm
import torch
from timm.models import group_parameters

from segattn.models.encoders import Encoder


def layer_depths(encoder: Encoder) -> dict[str, int]:
    """The layer of each parameter of an encoder by its name; 0 is the stem.

    Parameters that timm does not know, such as those of attention inside residual blocks, belong to the layer of the
    parameter before them.

    Raises:
        ValueError: if the encoder is not from timm.
    """
    kind, _, name = encoder.spec.name.partition("-")
    if kind not in ("tu", "vit"):
        raise ValueError(
            f"layer_decay needs an encoder of timm, tu-NAME or vit-NAME, whose layers are known; "
            f"got {encoder.spec.name!r}."
        )
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    known = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    by_name = {
        key.replace(".", "_"): depth for key, depth in known.items()
    }  # timm flattens names of feature extractors
    depths: dict[str, int] = {}
    depth = 0
    for key, _ in encoder.named_parameters():
        depth = by_name.get(key.removeprefix("body.").removeprefix("model.").replace(".", "_"), depth)
        depths[key] = depth
    return depths

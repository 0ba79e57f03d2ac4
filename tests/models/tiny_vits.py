"""Tiny relatives of timm's models, under names that ``vit-NAME`` finds."""

from timm.models import register_model
from timm.models.eva import _create_eva
from timm.models.vision_transformer import _create_vision_transformer
from timm.models.vision_transformer_sam import _create_vision_transformer as _create_sam

SIZE = {"embed_dim": 16, "depth": 4, "num_heads": 2}


@register_model
def tiny_dinov2(pretrained=False, **options):
    arguments = {"img_size": 56, "patch_size": 14, "init_values": 1e-5, **SIZE, **options}
    return _create_vision_transformer("tiny_dinov2", pretrained=pretrained, **arguments)


@register_model
def tiny_dinov2_reg4(pretrained=False, **options):
    registers = {"reg_tokens": 4, "no_embed_class": True, "img_size": 56, "patch_size": 14, "init_values": 1e-5}
    return _create_vision_transformer("tiny_dinov2_reg4", pretrained=pretrained, **registers, **SIZE, **options)


@register_model
def tiny_dinov3(pretrained=False, **options):
    rotary = {"rope_type": "dinov3", "rope_temperature": 100, "rope_rotate_half": True, "use_rot_pos_emb": True}
    others = {"use_abs_pos_emb": False, "num_reg_tokens": 4, "use_fc_norm": False, "qkv_bias": False, "init_values": 1}
    arguments = {"patch_size": 16, "img_size": 64, **rotary, **others, **SIZE, **options}
    return _create_eva("tiny_dinov3", pretrained=pretrained, **arguments)


@register_model
def samvit_tiny(pretrained=False, **options):
    windows = {"global_attn_indexes": [1, 3], "window_size": 3, "use_rel_pos": True, "neck_chans": 8}
    arguments = {"patch_size": 16, "img_size": 64, **windows, **SIZE, **options}
    return _create_sam("samvit_tiny", pretrained=pretrained, **arguments)


NAMES = ("tiny_dinov2", "tiny_dinov2_reg4", "tiny_dinov3", "samvit_tiny")

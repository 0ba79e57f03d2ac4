"""The table of encoder families in docs/encoders.md: builds the smallest encoder of each family and tries it.

python scripts/encoder_table.py
"""

from collections.abc import Mapping
from pathlib import Path

import torch

from segattn.heads import AttentionPyramid
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel

PAGE = Path(__file__).parents[1] / "docs" / "encoders.md"
START, END = "<!-- encoder_table.py -->\n", "<!-- end -->\n"

FAMILIES = {
    "ResNet": "resnet18",
    "ResNet (timm)": "tu-resnet18",
    "EfficientNet": "tu-tf_efficientnet_lite0",
    "MobileNetV3": "tu-mobilenetv3_small_100",
    "HRNet": "tu-hrnet_w18_small",
    "ConvNeXt": "tu-convnext_atto",
    "ConvNeXt V2": "tu-convnextv2_atto",
    "Swin": "tu-swin_tiny_patch4_window7_224",
    "Swin V2": "tu-swinv2_tiny_window8_256",
    "Hiera (SAM 2)": "tu-sam2_hiera_tiny",
    "Hiera": "tu-hiera_tiny_224",
    "MaxViT": "tu-maxvit_tiny_tf_224",
    "MiT (SegFormer)": "mit_b0",
    "PVT v2": "tu-pvt_v2_b0",
    "DaViT": "tu-davit_tiny",
    "FocalNet": "tu-focalnet_tiny_srf",
    "CAFormer": "tu-caformer_s18",
    "ViT (MAE, supervised)": "vit-vit_tiny_patch16_224",
    "CLIP": "vit-vit_base_patch32_clip_224",
    "DINOv2": "vit-vit_small_patch14_dinov2",
    "DINOv2 with registers": "vit-vit_small_patch14_reg4_dinov2",
    "DINOv3": "vit-vit_small_patch16_dinov3",
    "SAM": "vit-samvit_base_patch16_224",
    "BEiT": "vit-beit_base_patch16_224",
}

SIZES = ((1, 1), (45, 61), (64, 96), (224, 224), (96, 320))
"""Heights and widths: smaller than the stride, no multiples of it, multiples, and very flat."""


def main() -> None:
    """Write the table into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{table(FAMILIES)}\n{END}{after}", encoding="utf-8")
    print(f"wrote {PAGE}")


def table(families: Mapping[str, str]) -> str:
    """A Markdown table with one row per family."""
    header = ("family", "example", "strides", "channels", "`output_stride`", "sizes of images")
    rows = [header, ("---",) * len(header), *(row(family, name) for family, name in families.items())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


@torch.no_grad()
def row(family: str, name: str) -> tuple[str, ...]:
    """The cells of a family."""
    try:
        model = build(name, 32)
    except ValueError as error:
        return (family, f"`{name}`", "-", "-", "-", f"none: {str(error).partition('cannot be used: ')[2].rstrip('.')}")
    levels = model.encoder.info.levels_from(2)
    strides, channels = (
        ", ".join(str(values[level]) for level in levels)
        for values in (model.encoder.info.strides, model.encoder.info.channels)
    )
    for size in SIZES:
        if model(torch.rand(1, 3, *size)).logits.shape[-2:] != size:
            raise AssertionError(f"{name} returns logits of another size for {size}")
    usable = [str(stride) for stride in (8, 16) if works(name, stride)]
    return family, f"`{name}`", strides, channels, ", ".join([*usable, "32"]), "any"


def works(name: str, output_stride: int) -> bool:
    """Whether an encoder can be built with an output stride."""
    try:
        build(name, output_stride)
    except ValueError:
        return False
    return True


def build(name: str, output_stride: int) -> SegmentationModel:
    """A model in evaluation mode with random weights and a head that reads all levels."""
    encoder = EncoderSpec(name, None, output_stride)  # type: ignore[arg-type]  # one of 8, 16 and 32
    return SegmentationModel(ModelSpec(3, encoder, AttentionPyramid)).eval()


if __name__ == "__main__":
    main()

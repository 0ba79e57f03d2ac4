"""The kinds of findings, each with its severity and a remedy."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Errors make training fail or useless; warnings make it worse or its scores misleading."""

SHOWN_FILES = 3

KINDS: dict[str, tuple[Severity, str]] = {
    "no-data": ("error", "Fix the problem above."),
    "missing-label": ("error", "Add the label files, or remove the images."),
    "unreadable-image": ("error", "Download or export the files again, or remove them and their label files."),
    "unreadable-label": ("error", "Download or export the files again, or remove them and their images."),
    "unreadable-instances": (
        "error",
        "Download or export the files again, or evaluate connected components (instances: false).",
    ),
    "size-mismatch": (
        "error",
        "Export the labels at the size of the image (rotated as its EXIF data says), without interpolation.",
    ),
    "jpeg-label": (
        "error",
        "Export the labels as PNG from their source; the values changed by JPEG cannot be restored.",
    ),
    "color-label": (
        "error",
        "List the classes by color in the class file of FolderDataModule, or export one channel of labels.",
    ),
    "gray-label": ("error", "List the classes by label instead of color, or export the labels in color."),
    "palette-label": ("error", "List the classes by color in the class file: palette indices are then ignored."),
    "gray-of-colors": ("error", "Use the original color masks, and list the classes by color."),
    "binary-255": ("error", "List the foreground as label 255 in the class file, or divide the masks by 255."),
    "perhaps-255": ("warning", "Check these files: if 255 is their foreground, divide them by 255."),
    "cityscapes-train-ids": ("error", "Use *_gtFine_labelIds.png, which are converted to train ids when read."),
    "cityscapes-label-ids": ("error", "Use CityscapesDataModule, or list the label ids in the class file."),
    "ade20k-reduced-twice": ("error", "Use the released files (0..150): label 0 is removed when they are read."),
    "ade20k-not-reduced": ("error", "Use ADE20KDataModule, or list the classes as labels 1 to 150 and ignore 0."),
    "interpolated-label": ("error", "Export the labels as PNG from their source, without resizing or smoothing."),
    "unknown-values": ("error", "Add the values to the classes, `ignore` or `remap`, or fix the label files."),
    "speckled-label": ("warning", "Check these files: JPEG compression or interpolation causes this."),
    "all-ignored": ("error", "Compare the values in the label files with the classes: no pixel is labeled."),
    "ignored-label": ("warning", "Remove these images or fix their label files: they contain no labeled pixels."),
    "mostly-ignored": ("warning", "Compare the values in the label files with the list of ignored values."),
    "one-class": ("warning", "Compare the values in the label files with the classes: there is nothing to learn."),
    "never-present": ("warning", "Remove these classes, or add images of them: they cannot be learned."),
    "never-scored": ("note", "Their IoU is undefined and left out of the means."),
    "imbalance": ("warning", "Try a loss for rare classes (OHEM, Dice, Lovasz), or add images of them."),
    "surplus-label": ("warning", "Add the images, or remove the label files."),
    "duplicates": ("warning", "Keep every image in one split: images seen in training score too well."),
    "dark-image": (
        "warning",
        "Scale the values to the complete range, or set data.channels to read them as they are. Images of 12 bits "
        "in 16-bit files are read like this.",
    ),
    "large-crop": ("warning", "Use a smaller crop_size: the rest of every such crop is padding, which is ignored."),
}
"""Severity and remedy by kind. The names are stable between versions."""


@dataclass(frozen=True)
class Finding:
    """A problem of a split in one sentence, and all affected files; none if the problem is not in single files.

    Examples:
        >>> from segattn.check import Finding
        >>> finding = Finding("large-crop", "train", "3 images are smaller than the crop.", ("a.png", "b.png", "c.png"))
        >>> finding.severity, finding.remedy
        ('warning', 'Use a smaller crop_size: the rest of every such crop is padding, which is ignored.')
    """

    kind: str
    split: str
    what: str
    files: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """Severity of its kind."""
        return KINDS[self.kind][0]

    @property
    def remedy(self) -> str:
        """Remedy of its kind."""
        return KINDS[self.kind][1]

    @property
    def where(self) -> str:
        """The first files, and the number of the others."""
        more = f" and {len(self.files) - SHOWN_FILES} more" if len(self.files) > SHOWN_FILES else ""
        return ", ".join(self.files[:SHOWN_FILES]) + more

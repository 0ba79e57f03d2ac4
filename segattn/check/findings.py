"""What a check can find: every kind with its severity and what to do about it."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Errors stop a training or make it learn nonsense; warnings make it worse or its scores misleading."""

SHOWN_FILES = 3


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        severity: how bad it is.
        remedy: what to do, an imperative sentence.
    """

    severity: Severity
    remedy: str


KINDS: dict[str, Kind] = {
    "no-data": Kind("error", "Mend what it says."),
    "missing-label": Kind("error", "Add the label files, or take the images away."),
    "unreadable-image": Kind("error", "Fetch or export the files again, or take them away with their label files."),
    "unreadable-label": Kind("error", "Fetch or export the files again, or take them away with their images."),
    "unreadable-instances": Kind(
        "error", "Fetch or export the files again, or evaluate without them (instances: false): components count then."
    ),
    "size-mismatch": Kind(
        "error",
        "Export labels at the size of the upright image (with its EXIF turn), never resized with interpolation.",
    ),
    "jpeg-label": Kind(
        "error", "Export the labels as PNG from their source; what JPEG changed cannot be restored from the files."
    ),
    "color-label": Kind(
        "error",
        "List the classes by color in the file of classes of FolderDataModule, or export one channel of labels.",
    ),
    "grey-label": Kind("error", "List the classes by label instead of by color, or export the labels in color."),
    "palette-label": Kind(
        "error", "List the classes by color in the file of classes: palettes are looked through then."
    ),
    "palettes-apart": Kind(
        "error", "Export the labels with one palette, or list the classes by color: palettes are looked through then."
    ),
    "grey-of-colors": Kind(
        "error", "Use the color masks that these grey files were made from, and list the classes by color."
    ),
    "binary-255": Kind("error", "List the foreground as label 255 in the file of classes, or divide the masks by 255."),
    "perhaps-255": Kind(
        "warning", "Look at them: if 255 is their foreground, divide them by 255; if it is void, all is well."
    ),
    "cityscapes-train-ids": Kind("error", "Use *_gtFine_labelIds.png: train ids are made from them on reading."),
    "cityscapes-label-ids": Kind("error", "Use CityscapesDataModule, or give the label ids in the file of classes."),
    "ade20k-reduced-twice": Kind(
        "error", "Use the files as released, 0..150: label 0 is left out on reading, and must be so only once."
    ),
    "ade20k-not-reduced": Kind("error", "Use ADE20KDataModule, or list the classes as labels 1 to 150 and ignore 0."),
    "ade20k-other-class": Kind(
        "warning", "Ignore label 0 unless the model shall learn it: it stands for all the rest."
    ),
    "interpolated-label": Kind(
        "error", "Export the labels as PNG from their source, without any resizing or smoothing."
    ),
    "unknown-values": Kind(
        "error", "Add the values to the classes, to `ignore` or to `remap`, or mend the label files."
    ),
    "speckled-label": Kind(
        "warning", "Look at the files: saving as JPEG or resizing with interpolation does this, and most scores suffer."
    ),
    "all-ignored": Kind("error", "Compare the values in the label files with the classes: there is nothing to learn."),
    "ignored-label": Kind("warning", "Take these images away, or mend their label files: they teach nothing."),
    "mostly-ignored": Kind("warning", "Compare the values in the label files with the list of ignored ones."),
    "one-class": Kind("warning", "Compare the values in the label files with the classes: a constant would score 100."),
    "never-present": Kind("warning", "Leave these classes out, or add images that show them: they cannot be learned."),
    "never-scored": Kind("note", "Mind that their IoU is undefined: they are left out of the means."),
    "imbalance": Kind(
        "warning", "Try a loss that minds rare classes (OHEM, Dice, Lovasz), or more images that show them."
    ),
    "surplus-label": Kind("warning", "Add the images, or take the label files away."),
    "same-files": Kind("warning", "Give the splits folders of their own."),
    "duplicates": Kind("warning", "Keep every image in one split: what was trained on scores too well."),
    "large-crop": Kind(
        "warning", "Choose a smaller crop_size: the rest of every such crop is padding, which is ignored."
    ),
}
"""Kinds by name, which stays the same from version to version."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one split.

    Attributes:
        kind: one of :data:`KINDS`.
        split: ``train``, ``val`` or ``test``.
        what: what is wrong, one sentence.
        files: all files concerned, as far as single files are.
    """

    kind: str
    split: str
    what: str
    files: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return KINDS[self.kind].severity

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return KINDS[self.kind].remedy

    @property
    def where(self) -> str:
        """The first files, and how many more there are."""
        more = f" and {len(self.files) - SHOWN_FILES} more" if len(self.files) > SHOWN_FILES else ""
        return ", ".join(self.files[:SHOWN_FILES]) + more

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data, with all files."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "split": self.split,
            "what": self.what,
            "remedy": self.remedy,
            "count": len(self.files),
            "files": list(self.files),
        }


def by_severity(findings: list[Finding]) -> list[Finding]:
    """Errors first; the splits stay together, in their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))

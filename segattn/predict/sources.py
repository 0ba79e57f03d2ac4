"""The inputs of a run, kept compactly because there may be millions. No torch."""

import os
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
"""Lower-case extensions of videos. Videos must be named: folders are searched for images only."""


@dataclass(frozen=True)
class Source:
    """An image or video to predict.

    Attributes:
        path: path of the file.
        name: path relative to the deepest folder that contains all inputs, with forward slashes.
        stem: name of the results: ``name`` without its extension, unless another input has the same stem.
    """

    path: Path
    name: str
    stem: str

    @property
    def is_video(self) -> bool:
        """Whether the file is read as a video."""
        return is_video(self.name)


def is_video(name: str) -> bool:
    """Whether a file of this name is read as a video."""
    return name.lower().endswith(VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Sources:
    """Inputs, sorted by name. They are stored as names; a :class:`Source` is created when it is needed.

    Attributes:
        folder: the deepest folder that contains all inputs.
        names: sorted.
        complete: names whose results keep the extension.
    """

    folder: str
    names: Sequence[str]
    complete: Collection[str] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Source:
        name = self.names[index]
        return Source(Path(self.path(name)), name, self.stem(name))

    def __iter__(self) -> Iterator[Source]:
        return map(self.__getitem__, range(len(self)))

    def path(self, name: str) -> str:
        """Path of the file."""
        return os.path.join(self.folder, name)

    def stem(self, name: str) -> str:
        """Name of the results."""
        return name if name in self.complete else os.path.splitext(name)[0]

    def index(self, name: str) -> int | None:
        """Position of a name, if it is one of the inputs."""
        index = bisect_left(self.names, name)
        return index if index < len(self) and self.names[index] == name else None

    def select(self, indices: Iterable[int]) -> "Sources":
        """Some of the inputs, by ascending position."""
        return Sources(self.folder, [self.names[index] for index in indices], self.complete)

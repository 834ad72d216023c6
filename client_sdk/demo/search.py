"""Looking for readable words in files: the same search finds what is there and what is not."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SHORTEST: Final = 8
"""Bytes below which a find says nothing: 25 MB of random bytes hold most strings of three bytes by chance."""


@dataclass(frozen=True, slots=True)
class Needle:
    """Something to look for, and what it is in plain words."""

    what: str
    value: bytes = field(repr=False)
    text: bool = True
    """Whether it is text, which is looked for in further spellings too."""

    def spellings(self) -> set[bytes]:
        """Return the bytes themselves, and how programs usually write them: UTF-16, JSON, hex and base64."""
        found = {self.value, self.value.hex().encode(), self.value.hex().upper().encode()}
        found |= set(_base64_cores(self.value))
        if self.text:
            words = self.value.decode()
            found |= {words.encode("utf-16-le"), json.dumps(words)[1:-1].encode()}
        return found


@dataclass(frozen=True, slots=True)
class Hit:
    """A needle that was found, and the file it was found in."""

    what: str
    file: Path
    offset: int


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search went through and what it found."""

    files: int
    size: int
    hits: tuple[Hit, ...]

    def found(self) -> set[str]:
        """Return what was found, each once."""
        return {hit.what for hit in self.hits}


def search(
    folders: Sequence[Path], needles: Iterable[Needle], *, pattern: str = "*", shortest: int = SHORTEST
) -> Searched:
    """Look for every needle, in every spelling, in all files below `folders` named as `pattern`.

    Copies of the same content are read once. Raises `ValueError` for a needle of fewer than `shortest` bytes.
    """
    wanted = [(needle.what, spelling) for needle in needles for spelling in _checked(needle, shortest)]
    contents = dict(_distinct_files(folders, pattern))
    hits = [hit for content, file in contents.values() for hit in _hits(content, file, wanted)]
    size = sum(len(content) for content, _file in contents.values())
    return Searched(files=len(contents), size=size, hits=tuple(hits))


def chunks_of(path: Path, *, every: int, length: int = 32) -> Iterator[bytes]:
    """Yield pieces of a file to look for, one every `every` bytes."""
    with path.open("rb") as source:
        for start in range(0, path.stat().st_size - length + 1, every):
            source.seek(start)
            yield source.read(length)


def _checked(needle: Needle, shortest: int) -> list[bytes]:
    if len(needle.value) < shortest:
        raise ValueError(f"{needle.what} is too short to be searched for")
    return [spelling for spelling in needle.spellings() if len(spelling) >= shortest]


def _distinct_files(folders: Sequence[Path], pattern: str) -> Iterator[tuple[bytes, tuple[bytes, Path]]]:
    for folder in folders:
        for file in sorted(path for path in folder.rglob(pattern) if path.is_file()):
            content = file.read_bytes()
            yield hashlib.sha256(content).digest(), (content, file)


def _hits(content: bytes, file: Path, wanted: Sequence[tuple[str, bytes]]) -> Iterator[Hit]:
    for what, spelling in wanted:
        offset = content.find(spelling)
        if offset >= 0:
            yield Hit(what=what, file=file, offset=offset)


def _base64_cores(value: bytes) -> Iterator[bytes]:
    """Yield how `value` looks inside longer base64 text, at each of the three places it can begin."""
    for shift in range(3):
        usable = (shift + len(value)) // 3 * 3 - shift
        whole = base64.b64encode(bytes(shift) + value[:usable])
        core = whole[4:] if shift else whole
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))

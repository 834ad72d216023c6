"""The few promises that the file system has to keep."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from client_sdk.attachments.errors import AttachmentError, StorageFailed
from client_sdk.attachments.names import numbered_name

MAX_NUMBER: Final = 1000
"""More files of one name in a folder than anybody keeps: an error instead of a longer search."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK})


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """An OSError inside becomes `StorageFailed`, which names the kind of fault and no path."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{what}: {error.strerror or type(error).__name__}.") from error


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place(temporary: Path, folder: Path, name: str, *, overwrite: bool) -> Path:
    """Give a complete, synced file its name in ``folder``, or the first free numbered one."""
    if overwrite:
        target = folder / name
        temporary.replace(target)
    else:
        target = _place_beside(temporary, folder, name)
    sync_folder(folder)
    return target


def _place_beside(temporary: Path, folder: Path, name: str) -> Path:
    for number in range(1, MAX_NUMBER + 1):
        target = folder / (name if number == 1 else numbered_name(name, number))
        if _place_if_free(temporary, target):
            return target
    raise AttachmentError(f"The folder already holds {MAX_NUMBER} files of this name: choose another folder.")


def _place_if_free(temporary: Path, target: Path) -> bool:
    """Link, because it is atomic and, unlike a rename, refuses a name that is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_if_free(temporary, target)
    temporary.unlink()
    return True


def _rename_if_free(temporary: Path, target: Path) -> bool:
    """For file systems without links (FAT): another program could take the name in between."""
    if os.path.lexists(target):
        return False
    temporary.rename(target)
    return True

"""A project's folder on disk: read when asked, remembered, and every look recorded."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import time
from pathlib import Path

from lading.environments.stamp import Inputs, list_folder
from lading.model.files import content_hash
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

MAX_BYTES = 10_000_000


class FolderFiles:
    """`lading.model.files.ProjectFiles` over a folder.

    Paths are relative to the root, may climb out of it (``../shared/requirements.txt``) or be absolute: what a project refers to is read where
    it lies. Each file and folder is read once; ``inputs`` records every one that was read or looked for, for the stamp.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(os.path.abspath(root))
        self.inputs = Inputs()
        self._contents: dict[str, bytes | None] = {}
        self._listings: dict[str, tuple[str, ...]] = {}

    def read(self, path: str) -> bytes | None:
        """The file's content, or None when there is no such file (or it is a folder).

        Raises:
            LadingError: if the file is there and cannot be read, is over `MAX_BYTES`, or is a device or a pipe.
        """
        place = self._place(path)
        if place not in self._contents:
            self._contents[place] = self._read(place, path)
        return self._contents[place]

    def entries(self, folder: str = "") -> tuple[str, ...]:
        """Names in a folder, sorted; folders end with ``/``. Empty when there is no such folder.

        Raises:
            LadingError: if the folder is there and may not be read.
        """
        place = self._place(folder)
        if place not in self._listings:
            self._listings[place] = self._list(place, folder)
        return self._listings[place]

    def is_folder(self, path: str) -> bool:
        """Whether ``path`` is a folder."""
        place = self._place(path)
        found = os.path.isdir(place)
        self.inputs.add_kind(place, is_folder=found)
        return found

    def wrote(self, path: str, content: bytes) -> None:
        """Tell that Lading itself has just written a file (the lock), so that this does not count as a change of the project."""
        place = self._place(path)
        self._contents[place] = content
        self.inputs.add_file(place, None, content_hash(content), 0)
        parent, _, name = place.rpartition("/")
        listed = self._listings.get(parent)
        if listed is not None:
            self._listings[parent] = tuple(sorted({*listed, name}))
            self.inputs.add_folder(parent, os.stat(parent), self._listings[parent], 0)

    def _place(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(str(self.root), path))

    def _read(self, place: str, path: str) -> bytes | None:
        read_at = time.time_ns()
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without blocking: it may be a pipe
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                raise LadingError(_unreadable(path, error)) from error
            self.inputs.add_missing(place)
            return None
        try:
            return self._read_open(descriptor, place, path, read_at)
        finally:
            os.close(descriptor)

    def _read_open(self, descriptor: int, place: str, path: str, read_at: int) -> bytes | None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self.inputs.add_kind(place, is_folder=True)
            return None
        if not stat.S_ISREG(status.st_mode):
            raise LadingError(_special(path))
        if status.st_size > MAX_BYTES:
            raise LadingError(_too_large(path, status.st_size))
        try:
            with open(descriptor, "rb", closefd=False) as stream:
                content = stream.read()
        except OSError as error:
            raise LadingError(_unreadable(path, error)) from error
        self.inputs.add_file(place, status, content_hash(content), read_at)
        return content

    def _list(self, place: str, path: str) -> tuple[str, ...]:
        read_at = time.time_ns()
        try:
            status = os.stat(place)
            names = list_folder(place)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
                self.inputs.add_kind(place, is_folder=False)
                return ()
            raise LadingError(_unreadable(path or ".", error)) from error
        self.inputs.add_folder(place, status, names, read_at)
        return tuple(names)


def _unreadable(path: str, error: OSError) -> Problem:
    if error.errno == errno.ELOOP:
        return Problem(
            rule="file-unreadable",
            what=f"{path} is a symbolic link that leads back to itself.",
            origin=Origin(path),
            instead="Remove the link, or point it at a file.",
        )
    return Problem(
        rule="file-unreadable",
        what=f"{path} cannot be read: {error.strerror or error}.",
        origin=Origin(path),
        instead="Give the user that runs Lading the right to read it.",
    )


def _special(path: str) -> Problem:
    return Problem(
        rule="file-unreadable",
        what=f"{path} is not a file but a device, a pipe or a socket.",
        origin=Origin(path),
        instead="Put a regular file there.",
    )


def _too_large(path: str, size: int) -> Problem:
    return Problem(
        rule="file-too-large",
        what=f"{path} has {size:,} bytes; Lading reads files of up to {MAX_BYTES:,}.",
        origin=Origin(path),
        why="Dependency files and predictors are text of some kilobytes; this looks like data.",
        instead="Name another file, or move the data out of it.",
    )

"""What an image keeps of the files that a build step wrote: all but what Docker's builds keep out too, as readable as containers need it.

Steps run as root, as in Cog and Docker; containers run as a user without rights. What a step put where programs' own files are not, and into
root's home, is for the service: everybody may read it. Cog's builds keep the caches of pip and apt out of layers by cache mounts.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lading.explain.layers import size
from lading.images.base import copy_entry
from lading.images.folders import walk, write_found
from lading.images.layers import LayerWriter
from lading.images.media import Blobs, Descriptor
from lading.images.project import ROOT, is_secret_name, is_tools_own
from lading.images.tar import FOLDER, Entry, header
from lading.images.unpacked import open_entries
from lading.model.decisions import Decision, Kind
from lading.model.records import dataclass, field

HOME = "root"
"""Of root, whom steps run as."""
CACHES = ("root/.cache/pip", "root/.cache/uv", "var/cache/apt", "var/lib/apt/lists", "var/cache/debconf", "var/cache/ldconfig")
"""Folders that package managers fill again; Cog's builds and Docker's own advice keep them out of layers."""
_TRACES = ("var/log/apt/", "var/log/dpkg.log", "var/log/alternatives.log", "var/log/bootstrap.log", "var/log/fontconfig.log",
           "root/.bash_history", "root/.wget-hsts", "run/lading/", "etc/hostname/", "etc/hosts/", "etc/resolv.conf/")  # fmt: skip
"""What running a command leaves, different each time, and the places of files that engines mount."""
_OF_APT = ("tmp/", "var/log/")
"""Of a step that only installs packages, whose scripts leave things there."""
_PROTECTED = ("etc/", "var/", "run/", "boot/", "proc/", "sys/", "dev/")
_PRIVATE = frozenset((".ssh", ".gnupg", ".aws", ".docker", ".kube"))
_PLAIN_ROOT = frozenset((".bashrc", ".profile", ".cache"))
_TELLING = frozenset((".git", ".hg", ".svn", ".bzr", *_PRIVATE))
"""What else is told when it is left out; nobody looks for caches."""
_SHOWN = 6
_KINDS = ("caches", "home", "temporary", "changed", "secret")


@dataclass(frozen=True, slots=True)
class StepFiles:
    """Bytes by folder: of ``caches``, which are left out, and in root's ``home`` and among the ``temporary`` files, which are kept.

    ``changed`` are files of the project, with their new sizes, that the step wrote to; ``secret`` are others beside them, which are left out
    as they would be in the project: they hold credentials, or are version control's own, where addresses with tokens stand.
    """

    caches: Mapping[str, int] = field(default_factory=dict)
    home: Mapping[str, int] = field(default_factory=dict)
    temporary: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    secret: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As a note in the store."""
        return {name: dict(getattr(self, name)) for name in _KINDS}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StepFiles:
        """The inverse of `as_json`."""
        return cls(**{name: dict(record[name]) for name in _KINDS})

    def decisions(self, step: str) -> list[Decision]:
        """What to tell about a step."""
        told = (
            (_caches_left_out, self.caches),
            (_home_kept, self.home),
            (_temporary_kept, self.temporary),
            (_project_unchanged, self.changed),
            (_secret_left_out, self.secret),
        )
        return [make(step, folders) for make, folders in told if folders]


class Rewriting:
    """Writes the layer that an engine made once more: without times, caches and traces, and readable.

    ``mounts`` are paths that were mounted while the step ran; ``packages``: it only installed packages.
    """

    def __init__(self, writer: LayerWriter, mounts: Sequence[str], *, packages: bool) -> None:
        self.writer, self.mounts, self.packages = writer, tuple(mounts), packages
        self.caches: dict[str, int] = {}
        self.home: dict[str, int] = {}
        self.temporary: dict[str, int] = {}
        self.changed: dict[str, int] = {}
        self.secret: dict[str, int] = {}
        self.opened = False
        self._gone: dict[str, str] = {}
        self._moved: dict[str, list[tarfile.TarInfo]] = {}

    def run(self, blobs: Blobs, descriptor: Descriptor) -> StepFiles:
        """Write all of it; what there was.

        Raises:
            LadingError: if the engine's layer cannot be read.
        """
        with open_entries(blobs, descriptor) as archive:
            for entry in archive:
                name = _name_of(entry.name)
                if name and self._is_left_out(name, entry):
                    self._note_gone(name, entry)
                elif name and not self._is_moved(name, entry):
                    self._write(archive, entry, name)
        if self._moved:
            with open_entries(blobs, descriptor) as archive:
                for entry in archive:
                    self._move(archive, entry)
        return self.files

    def _note_gone(self, name: str, entry: tarfile.TarInfo) -> None:
        """Of a file that is left out, the first of its names."""
        target = _name_of(entry.linkname)
        self._gone[name] = self._gone.get(target, target) if entry.islnk() else name

    def _is_moved(self, name: str, entry: tarfile.TarInfo) -> bool:
        """Whether an entry is another name of a file that is left out: uv links what it installs to its cache, whose name comes first."""
        first = self._gone.get(_name_of(entry.linkname)) if entry.islnk() else None
        if first is None:
            return False
        if first in self._gone:
            entry.name = name
            self._moved.setdefault(first, []).append(entry)
            return True
        entry.linkname = first
        return False

    def _move(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        """Write a file that is left out under the first of its names that is kept; the others are links to that."""
        name = _name_of(entry.name)
        if name not in self._moved or not entry.isfile():
            return
        cache = next((folder for folder in self.caches if name.startswith(f"{folder}/")), None)
        if cache:
            self.caches[cache] -= entry.size
        kept, *others = self._moved.pop(name)
        self._write(archive, entry, kept.name)
        for other in others:
            other.linkname = kept.name
            self._write(archive, other, other.name)

    @property
    def files(self) -> StepFiles:
        """What there was."""
        return StepFiles(self.caches, self.home, self.temporary, self.changed, self.secret)

    def beside(self, written: Path, project: Path) -> StepFiles:
        """Write what a script left beside the project's files, but what no project's files in an image have.

        Those of the project stay as they are, as they come above.

        Raises:
            LadingError: if a file changes meanwhile.
        """

        def keep(path: str, is_folder: bool) -> bool:  # noqa: FBT001 -- as `walk` asks
            name = path.rpartition("/")[2]
            secret = not is_folder and is_secret_name(name)
            if not secret and not is_tools_own(name, is_folder=is_folder):
                return True
            if (secret or name in _TELLING) and not os.path.lexists(project / path):
                self.secret[f"{ROOT}/{path}"] = _size_of(written / path)
            return False

        found = walk(written, ROOT, keep) if written.is_dir() else []
        own = [one for one in found if not one.folder and os.path.lexists(project / one.path.removeprefix(f"{ROOT}/"))]
        self.changed = {one.path: one.size for one in own}
        write_found(
            self.writer,
            [
                one
                for one in found
                if one.path not in self.changed and not (one.folder and (project / one.path.removeprefix(f"{ROOT}/")).exists())
            ],
        )
        return self.files

    def _is_left_out(self, name: str, entry: tarfile.TarInfo) -> bool:
        if any(name == mount or name.startswith(f"{mount}/") for mount in self.mounts):
            return True
        cache = next((folder for folder in CACHES if f"{name}/".startswith(f"{folder}/")), None)
        if cache:
            self.caches[cache] = self.caches.get(cache, 0) + entry.size
            # apt needs its own folders there, and nobody else's.
            return not entry.isdir() or cache.startswith(f"{HOME}/")
        traces = (*_TRACES, *(_OF_APT if self.packages else ()))
        return not entry.isdir() and f"{name}/".startswith(traces)

    def _write(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str) -> None:
        entry.mtime, entry.uname, entry.gname = 0, "", ""
        entry.pax_headers = {key: value for key, value in entry.pax_headers.items() if key.startswith("SCHILY.xattr.")}
        if not self.packages:
            entry.mode = _readable(name, entry)
            self._note_home(name, entry)
            if name.startswith("tmp/") and not entry.isdir():
                self.temporary["tmp"] = self.temporary.get("tmp", 0) + entry.size
        copy_entry(self.writer, archive, entry, name)

    def _note_home(self, name: str, entry: tarfile.TarInfo) -> None:
        """Root's home is there for the service's user only if its folder is open; the base's may not be."""
        self.opened = self.opened or name == HOME
        if not name.startswith(f"{HOME}/"):
            return
        if not self.opened:
            self.writer.raw(header(Entry(path=HOME, mode=0o755, kind=FOLDER)))
            self.opened = True
        parts = name.split("/")
        if entry.isdir() or is_private(parts) or parts[1] in _PLAIN_ROOT - {".cache"}:
            return
        shown = "/".join(parts[: 3 if parts[1] == ".cache" else 2])
        self.home[shown] = self.home.get(shown, 0) + entry.size


def _size_of(path: Path) -> int:
    """Of a file, or of all files of a folder."""
    below = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(one.lstat().st_size for one in (below if path.is_dir() and not path.is_symlink() else (path,)))


def _name_of(path: str) -> str:
    return path.removeprefix("./").strip("/")


def is_private(parts: Sequence[str]) -> bool:
    """Whether a path holds credentials by its name: nobody but its owner reads those."""
    return not _PRIVATE.isdisjoint(parts) or is_secret_name(parts[-1])


def _readable(name: str, entry: tarfile.TarInfo) -> int:
    """The permissions of a file: those that root alone may read get everybody's, but for the system's own and those that hold credentials."""
    if entry.uid or entry.issym() or name.startswith(_PROTECTED) or is_private(name.split("/")):
        return entry.mode
    runs = entry.isdir() or entry.mode & stat.S_IXUSR
    return entry.mode | (0o055 if runs else 0o044)


def _listed(folders: Mapping[str, int]) -> str:
    shown = [f"/{folder} ({size(count)})" for folder, count in sorted(folders.items(), key=lambda item: (-item[1], item[0]))]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"{', '.join(shown[:_SHOWN])}{more}"


def _caches_left_out(step: str, caches: Mapping[str, int]) -> Decision:
    return Decision(
        rule="step-caches-left-out",
        kind=Kind.CHOSEN,
        subject=step,
        asked=_listed(caches),
        chose="not in the image",
        because="package managers fill their caches again, and no container needs them",
        instead="another folder in the command, as of `pip download --dest`, for what a container does need",
    )


def _home_kept(step: str, home: Mapping[str, int]) -> Decision:
    return Decision(
        rule="step-home-kept",
        kind=Kind.CHOSEN,
        subject=step,
        asked=_listed(home),
        chose="kept, readable for everybody, and seen in the home of the container's user",
        because="steps run as root, and containers as a user without rights, whose home is another one",
        instead="a folder of no user: HF_HOME=/opt/models (or TORCH_HOME, ...) in the command, and in `environment`",
    )


def _temporary_kept(step: str, folders: Mapping[str, int]) -> Decision:
    return Decision(
        rule="step-temporary-files",
        kind=Kind.ADVICE,
        subject=step,
        asked=_listed(folders),
        chose="kept, as Docker keeps them",
        because="where containers run with a read-only root, as by `lading serve` and `lading deploy`, their /tmp is another one, and empty",
        instead="another folder for what the service needs, as /opt; rm in the same step for the rest",
    )


def _project_unchanged(step: str, files: Mapping[str, int]) -> Decision:
    return Decision(
        rule="step-project-files",
        kind=Kind.ADVICE,
        subject=step,
        asked=f"{_listed(files)}, which it changed",
        chose="as they are in the project",
        because="an image has the project's files above what steps make, so that a change of one makes no step run again",
        instead="another file for what the script makes; new ones are kept",
    )


def _secret_left_out(step: str, files: Mapping[str, int]) -> Decision:
    return Decision(
        rule="step-secrets-left-out",
        kind=Kind.CHOSEN,
        subject=step,
        asked=_listed(files),
        chose="not in the image",
        because="what has such a name beside the project's files holds credentials, as addresses with tokens, and everybody who gets an image can read it",
        instead="another name or folder, if the container needs it; or mount it when the container starts",
    )

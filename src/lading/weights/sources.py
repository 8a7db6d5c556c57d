"""Where weights come from: a folder, a repository of Hugging Face's hub, one file at an address.

The hub is spoken to in the four routes that this takes; its own client brings twenty packages and a cache of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote, urljoin, urlsplit

from lading.environments.threads import threads
from lading.model.digests import is_sha256
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.weights import WeightFile, WeightSource, set_digest
from lading.weights.store import Part, WeightStore

if TYPE_CHECKING:
    from lading.weights.web import Heard, Web

HUB = "https://huggingface.co"
_AT_ONCE = 4
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*rel="?next"?')
_STATE_FOLDERS = (".cog", ".git", ".lading")


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a source holds, sorted by path, and the state that it is in."""

    files: tuple[WeightFile, ...]
    fingerprint: str


Keep = Callable[[str], bool]
Told = Callable[[int, int | None], None]
"""Hears how many bytes have come of a file that has to be fetched to be known, and of how many, where that is said."""


class Source(Protocol):
    """One place that weights come from."""

    def inventory(self, keep: Keep, told: Told) -> Inventory:
        """What is there now of the files whose paths are to be kept.

        Raises:
            LadingError: if it cannot be had.
        """

    def place(self, file: WeightFile) -> Path | None:
        """Where a file lies on this machine; None where it has to be received."""

    def address(self, file: WeightFile, fingerprint: str) -> str:
        """The address of a file in the state of ``fingerprint``; its path, where it lies on this machine."""

    def receive(self, file: WeightFile, fingerprint: str, part: Part, heard: Heard) -> None:
        """Append what is missing of a file, in the state of ``fingerprint``.

        Raises:
            LadingError: if it cannot be had.
        """


def make_source(
    source: WeightSource, folder: Path, store: WeightStore, environ: Mapping[str, str], origin: Origin, *, offline: bool
) -> Source:
    """The source of an address; paths are relative to ``folder``, that of the configuration."""
    if source.scheme == "file":
        return Folder(folder / source.uri.removeprefix("file://"), source.uri, store, origin)

    @cache
    def web() -> Web:
        from lading.weights.web import Web  # noqa: PLC0415 -- takes long to load, and most weights are here

        return Web(environ, origin, offline=offline)

    if source.scheme == "hf":
        return Hub(source.uri, web, store, environ, origin)
    return Address(source.uri, web, store)


def keeps(source: WeightSource) -> Keep:
    """Whether the patterns of a source let a path through; what is excluded stays out, whatever includes it."""
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 -- takes long to load

    included, excluded = GitIgnoreSpec.from_lines(source.include), GitIgnoreSpec.from_lines(source.exclude)
    return lambda path: (not source.include or included.match_file(path)) and not excluded.match_file(path)


class Folder:
    """Files of this machine. Links are not followed, as in Cog; a link to a file counts as the file, so that caches of links work."""

    def __init__(self, folder: Path, uri: str, store: WeightStore, origin: Origin) -> None:
        self._folder, self._uri, self._store, self._origin = folder, uri, store, origin

    def inventory(self, keep: Keep, told: Told) -> Inventory:
        """See `Source`; the fingerprint is that of all files together."""
        del told
        paths = [path for path in self._paths() if keep(path)]
        with threads(os.cpu_count() or 1) as pool:
            digests = list(pool.map(lambda path: self._store.digest_of(self._folder / path), paths))
        files = tuple(
            WeightFile(path=path, size=(self._folder / path).stat().st_size, digest=digest)
            for path, digest in zip(paths, digests, strict=True)
        )
        return Inventory(files, set_digest(files))

    def _paths(self) -> list[str]:
        if not self._folder.is_dir():
            there = self._folder.exists()
            raise LadingError(
                Problem(
                    rule="weights-not-found",
                    what=f"{self._uri} is {'a file' if there else 'not there'}.",
                    origin=self._origin,
                    why="Weights come from a folder." if there else None,
                    instead="Name the folder, and the file with include." if there else "Put the weights there, or correct the path.",
                    code=ExitCode.RESOLUTION,
                )
            )
        found = []
        for top, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if name not in _STATE_FOLDERS]
            found += [(Path(top) / name).relative_to(self._folder).as_posix() for name in names if (Path(top) / name).is_file()]
        return sorted(found)

    def place(self, file: WeightFile) -> Path | None:
        """See `Source`."""
        return self._folder / file.path

    def address(self, file: WeightFile, fingerprint: str) -> str:
        """See `Source`."""
        del fingerprint
        return str(self._folder / file.path)

    def receive(self, file: WeightFile, fingerprint: str, part: Part, heard: Heard) -> None:
        """See `Source`; files of this machine are used where they lie."""
        raise NotImplementedError


class Address:
    """One file at an address, under the name that the address ends in."""

    def __init__(self, uri: str, web: Callable[[], Web], store: WeightStore) -> None:
        self._uri, self._web, self._store = uri, web, store

    def inventory(self, keep: Keep, told: Told) -> Inventory:
        """See `Source`. The file is fetched, as nothing else tells its digest; the fingerprint is its ETag, else the digest."""
        name = PurePosixPath(unquote(urlsplit(self._uri).path)).name
        if not keep(name):
            return Inventory((), "")
        etag = ""

        def receive(part: Part) -> None:
            nonlocal etag
            self._web().download(self._uri, part, heard=lambda _count: told(part.done, part.total))
            etag = part.tag

        digest, size = self._store.discover(self._uri, receive)
        return Inventory((WeightFile(path=name, size=size, digest=digest),), f"etag:{etag}" if etag else digest)

    def place(self, file: WeightFile) -> Path | None:
        """See `Source`."""
        del file
        return None

    def address(self, file: WeightFile, fingerprint: str) -> str:
        """See `Source`."""
        del file, fingerprint
        return self._uri

    def receive(self, file: WeightFile, fingerprint: str, part: Part, heard: Heard) -> None:
        """See `Source`; an address has no other states than today's, so the digest decides whether it is the file."""
        del file, fingerprint
        self._web().download(self._uri, part, heard=heard)


class Hub:
    """A repository of Hugging Face's hub (``HF_ENDPOINT``), read with ``HF_TOKEN``; pinned to the commit that its name stood for."""

    def __init__(self, uri: str, web: Callable[[], Web], store: WeightStore, environ: Mapping[str, str], origin: Origin) -> None:
        self._uri, self._origin = uri, origin
        self._repository, _, ref = uri.removeprefix("hf://").partition("@")
        self._ref = ref or "main"
        self._web, self._store = web, store
        self._root = (environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        self._token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN") or None

    def inventory(self, keep: Keep, told: Told) -> Inventory:
        """See `Source`. Large files' digests are the hub's own; small ones are fetched."""
        del told
        record, _ = self._web().json(f"{self._root}/api/models/{self._repository}/revision/{quote(self._ref, safe='')}", self._token)
        with self._believing():
            commit = _text(record, "sha")
            if not _COMMIT.fullmatch(commit):
                raise ValueError(f"the commit {commit!r} is none")
            entries = [entry for entry in self._tree(commit) if keep(_text(entry, "path"))]
            with threads(_AT_ONCE) as pool:
                files = tuple(pool.map(lambda entry: self._file(entry, commit), entries))
        return Inventory(tuple(sorted(files, key=lambda file: file.path)), f"commit:{commit}")

    @contextmanager
    def _believing(self) -> Iterator[None]:
        """What the hub says is taken as it should be; a hub that says something else is named.

        Raises:
            LadingError: in place of a `ValueError`.
        """
        try:
            yield
        except ValueError as error:
            raise LadingError(
                Problem(
                    rule="weights-unreachable",
                    what=f"The weights at {self._uri} cannot be had: the hub's answer is not to be understood.",
                    origin=self._origin,
                    why=f"{str(error)[:1].upper()}{str(error)[1:]}.",
                    instead="Check HF_ENDPOINT, and try again.",
                    code=ExitCode.NETWORK,
                )
            ) from error

    def _tree(self, commit: str) -> list[Mapping[str, object]]:
        url: str | None = f"{self._root}/api/models/{self._repository}/tree/{commit}?recursive=true"
        found: list[Mapping[str, object]] = []
        while url:
            entries, headers = self._web().json(url, self._token)
            if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
                raise ValueError("the list of files is none")
            found += [entry for entry in entries if entry.get("type") == "file"]
            following = _NEXT.search(headers.get("link", ""))
            url = urljoin(url, following[1]) if following else None
        return found

    def _file(self, entry: Mapping[str, object], commit: str) -> WeightFile:
        path, large = _text(entry, "path"), entry.get("lfs")
        if isinstance(large, Mapping) and large.get("oid"):
            digest, size = f"sha256:{large['oid']}", large.get("size")
            if not is_sha256(digest):
                raise ValueError(f"{path} has no SHA-256")
            if type(size) is not int or size < 0:
                raise ValueError(f"{path} has no size")
            return WeightFile(path=path, size=size, digest=digest)
        digest, size = self._store.discover(self._resolved(path, commit), self._into(path, commit))
        return WeightFile(path=path, size=size, digest=digest)

    def _resolved(self, path: str, commit: str) -> str:
        return f"{self._root}/{self._repository}/resolve/{commit}/{quote(path)}"

    def address(self, file: WeightFile, fingerprint: str) -> str:
        """See `Source`."""
        return self._resolved(file.path, fingerprint.removeprefix("commit:"))

    def _into(self, path: str, commit: str, heard: Heard = lambda _count: None) -> Callable[[Part], None]:
        def receive(part: Part) -> None:
            self._web().download(self._resolved(path, commit), part, self._token, heard)

        return receive

    def place(self, file: WeightFile) -> Path | None:
        """See `Source`."""
        del file
        return None

    def receive(self, file: WeightFile, fingerprint: str, part: Part, heard: Heard) -> None:
        """See `Source`."""
        self._into(file.path, fingerprint.removeprefix("commit:"), heard)(part)


def _text(record: object, key: str) -> str:
    """A text of the hub's answer.

    Raises:
        ValueError: if there is none.
    """
    found = record.get(key) if isinstance(record, Mapping) else None
    if not isinstance(found, str):
        raise ValueError(f"the answer has no {key}")  # noqa: TRY004 -- of what another machine says
    return found

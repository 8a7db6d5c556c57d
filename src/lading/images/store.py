"""The local store of images: one OCI layout, and for each layer that was ever made, how to find it again.

::

    LADING_HOME/images/oci-layout, index.json, blobs/sha256/…     an OCI layout, which any tool reads
    LADING_HOME/images/layers/<key>.json                          the layer that is made from these inputs
    LADING_HOME/images/wheels/<sha256>/<name>.whl                 wheels that layers are made from

A blob appears by one rename when it is whole, and never changes. Names are changed under a lock, by one rename of ``index.json``.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from lading.environments.claims import try_lock
from lading.environments.home import home, require_writable, unusable
from lading.images.layers import LayerWriter, Written, compressor_name
from lading.images.media import Compression, Descriptor, Image, Kind, Layer, canonical, checked_digest, digest_of
from lading.model.digests import is_sha256
from lading.model.files import fold_hashes
from lading.model.problems import LadingError, Problem

IMAGES = "images"
FORMAT = "2"
"""Another one makes every layer anew: to be raised when they are written in another way."""
NAME = "org.opencontainers.image.ref.name"
PREVIOUS = "run.lading.previous"
_NOTED = 3600.0


class Store:
    """The store of this user, or the one at ``root``."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(home()) / IMAGES

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            LadingError: if they cannot be made.
        """
        if self.root.parent == Path(home()):
            require_writable()
        try:
            for folder in ("blobs/sha256", "layers", "wheels", "work"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            layout = self.root / "oci-layout"
            if not layout.exists():
                self._write(layout, b'{"imageLayoutVersion":"1.0.0"}')
        except OSError as error:
            raise unusable(str(self.root), error) from error

    def path(self, digest: str) -> Path:
        """Where a blob lies, whether it is there or not.

        Raises:
            LadingError: if this is no digest.
        """
        return self.root / "blobs" / checked_digest(digest).replace(":", "/")

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        return is_sha256(digest) and self.path(digest).is_file()

    def open(self, digest: str) -> BinaryIO:
        """See `lading.images.media.Blobs`."""
        try:
            return self.path(digest).open("rb")
        except OSError as error:
            raise LadingError(_missing(digest)) from error

    def read(self, digest: str) -> bytes:
        """A small blob as a whole.

        Raises:
            LadingError: if it is not there.
        """
        with self.open(digest) as stream:
            return stream.read()

    def add(self, content: bytes) -> str:
        """Keep a small blob; returns its digest."""
        digest = digest_of(content)
        if not self.has(digest):
            self._write(self.path(digest), content)
        return digest

    @contextmanager
    def aside(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A file to write into; whatever is not renamed away is removed."""
        descriptor, name = tempfile.mkstemp(dir=self.root / "work")
        try:
            with open(descriptor, "wb", buffering=1 << 20) as stream:
                yield Path(name), stream
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise unusable(str(self.root), error) from error
        finally:
            Path(name).unlink(missing_ok=True)

    def adopt(self, path: Path, digest: str) -> None:
        """Make a finished file of the store's own disk a blob."""
        path.chmod(0o644)
        path.replace(self.path(digest))

    def known(self, kind: Kind, title: str, key: str) -> Layer | None:
        """The layer that was made from these inputs before."""
        try:
            record = json.loads((self.root / "layers" / f"{key}.json").read_bytes())
            layer = Layer.from_json({**record, "kind": str(kind), "title": title})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not self.has(layer.descriptor.digest):
            return None
        touch(self.root / "layers" / f"{key}.json")
        return layer

    def layer(self, kind: Kind, title: str, inputs: list[str], compression: Compression, write: Callable[[LayerWriter], None]) -> Layer:
        """The layer that ``write`` writes, kept by what it is made from.

        Raises:
            LadingError: as ``write`` does, or if the store cannot be written.
        """
        key = layer_key(inputs, compression)
        known = self.known(kind, title, key)
        if known is not None:
            return known
        with self.aside() as (path, stream), LayerWriter(stream, compression) as writer:
            write(writer)
            written = writer.finish()
            stream.flush()
            self.adopt(path, written.digest)
        return self.remember(kind, title, key, written, compression)

    def remember(self, kind: Kind, title: str, key: str, written: Written, compression: Compression) -> Layer:
        """Keep how a blob was made."""
        layer = Layer(
            descriptor=Descriptor(media_type=compression.media_type, digest=written.digest, size=written.size),
            diff_id=written.diff_id,
            kind=kind,
            title=title,
            unpacked=written.unpacked,
        )
        self._write(self.root / "layers" / f"{key}.json", canonical(layer.as_json()))
        return layer

    def note(self, group: str, key: str) -> Any:
        """Something small that was found out before, or None."""
        try:
            return json.loads((self.root / group / f"{key}.json").read_bytes())
        except (OSError, ValueError):
            return None

    def keep_note(self, group: str, key: str, record: Any) -> None:
        """Keep something small."""
        place = self.root / group / f"{key}.json"
        place.parent.mkdir(exist_ok=True)
        self._write(place, canonical(record))

    def publish(self, images: tuple[Image, ...], reference: str) -> str:
        """See `lading.images.media.Destination`: keep the image under a name. Its blobs are here already."""
        self.prepare()
        for image in images:
            self.add(image.manifest)
            self.add(image.config)
        descriptor = index_of(images, self.add)
        touch(self.path(descriptor.digest))
        with self._locked():
            entries = self.entries()
            before = next((entry for entry in entries if name_of(entry) == reference), None)
            notes = {NAME: reference}
            if before is not None and before["digest"] != descriptor.digest:
                notes[PREVIOUS] = before["digest"]
            elif before is not None and PREVIOUS in before.get("annotations", {}):
                notes[PREVIOUS] = before["annotations"][PREVIOUS]
            entry = {**descriptor.as_json(), "annotations": notes}
            self._save([*(one for one in entries if name_of(one) != reference), entry])
        return descriptor.digest

    def find(self, reference: str) -> Mapping[str, Any] | None:
        """The entry of a name, as it stands in ``index.json``."""
        return next((entry for entry in self.entries() if name_of(entry) == reference), None)

    def names(self) -> list[str]:
        """Every name in the store."""
        return sorted(filter(None, map(name_of, self.entries())))

    def forget(self, names: Collection[str]) -> None:
        """Take names out of ``index.json``."""
        if names:
            with self._locked():
                self._save([entry for entry in self.entries() if name_of(entry) not in names])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While this lasts nothing is removed from the store."""
        self.prepare()
        with (self.root / "use.lock").open("wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody uses the store; while this lasts nobody begins to."""
        self.prepare()
        with (self.root / "use.lock").open("wb") as stream:
            yield try_lock(stream.fileno(), fcntl.LOCK_EX)

    def entries(self) -> list[dict[str, Any]]:
        """What ``index.json`` lists."""
        try:
            found: list[dict[str, Any]] = json.loads((self.root / "index.json").read_bytes())["manifests"]
        except (OSError, ValueError, KeyError):
            return []
        return found

    def _save(self, entries: list[dict[str, Any]]) -> None:
        self._write(self.root / "index.json", canonical({"schemaVersion": 2, "manifests": entries}))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / "index.lock").open("wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self.root / "work" if (self.root / "work").is_dir() else path.parent)
            with open(descriptor, "wb") as stream:
                stream.write(content)
            os.chmod(name, 0o644)  # noqa: PTH101 -- beside the descriptor's own
            Path(name).replace(path)
        except OSError as error:
            raise unusable(str(self.root), error) from error


def layer_key(inputs: list[str], compression: Compression) -> str:
    """The name of a layer in the store: everything that its bytes depend on."""
    return fold_hashes([FORMAT, compressor_name(compression), *inputs])


def index_of(images: tuple[Image, ...], keep: Callable[[bytes], str]) -> Descriptor:
    """What a name points to: the image, or an index of one for each platform, which ``keep`` then gets."""
    if len(images) == 1:
        return images[0].descriptor
    from lading.images.manifest import make_index  # noqa: PLC0415 -- for few images

    content = make_index(images)
    keep(content)
    from lading.images.media import INDEX  # noqa: PLC0415 -- for few images

    return Descriptor(media_type=INDEX, digest=digest_of(content), size=len(content))


def touch(path: Path) -> None:
    """Note that something is used, for `lading.images.prune`; not more often than every hour. Where it cannot be, nothing is removed."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _NOTED:
            os.utime(path)


def name_of(entry: Mapping[str, Any]) -> str | None:
    """The name of an entry of ``index.json``."""
    name: str | None = (entry.get("annotations") or {}).get(NAME)
    return name


def _missing(digest: str) -> Problem:
    return Problem(
        rule="blob-missing",
        what=f"{digest} is not in Lading's store.",
        why="A part of an image was removed, or never fetched.",
        instead="Build the image again with `lading build`.",
    )

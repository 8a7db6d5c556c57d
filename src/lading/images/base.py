"""The image that ours stands on: from a registry, an OCI layout, a folder or tarball with a root file system, or nothing at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.environments.threads import threads
from lading.images.debian import release_facts
from lading.images.layers import LayerWriter
from lading.images.layout import Layout
from lading.images.media import INDEXES, MANIFESTS, Blobs, Compression, Descriptor, Kind, Layer, checked_digest, digest_of
from lading.images.reference import Reference, parse_reference
from lading.images.store import NAME, Store, touch
from lading.images.tar import FILE, FOLDER, LINK, Entry, header
from lading.images.unpacked import decompressed, open_entries
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.files import fold_hashes
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, field, replace

if TYPE_CHECKING:
    from lading.images.pins import BasePins
    from lading.images.registry import Registry

STEP = "Fetching the base"
_PIECE = 1 << 20
_PYTHON = re.compile(r"(?:\./)?(?P<path>(?:[^/]+/)*bin)/python(?P<minor>3\.\d+)")
_RECORDS = ("etc/os-release", "usr/lib/os-release", "etc/passwd", "etc/group", "var/lib/dpkg/status")
_FOLDERS = re.compile(r"(?:\./)?(var/lib/dpkg/status\.d/[^/]+|etc/apt/sources\.list(\.d/[^/]+)?)")
_OWN = re.compile(r"(?:\./)?(src|opt/(?:venv(?:-[^/]+)?|lading|python))(?:/.*)?")
"""Folders of the images that Lading builds."""
_DISTRIBUTION = re.compile(
    r"(?P<path>(?:.*/)?(?:site|dist)-packages/[^/]+?)-(?P<version>\d[^/-]*)(?:-py[\d.]+)?\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)"
)
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_MUSL = re.compile(r"(usr/)?lib/ld-musl-\w+\.so\.1")
_LARGEST = 16 << 20
_NOTES = "bases-3"
"""The group of the store's notes on layers of bases; another one makes it look again."""
_VIRTUAL = frozenset(("proc", "sys", "dev", "run", "tmp"))
"""Folders of a running system that an image has empty."""
_KEPT = (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base image. ``name`` is what the user wrote, ``registry`` where it came from, if that was one.

    ``pythons`` maps a version (``3.11``) to the folder of its program, as in ``usr/bin``; ``files`` are those that say what system it is,
    ``own`` the folders in it that our layers have too; ``stands_for`` is the digest that a registry's tag had, of a manifest or an index.
    """

    name: str
    digest: str
    platform: str
    layers: tuple[Layer, ...]
    config: Mapping[str, Any]
    registry: Reference | None = None
    pythons: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    stands_for: str = ""

    @property
    def repository(self) -> str | None:
        """Where the base came from, with its registry; None for one that lay on this machine."""
        return f"{self.registry.registry}/{self.registry.repository}" if self.registry else None

    @property
    def hidden(self) -> tuple[str, ...]:
        """The folders that must not be seen through ours: an environment of another image, and the project of one that Lading or Cog built."""
        labels = (self.config.get("config") or {}).get("Labels") or {}
        built = "run.lading.version" in labels or "run.cog.version" in labels
        return tuple(name for name in self.own if built or name != "src")

    @property
    def musl(self) -> bool:
        """Whether its C library is musl, as Alpine's; one that has glibc too is none."""
        return any(_MUSL.fullmatch(name) for name in self.files) and "libc6" not in self.files.get("var/lib/dpkg/status", "")

    @property
    def system(self) -> dict[str, str]:
        """``os-release`` of the base."""
        return release_facts(self.files.get("etc/os-release") or self.files.get("usr/lib/os-release") or "")

    @property
    def variables(self) -> dict[str, str]:
        """What containers of the base itself run with."""
        return dict(str(pair).partition("=")[::2] for pair in (self.config.get("config") or {}).get("Env") or ())


def load_base(
    text: str, platform: str, store: Store, reporter: Reporter = silent, *, offline: bool = False, pins: BasePins | None = None
) -> Base:
    """The base that the user names, its blobs in the store.

    ``oci:DIR[:NAME]``, an OCI layout's folder, a folder or tarball with a root file system, ``scratch``, or an image's name: in the local
    store, else in its registry. ``offline``: that is not asked, and what was pulled before is taken. ``pins`` are the project's digests of tags.

    Raises:
        LadingError: if there is no such thing, or none for the platform, or ``pins`` must name it and do not.
    """
    reporter(Event(step=STEP, phase=Phase.STARTED, message=text))
    try:
        base = _load(text, platform, store, reporter, offline=offline, pins=pins)
        base = _examined(base, store)
    except BaseException:
        reporter(Event(step=STEP, phase=Phase.FAILED))
        raise
    reporter(Event(step=STEP, phase=Phase.FINISHED, message=text))
    return base


def _load(text: str, platform: str, store: Store, reporter: Reporter, *, offline: bool, pins: BasePins | None) -> Base:
    store.prepare()
    if text == "scratch":
        return Base(name=text, digest="", platform=platform, layers=(), config={})
    if text.startswith("oci:"):
        place, _, name = text.removeprefix("oci:").partition(":")
        return _from_layout(Layout(Path(place)), name, platform, store)
    path = Path(text).expanduser()
    if (path / "oci-layout").is_file():
        return _from_layout(Layout(path), "", platform, store)
    # A name without a slash may be an image's, though a folder of this name happens to be here: not where that is a system's root.
    if path.is_dir() and (os.sep in text or text.startswith(".") or any((path / name).is_dir() for name in ("usr", "bin"))):
        return _from_root(path, text, platform, store)
    if path.is_file():
        return _from_tarball(path, text, platform, store)
    if os.sep in text and text.startswith((os.sep, ".", "~")):
        raise LadingError(_nothing(text))
    entry = store.find(text if ":" in text.rpartition("/")[2] else f"{text}:latest")
    if entry is not None and not (pins and pins.names(text)):
        return _from_manifest(store.read(entry["digest"]), store, text, platform, store)
    reference = parse_reference(text, Origin("--base"))
    digest = reference.digest or (pins.digest(reference) if pins else None)
    if digest:
        return _by_digest(text, replace(reference, digest=digest), platform, store, reporter, offline=offline)
    return _pulled_before(text, platform, store) if offline else _from_registry(text, reference, platform, store, reporter)


def _nothing(text: str) -> Problem:
    return Problem(
        rule="base-not-found",
        what=f"There is no base image {text}.",
        origin=Origin("--base"),
        instead="Name an image (python:3.11-slim), an OCI layout (oci:DIR), or a folder or tarball with a root file system.",
    )


def _from_layout(layout: Layout, name: str, platform: str, store: Store) -> Base:
    """By its folder's name in what is written about it: where it lies on this machine is nobody's business."""
    shown = f"{layout.folder.resolve().name}{f':{name}' if name else ''}"
    named = [entry for entry in layout.entries() if not name or (entry.get("annotations") or {}).get(NAME) == name]
    if not named:
        raise LadingError(_nothing(f"oci:{layout.folder}:{name}"))
    with _documents(shown):
        return _from_manifest(layout.read(named[-1]["digest"]), layout, shown, platform, store)


@contextmanager
def _documents(text: str) -> Iterator[None]:
    """What is read of a base was written by others, or by a proxy in their place."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"its manifest or configuration lacks {error}" if isinstance(error, KeyError) else "its manifest or configuration is damaged"
        raise LadingError(_damaged(f"{text} is no image: {why}.")) from error


def _damaged(what: str) -> Problem:
    return Problem(rule="base-damaged", what=what, origin=Origin("--base"), instead="Name another base.")


def _from_manifest(content: bytes, blobs: Blobs, text: str, platform: str, store: Store) -> Base:
    with _documents(text):
        return _described(content, blobs, text, platform, store)


def _described(content: bytes, blobs: Blobs, text: str, platform: str, store: Store) -> Base:
    record = json.loads(content)
    if "manifests" in record:
        entry = _for_platform(record["manifests"], platform, text)
        return _from_manifest(_document(blobs, entry["digest"], "manifest"), blobs, text, platform, store)
    config = json.loads(_document(blobs, record["config"]["digest"], "configuration"))
    _same_platform(config, platform, text)
    for descriptor in [Descriptor.from_json(layer) for layer in record["layers"]]:  # all of them are looked at before one is copied
        _take(blobs, descriptor, store)
    return Base(name=text, digest=digest_of(content), platform=platform, layers=_layers(record, config, text), config=config)


def _document(blobs: Blobs, digest: str, what: str) -> bytes:
    with blobs.open(digest) as stream:
        content = stream.read()
    if digest_of(content) != digest:
        raise LadingError(_changed(what, digest))
    return content


def _changed(what: str, digest: str) -> Problem:
    return Problem(
        rule="layout-damaged",
        what=f"The base's {what} {digest} has another content than its digest says.",
        instead="Copy the base image again.",
        code=ExitCode.BUILD,
    )


def _take(blobs: Blobs, descriptor: Descriptor, store: Store) -> None:
    """A blob of another layout into the store, checked."""
    if store.has(descriptor.digest):
        return
    with blobs.open(descriptor.digest) as source, store.aside() as (path, target):
        digest = hashlib.sha256()
        while piece := source.read(_PIECE):
            digest.update(piece)
            target.write(piece)
        target.flush()
        if f"sha256:{digest.hexdigest()}" != descriptor.digest:
            raise LadingError(_changed("layer", descriptor.digest))
        store.adopt(path, descriptor.digest)


def _layers(manifest: Mapping[str, Any], config: Mapping[str, Any], text: str) -> tuple[Layer, ...]:
    descriptors = [Descriptor.from_json(layer) for layer in manifest["layers"]]
    diff_ids = config.get("rootfs", {}).get("diff_ids", [])
    return tuple(
        Layer(descriptor=_as_oci(descriptor), diff_id=diff_id, kind=Kind.BASE, title=text, reused=True)
        for descriptor, diff_id in zip(descriptors, diff_ids, strict=True)
    )


def _as_oci(descriptor: Descriptor) -> Descriptor:
    """A manifest of one format names its layers in that format's words."""
    names = {
        "application/vnd.docker.image.rootfs.diff.tar.gzip": Compression.GZIP.media_type,
        "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    }
    media_type = names.get(descriptor.media_type, descriptor.media_type)
    return Descriptor(media_type=media_type, digest=descriptor.digest, size=descriptor.size)


def _for_platform(entries: Iterable[Mapping[str, Any]], platform: str, text: str) -> Mapping[str, Any]:
    known = list(entries)
    for entry in known:
        if _spelled(entry.get("platform") or {}) in (platform, f"{platform}/v8"):
            return entry
    there = sorted({_spelled(entry.get("platform") or {}) for entry in known} - {"unknown/unknown"})
    raise LadingError(_no_platform(text, platform, ", ".join(there)))


def _spelled(platform: Mapping[str, Any]) -> str:
    parts = [str(platform.get(key, "")) for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part)


def _same_platform(config: Mapping[str, Any], platform: str, text: str) -> None:
    found = f"{config.get('os', 'linux')}/{config.get('architecture', '')}"
    if found != platform:
        raise LadingError(_no_platform(text, platform, found))


def _no_platform(text: str, platform: str, there: str) -> Problem:
    return Problem(
        rule="base-other-platform",
        what=f"The base image {text} is not for {platform}.",
        origin=Origin("--base"),
        why=f"It is for {there or 'no platform that it names'}.",
        instead="Name a base for this platform, or another --platform.",
        code=ExitCode.BUILD,
    )


def _by_digest(text: str, reference: Reference, platform: str, store: Store, reporter: Reporter, *, offline: bool) -> Base:
    """An image that never changes: its registry is asked only for what is not here."""
    digest = str(reference.digest)
    stands_for = "" if "@" in text else digest
    if _is_whole(digest, platform, store):
        return replace(_from_manifest(store.read(digest), store, text, platform, store), registry=reference, stands_for=stands_for)
    if offline:
        raise LadingError(_not_here(text))
    try:
        return replace(_from_registry(text, reference, platform, store, reporter), stands_for=stands_for)
    except LadingError as error:
        if stands_for and error.problems[0].rule == "image-not-found":
            from lading.images.pins import gone  # noqa: PLC0415 -- on the way out

            raise LadingError(gone(text, digest)) from error
        raise


def _is_whole(digest: str, platform: str, store: Store) -> bool:
    """Whether all of an image is in the store, where it is for this platform."""
    try:
        record = json.loads(store.read(digest)) if store.has(digest) else {}
        if "manifests" in record:
            return _is_whole(str(_for_platform(record["manifests"], platform, "")["digest"]), platform, store)
        parts = [str(one["digest"]) for one in (record["config"], *record["layers"])]
    except (LadingError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # whatever a registry once sent
        return False
    for one in (digest, *parts):
        touch(store.path(one))
    return all(map(store.has, parts))


def _from_registry(text: str, reference: Reference, platform: str, store: Store, reporter: Reporter) -> Base:
    from lading.images.registry import Registry  # noqa: PLC0415 -- HTTP takes long to load, and most bases are in the store

    with _documents(text), Registry(reference) as registry:
        base = _pulled(registry, text, platform, store, reporter)
    store.keep_note("pulled", _pulled_key(reference, platform), {"manifest": base.digest, "tag": base.stands_for})
    return base


def _pulled_before(text: str, platform: str, store: Store) -> Base:
    """The image that a name stood for when its registry was asked the last time."""
    reference = parse_reference(text, Origin("--base"))
    note = store.note("pulled", _pulled_key(reference, platform))
    digest = str(note["manifest"]) if note else ""
    record = json.loads(store.read(digest)) if digest and store.has(digest) else None
    if record is None or not all(store.has(one["digest"]) for one in (record["config"], *record["layers"])):
        raise LadingError(_not_here(text))
    base = _from_manifest(store.read(digest), store, text, platform, store)
    return replace(base, registry=reference, stands_for=str(note.get("tag", "")))


def _pulled_key(reference: Reference, platform: str) -> str:
    return fold_hashes([str(reference), platform])


def _not_here(text: str) -> Problem:
    return Problem(
        rule="offline-not-cached",
        what=f"The base image {text} is not on this machine, and --offline forbids to fetch it.",
        origin=Origin("--base"),
        instead="Run once without --offline, or name a base that is here: --base DIR.",
        code=ExitCode.NETWORK,
    )


def _pulled(registry: Registry, text: str, platform: str, store: Store, reporter: Reporter) -> Base:
    reference = registry.reference
    content, media_type = registry.manifest(reference.target)
    stands_for = store.add(content)
    record = json.loads(content)
    if media_type in INDEXES or "manifests" in record:
        entry = _for_platform(record["manifests"], platform, text)
        content, media_type = registry.manifest(checked_digest(entry["digest"]))
        record = json.loads(content)
    if media_type not in MANIFESTS and "layers" not in record:
        raise LadingError(_nothing(text))
    descriptors = [Descriptor.from_json(one) for one in (record["config"], *record["layers"])]
    _fetch_all(registry, [one for one in descriptors if not store.has(one.digest)], store, reporter)
    config = json.loads(store.read(record["config"]["digest"]))
    store.add(content)
    _same_platform(config, platform, text)
    layers = _layers(record, config, text)
    return Base(
        name=text,
        digest=digest_of(content),
        platform=platform,
        layers=layers,
        config=config,
        registry=reference,
        stands_for=stands_for,
    )


def _fetch_all(registry: Registry, descriptors: list[Descriptor], store: Store, reporter: Reporter) -> None:
    total, done = sum(descriptor.size for descriptor in descriptors), 0

    def heard(count: int) -> None:
        nonlocal done
        done += count
        reporter(Event(step=STEP, phase=Phase.PROGRESS, done=done, total=total, unit="bytes"))

    def fetch(descriptor: Descriptor) -> None:
        with store.aside() as (path, stream):
            registry.fetch(descriptor, stream, heard)
            stream.flush()
            store.adopt(path, descriptor.digest)

    with threads(4) as pool:
        list(pool.map(fetch, descriptors))


def _from_root(folder: Path, text: str, platform: str, store: Store) -> Base:
    """A folder with a root file system as one layer; owners, permissions and times stay, as the system's own caches are made for them."""
    found = _walk(folder)
    facts = "\n".join([f"{path} {status.st_ino} {status.st_size} {status.st_ctime_ns}" for path, status in found])
    layer = store.layer(Kind.BASE, text, ["root", facts], Compression.GZIP, lambda writer: _write_root(writer, folder, found))
    return _bare(text, platform, layer)


def _facts_of(status: os.stat_result) -> str:
    return f"{status.st_mode} {status.st_uid} {status.st_gid} {status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _from_tarball(path: Path, text: str, platform: str, store: Store) -> Base:
    def write(writer: LayerWriter) -> None:
        with path.open("rb") as raw, decompressed(raw) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for entry in archive:
                copy_entry(writer, archive, entry, entry.name.removeprefix("./").strip("/"))

    try:
        facts = ["tarball", str(path.resolve()), _facts_of(path.stat())]
        return _bare(text, platform, store.layer(Kind.BASE, text, facts, Compression.GZIP, write))
    except (tarfile.TarError, EOFError) as error:
        raise LadingError(_damaged(f"{text} is no tarball of a root file system: {error}.")) from error


def copy_entry(writer: LayerWriter, archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str) -> None:
    """An entry of another tar under a name; devices and pipes are passed over."""
    if not name or entry.isdev() or entry.isfifo():
        return
    entry.name = name
    content = archive.extractfile(entry) if entry.isfile() else None
    pieces = iter(lambda: content.read(_PIECE), b"") if content else ()
    writer.raw(entry.tobuf(tarfile.PAX_FORMAT), pieces, entry.size if entry.isfile() else 0)


def _bare(text: str, platform: str, layer: Layer) -> Base:
    system, _, architecture = platform.partition("/")
    config = {
        "os": system,
        "architecture": architecture,
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
    }
    return Base(name=Path(text).name, digest=layer.diff_id, platform=platform, layers=(layer,), config=config)


def _write_root(writer: LayerWriter, folder: Path, found: Iterable[tuple[str, os.stat_result]]) -> None:
    seen: dict[tuple[int, int], str] = {}
    for path, status in found:
        name = path[len(str(folder.absolute())) + 1 :]
        entry = Entry(
            path=name,
            mode=stat.S_IMODE(status.st_mode),
            kind=_kind_of(status.st_mode),
            target=os.readlink(path) if stat.S_ISLNK(status.st_mode) else "",
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=int(status.st_mtime),
            size=status.st_size if stat.S_ISREG(status.st_mode) else 0,
        )
        first = seen.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 and entry.kind == FILE else name
        if first != name:
            writer.raw(header(Entry(path=name, kind=b"1", target=first, mode=entry.mode, uid=entry.uid, gid=entry.gid, mtime=entry.mtime)))
        elif entry.kind == FILE:
            with open(path, "rb") as stream:
                writer.raw(header(entry), iter(lambda: stream.read(_PIECE), b""), entry.size)
        else:
            writer.raw(header(entry))


def _walk(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Everything below a folder in one order, parents first; no sockets, pipes and devices, and nothing of what is mounted there.

    Each build on the folder looks at all of it: this is written for speed.
    """
    top = folder.absolute()
    device, virtual = top.stat().st_dev, {str(top / name) for name in _VIRTUAL}
    found: list[tuple[str, os.stat_result]] = []
    waiting = _children(str(top))
    while waiting:
        path, status = waiting.pop()
        found.append((path, status))
        if stat.S_ISDIR(status.st_mode) and status.st_dev == device and path not in virtual:
            waiting += _children(path)
    return found


def _children(folder: str) -> list[tuple[str, os.stat_result]]:
    """What lies in a folder, the last first."""
    with os.scandir(folder) as entries:
        inside = [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
    return sorted((one for one in inside if stat.S_IFMT(one[1].st_mode) in _KEPT), reverse=True)


def _kind_of(mode: int) -> bytes:
    return FOLDER if stat.S_ISDIR(mode) else LINK if stat.S_ISLNK(mode) else FILE


def _examined(base: Base, store: Store) -> Base:
    """With what its layers hold of Pythons and of records of the system."""
    pythons: dict[str, str] = {}
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    own: dict[str, str] = {}
    for layer in base.layers:
        known = facts_of(layer, store)
        own |= known["own"]
        pythons |= known["pythons"]
        files |= known["files"]
        links |= known["links"]
    return replace(base, pythons=pythons, files=files, links=links, own=tuple(sorted(own)))


def facts_of(layer: Layer, store: Store) -> dict[str, dict[str, str]]:
    """What a layer, whoever made it, holds of what is looked for; read once.

    Its Pythons, its records of the system (``files``), links at the top, folders that ours have too (``own``), Python's distributions, and
    the paths that its whiteouts take away (``gone``).

    Raises:
        LadingError: if it is no tar.
    """
    key = layer.descriptor.digest.removeprefix("sha256:")
    known = store.note(_NOTES, key)
    if known is None:
        known = _look(layer, store)
        store.keep_note(_NOTES, key, known)
    found: dict[str, dict[str, str]] = known
    return found


def _look(layer: Layer, store: Store) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {"pythons": {}, "files": {}, "links": {}, "own": {}, "distributions": {}, "gone": {}}
    with open_entries(store, layer.descriptor) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./").strip("/")
            if own := _OWN.fullmatch(name):
                found["own"][own[1]] = ""
            above, _, last = name.rpartition("/")
            if last.startswith(_WHITEOUT):
                found["gone"][above if last == _OPAQUE else f"{above}/{last.removeprefix(_WHITEOUT)}".lstrip("/")] = ""
            elif distribution := _DISTRIBUTION.fullmatch(name):
                found["distributions"][distribution["path"]] = distribution["version"]
            python = _PYTHON.fullmatch(name)
            if python and (entry.isfile() or entry.issym()) and not name.startswith("opt/"):
                found["pythons"].setdefault(python["minor"], python["path"])
            elif entry.issym() and "/" not in name:
                found["links"][name] = entry.linkname
            elif _MUSL.fullmatch(name):
                found["files"][name] = ""
            elif (name in _RECORDS or _FOLDERS.fullmatch(name)) and entry.isfile() and entry.size < _LARGEST:
                content = archive.extractfile(entry)
                found["files"][name] = content.read().decode("utf-8", "replace") if content else ""
    return found

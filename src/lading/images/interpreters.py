"""The Python of an image: the base's, if it is of the right version, else a copy of one of this machine's as a layer."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lading.environments.probe import Probed, probe
from lading.images.base import Base
from lading.images.bytecode import compile_sources, file_sources
from lading.images.folders import Found, file_digest, walk
from lading.images.layers import LayerWriter
from lading.images.media import Compression, Kind, Layer
from lading.images.store import Store
from lading.images.tar import LINK, Entry
from lading.model.files import content_hash
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, field
from lading.model.target import Interpreter

PLACE = "opt/python"
_LEFT_OUT = frozenset(
    ("site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "tkinter", "lib2to3", "ensurepip", "__pycache__")
)
# glibc's own libraries come from the base: they belong to its loader.
_SYSTEM = re.compile(r"(ld-linux|libc|libm|libdl|librt|libpthread|libutil|libresolv|libnss_\w+|libanl|libBrokenLocale)[.-].*")
_RUNPATH, _RPATH, _NEEDED, _STRTAB = 29, 15, 1, 5
_GLIBC = re.compile(rb"GLIBC_2\.(\d+)\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An interpreter in the image: its absolute path there, its full version, and the layer that brings it, if it is not the base's.

    One that was ``copied`` from this machine came with ``libraries``: SHA-256 in hex by their paths in the image.
    """

    path: str
    version: str
    layer: Layer | None = None
    copied: bool = False
    libraries: Mapping[str, str] = field(default_factory=dict)


def place_interpreter(base: Base, minor: str, host: Interpreter | None, store: Store, compression: Compression) -> Placed:
    """The interpreter of a minor version for an image on a base.

    Raises:
        LadingError: if the base has none, and none of this machine can be copied.
    """
    if minor in base.pythons:
        return Placed(path=f"/{base.pythons[minor]}/python{minor}", version=_version_of(base, minor))
    if host is None or host.minor != minor:
        raise LadingError(_not_to_be_had(base, minor, f"and there is no Python {minor} on this machine that could be copied"))
    if base.platform != f"linux/{'arm64' if os.uname().machine in ('aarch64', 'arm64') else 'amd64'}":
        raise LadingError(_not_to_be_had(base, minor, "and this machine's is for another kind of processor"))
    answer = probe([host.path]).get(host.path)
    if answer is None:
        raise LadingError(_not_to_be_had(base, minor, f"and {host.path} does not run"))
    layer, libraries = _copy(base, answer, minor, store, compression)
    path = f"/{PLACE}/{minor}/bin/python{minor}"
    return Placed(path=path, version=answer.version, layer=layer, copied=True, libraries=libraries)


def _version_of(base: Base, minor: str) -> str:
    version = base.variables.get("PYTHON_VERSION", "")
    return version if version.startswith(f"{minor}.") else f"{minor}.0"


def _copy(base: Base, python: Probed, minor: str, store: Store, compression: Compression) -> tuple[Layer, dict[str, str]]:
    """The layer, and the digests of the libraries in it, by their paths."""
    prefix = Path(python.base_prefix)
    program = Path(python.executable)
    stdlib = next(
        (place for place in (prefix / f"lib/python{minor}", prefix / f"lib64/python{minor}") if (place / "os.py").is_file()), None
    )
    if stdlib is None:
        raise LadingError(_not_to_be_had(base, minor, f"and {program} has its library in an unusual place"))
    target = f"{PLACE}/{minor}"
    found = walk(stdlib, f"{target}/lib/python{minor}", lambda path, folder: _kept(path, folder))  # noqa: PLW0108 -- keywords
    libraries = _libraries(program, [Path(one.source) for one in found if one.path.endswith(".so")], base, minor)
    patched = _movable(program, libraries, base, minor)
    key = [f"{one.path}\0{file_digest(one.source) if not one.target else one.target}" for one in found]
    moved = {name: _beside(path.read_bytes(), b"$ORIGIN") for name, path in sorted(libraries.items())}
    digests = {name: content_hash(content) for name, content in moved.items()}
    key += [f"{name}\0{digest}" for name, digest in digests.items()]

    def write(writer: LayerWriter) -> None:
        _write(writer, target, minor, patched, moved, found, str(prefix), python.executable)

    inputs = ["python", target, file_digest(str(program)), *key]
    layer = store.layer(Kind.INTERPRETER, f"Python {python.version}, copied", inputs, compression, write)
    return layer, {f"/{target}/lib/{name}": digest for name, digest in digests.items()}


def _kept(path: str, is_folder: bool) -> bool:  # noqa: FBT001 -- as `walk` asks
    name = path.rpartition("/")[2]
    if is_folder:
        return name not in _LEFT_OUT and not name.startswith("config-")
    return not name.endswith((".a", ".pyc", ".exe"))


def _write(
    writer: LayerWriter,
    target: str,
    minor: str,
    program: bytes,
    libraries: Mapping[str, bytes],
    found: Sequence[Found],
    prefix: str,
    python: str,
) -> None:
    made: dict[str, tuple[bytes, int, str]] = {
        f"{target}/bin/python": (b"", 0o777, f"python{minor}"),
        f"{target}/bin/python3": (b"", 0o777, f"python{minor}"),
        f"{target}/bin/python{minor}": (program, 0o755, ""),
        f"{target}/lib/python{minor}/site-packages/README.txt": (b"Packages are in environments of their own.\n", 0o644, ""),
    }
    for name, library in libraries.items():
        made[f"{target}/lib/{name}"] = (library, 0o755, "")
    for path, data in compile_sources(python, file_sources(found, f"{target}/lib/python{minor}")).items():
        made[path] = (data, 0o644, "")
    for one in found:
        made[one.path] = (_content(one, prefix, target), 0o755 if one.executable else 0o644, one.target)
    for path, (content, mode, link) in sorted(made.items(), key=lambda item: os.fsencode(item[0])):
        if link:
            writer.entry(Entry(path=path, kind=LINK, target=link, mode=0o777))
        else:
            writer.file(Entry(path=path, size=len(content), mode=mode), content)


def _content(one: Found, prefix: str, target: str) -> bytes:
    if one.target or one.folder:
        return b""
    content = Path(one.source).read_bytes()
    if one.path.endswith(".so"):
        depth = one.path.count("/") - target.count("/") - 2
        return _beside(content, b"$ORIGIN/" + b"/".join([b".."] * depth))
    if "_sysconfigdata" in one.path:
        return content.replace(prefix.encode(), f"/{target}".encode())
    return content


def _libraries(program: Path, modules: Iterable[Path], base: Base, minor: str) -> dict[str, Path]:
    """Shared libraries that the interpreter needs and that are not the C library's, by name."""
    found: dict[str, Path] = {}
    waiting = [program, *modules]
    while waiting:
        for name, path in _needed(waiting.pop()).items():
            if _SYSTEM.fullmatch(name) or name in found:
                continue
            if path is None:
                raise LadingError(_not_to_be_had(base, minor, f"and this machine's needs {name}, which is not found"))
            found[name] = path
            waiting.append(path)
    return found


def _needed(path: Path) -> dict[str, Path | None]:
    """What the system's loader finds for one file (``ldd``)."""
    lines = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False).stdout.splitlines()
    found: dict[str, Path | None] = {}
    for line in lines:
        name, arrow, place = line.strip().partition(" => ")
        if arrow:
            found[name] = None if place.startswith("not found") else Path(place.partition(" (")[0]).resolve()
    return found


def _movable(program: Path, libraries: Mapping[str, Path], base: Base, minor: str) -> bytes:
    """The program's bytes, told to look for libraries beside itself; refused where it, or a library, needs a newer C library."""
    needs = max((_glibc_of(path) for path in (program, *libraries.values())), default=0)
    has = base_glibc(base)
    if has and needs > has:
        raise LadingError(_not_to_be_had(base, minor, f"and this machine's needs glibc 2.{needs}, newer than the base's 2.{has}"))
    content = program.read_bytes()
    if not libraries:
        return content
    patched = set_rpath(content, b"$ORIGIN/../lib")
    if patched is None:
        raise LadingError(_not_to_be_had(base, minor, f"and {program} cannot be moved to another place"))
    return patched


def _beside(content: bytes, path: bytes) -> bytes:
    """A library or module that has a path of its own for its libraries, with ours in its place: its own would win over the program's."""
    return set_rpath(content, path) or content


def _glibc_of(path: Path) -> int:
    return max((int(number) for number in _GLIBC.findall(path.read_bytes())), default=0)


def base_glibc(base: Base) -> int:
    """The minor version of a Debian base's glibc; 0 where it is not known."""
    found = re.search(r"^Package: libc6\n(?:.+\n)*?Version: 2\.(\d+)", base.files.get("var/lib/dpkg/status", ""), re.MULTILINE)
    return int(found[1]) if found else 0


def require_glibc(base: Base) -> None:
    """Refuse a base whose C library is musl: a lock's wheels are for glibc, and would not load.

    Raises:
        LadingError: if it is one.
    """
    if base.system.get("ID") == "alpine" or "alpine" in base.system.get("ID_LIKE", "").split() or base.musl:
        raise LadingError(
            Problem(
                rule="base-of-musl",
                what=f"The base {base.name} ({base.system.get('ID') or 'without a name of its system'}) has the C library musl.",
                origin=Origin("--base"),
                why="The packages of the lock are made for glibc (manylinux), and do not load with another C library.",
                instead="Name a base with glibc, as python:3.X-slim or debian:stable-slim; it is a few MB larger.",
                code=ExitCode.BUILD,
            )
        )


def set_rpath(content: bytes, path: bytes) -> bytes | None:
    """An ELF program (64 bits, little-endian) with another library path in the place of its own; None if it has none, or a shorter one.

    It becomes the old kind (DT_RPATH), which also holds for the libraries of modules that the program loads later.
    """
    if content[:6] != b"\x7fELF\x02\x01":
        return None
    data = bytearray(content)
    table, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, table + number * size) for number in range(count)]
    dynamic = next((segment for segment in segments if segment[0] == 2), None)
    if dynamic is None:
        return None
    entries: dict[int, tuple[int, int]] = {}
    for at in range(dynamic[2], dynamic[2] + dynamic[5], 16):
        tag, value = struct.unpack_from("<QQ", data, at)
        entries.setdefault(tag, (at, value))
    own = entries.get(_RUNPATH) or entries.get(_RPATH)
    if own is None or _STRTAB not in entries:
        return None
    address = entries[_STRTAB][1] + own[1]
    place = next((seg[2] + address - seg[3] for seg in segments if seg[0] == 1 and seg[3] <= address < seg[3] + seg[5]), None)
    if place is None:
        return None
    length = data.index(b"\0", place) - place
    if length < len(path):
        return None
    data[place : place + length] = path.ljust(length, b"\0")
    struct.pack_into("<Q", data, own[0], _RPATH)
    return bytes(data)


def host_platform() -> str:
    """This machine's kind, as images name it."""
    machine = sysconfig.get_platform().rpartition("-")[2]
    return f"linux/{'arm64' if machine in ('aarch64', 'arm64') else 'amd64'}"


def _not_to_be_had(base: Base, minor: str, why: str) -> Problem:
    return Problem(
        rule="interpreter-not-in-base",
        what=f"The base image {base.name} has no Python {minor}.",
        origin=Origin("--base"),
        why=f"It has {', '.join(base.pythons) or 'none'}, {why}.",
        instead=f"Name a base with Python {minor} (--base python:{minor}-slim), or `uv python install {minor}`.",
        code=ExitCode.BUILD,
    )


def no_python_for_builds(name: str, python: str) -> LadingError:
    """A package comes as source, and nothing here can build it."""
    minor = ".".join(python.split(".")[:2])
    return LadingError(
        Problem(
            rule="python-not-found",
            what=f"{name} has to be built from source, and there is no Python {minor} on this machine to build it with.",
            instead=f"Install one (`uv python install {minor}`), or ask for a version of the package that has a wheel.",
            code=ExitCode.BUILD,
        )
    )

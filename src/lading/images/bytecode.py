"""Compiled modules for an image, made by the Python of the same minor version on this machine: a container starts twice as fast.

They are ``unchecked-hash`` files (PEP 552): the same bytes each time, and no look at the source when they are imported. Python 3.6 has
none; there they carry the time that layers give to every source, 0.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lading.images.folders import Found
from lading.images.splice import Wheel
from lading.images.wheels import Member, Place, read_wheel
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass

FORMAT = "2"
_LEAST = 200_000
"""Sources (bytes) that are worth a process of their own."""
_LEFT_OUT = frozenset({"test", "tests"})

# Old enough for Python 3.6, and silent about sources that are no Python of this version: those stay as they are.
_COMPILER = r"""
import importlib._bootstrap_external as machinery, importlib.util, json, struct, sys, zipfile
archives = {}
out = sys.stdout.buffer
for archive, name, path in json.load(sys.stdin):
    try:
        if archive:
            if archive not in archives:
                archives[archive] = zipfile.ZipFile(archive)
            source = archives[archive].read(name)
        else:
            with open(name, "rb") as stream:
                source = stream.read()
        code = compile(source, "/" + path, "exec", dont_inherit=True, optimize=0)
    except Exception:
        continue
    if hasattr(machinery, "_code_to_hash_pyc"):
        data = machinery._code_to_hash_pyc(code, importlib.util.source_hash(source), False)
    else:
        data = machinery._code_to_bytecode(code, 0, len(source))
    target = importlib.util.cache_from_source(path, optimization="").encode()
    out.write(struct.pack("<II", len(target), len(data)) + target + bytes(data))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One module: in ``archive`` (a wheel) under ``name``, or the file ``name``; ``path`` is its place in the image."""

    name: str
    path: str
    size: int
    archive: str = ""


def wheel_sources(wheels: Iterable[Wheel], place: Place) -> list[Source]:
    """The modules of wheels; tests stay source, as no container imports them when it starts.

    Of two files at one place the later wheel's counts, as in `lading.images.splice.write_wheels`: nothing looks at the source again.
    """
    placed: dict[str, Source | None] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as archive:
            for member in read_wheel(archive, wheel.path.name, place).members:
                placed[member.path] = _module(wheel, member, place)
    return [one for one in placed.values() if one is not None]


def _module(wheel: Wheel, member: Member, place: Place) -> Source | None:
    if member.info is None or not _compiles(member.path, place.site):
        return None
    return Source(archive=str(wheel.path), name=member.info.filename, path=member.path, size=member.info.file_size)


def file_sources(found: Iterable[Found], site: str) -> list[Source]:
    """The modules among files."""
    return [Source(name=one.source, path=one.path, size=one.size) for one in found if not one.target and _compiles(one.path, site)]


def _compiles(path: str, site: str) -> bool:
    inside = path.removeprefix(f"{site}/")
    return inside != path and path.endswith(".py") and _LEFT_OUT.isdisjoint(inside.split("/"))


def compile_sources(python: str, sources: Sequence[Source]) -> dict[str, bytes]:
    """Compiled modules by their path in the image. Several processes share the work.

    Raises:
        LadingError: if the interpreter does not run.
    """
    parts = _share(sources, max(1, min(os.cpu_count() or 1, sum(one.size for one in sources) // _LEAST)))
    with ThreadPoolExecutor(max(1, len(parts))) as pool:
        answers = list(pool.map(lambda part: _compile(python, part), parts))
    return {path: data for answer in answers for path, data in answer.items()}


def _share(sources: Sequence[Source], count: int) -> list[list[Source]]:
    """Equal parts by size: the largest first, each to whoever has least."""
    parts: list[list[Source]] = [[] for _ in range(count)]
    loads = [0] * count
    for one in sorted(sources, key=lambda source: (-source.size, source.path)):
        least = loads.index(min(loads))
        parts[least].append(one)
        loads[least] += one.size + 500
    return [part for part in parts if part]


def _compile(python: str, sources: Sequence[Source]) -> Mapping[str, bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    task = json.dumps([[one.archive, one.name, one.path] for one in sources]).encode()
    command = [python, "-S", "-s", "-B", "-W", "ignore", "-c", _COMPILER]
    try:
        # Sets of constants are written in the order of their hashes.
        answer = subprocess.run(
            command, input=task, capture_output=True, check=True, env={**environ, "PYTHONHASHSEED": "0"}, cwd="/"
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise LadingError(_not_compiled(python, error)) from error
    found: dict[str, bytes] = {}
    at = 0
    while at < len(answer):
        name, size = struct.unpack_from("<II", answer, at)
        at += 8
        found[answer[at : at + name].decode()] = answer[at + name : at + name + size]
        at += name + size
    return found


def _not_compiled(python: str, error: Exception) -> Problem:
    detail = error.stderr.decode("utf-8", "replace") if isinstance(error, subprocess.CalledProcessError) else str(error)
    return Problem(
        rule="bytecode-failed",
        what=f"{Path(python).name} could not compile the packages.",
        instead="Write --no-bytecode; containers then compile what they import at each start.",
        code=ExitCode.BUILD,
        detail=detail.strip()[-2000:] or None,
    )

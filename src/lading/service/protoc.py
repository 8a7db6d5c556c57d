"""A ``.proto`` file compiled to descriptors: what the server tells clients by reflection, and what the worker makes its messages from."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

_NEEDED = ("grpc", "grpc_reflection", "grpc_tools")
_PLACE = re.compile(r"^(?P<file>[^\s:]+\.proto):(?P<line>\d+):\d+: (?P<what>.*)", re.MULTILINE)
_SECONDS = 60


def compile_proto(root: Path, path: str, seconds: float = _SECONDS) -> bytes:
    """The ``FileDescriptorSet`` of a project's file and of all that it imports, as bytes.

    Files are found from the project's root and from the file's own folder. The compiler has so many ``seconds``.

    Raises:
        LadingError: if the packages that gRPC needs are not installed, the file is not right, or the compiler does not end.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise LadingError(_not_installed(path))
    with tempfile.TemporaryDirectory(prefix="lading-") as folder:
        made = Path(folder) / "descriptors"
        places = dict.fromkeys([root, (root / path).parent])
        command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{place}" for place in places), "--include_imports"]
        try:
            told = subprocess.run(
                [*command, f"--descriptor_set_out={made}", str(root / path)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LadingError(_slow(path, seconds)) from error
        if told.returncode:
            raise LadingError(_wrong(path, told.stderr.replace(f"{root}/", "")))
        return made.read_bytes()


def _not_installed(path: str) -> Problem:
    return Problem(
        rule="grpc-not-installed",
        what=f"{path} needs gRPC, which is not installed beside Lading.",
        origin=Origin(path),
        why="gRPC's packages are an extra: most projects do without.",
        instead="Install lading[grpc], for example with `uv tool install 'lading[grpc]'`.",
    )


def _slow(path: str, seconds: float) -> Problem:
    return Problem(
        rule="proto-timeout",
        what=f"{path} was not compiled within {seconds:g} s.",
        origin=Origin(path),
        why="The machine has too much to do, or a file that it imports is where reading takes for ever.",
        instead="Try again.",
    )


def _wrong(path: str, said: str) -> Problem:
    found = _PLACE.search(said)
    return Problem(
        rule="proto-invalid",
        what=f"{path} cannot be compiled: {found['what'] if found else said.strip() or 'protoc failed'}",
        origin=Origin(found["file"], int(found["line"])) if found else Origin(path),
        instead="Correct the file.",
        detail=said.strip(),
    )

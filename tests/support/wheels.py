"""Tiny real packages: wheels and source distributions made on the fly, the same bytes for the same arguments."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Extras = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Archive:
    """One file of one release. `metadata` is the core metadata that an index may serve beside it (wheels only)."""

    name: str
    version: str
    filename: str
    content: bytes
    requires_python: str | None = None
    metadata: bytes | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def normalized(name: str) -> str:
    """The name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def core_metadata(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extras: Extras | None = None,
    metadata_version: str = "2.2",
) -> bytes:
    """A METADATA (or PKG-INFO) file."""
    lines = [f"Metadata-Version: {metadata_version}", f"Name: {name}", f"Version: {version}", "Summary: A package made for a test."]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    for extra, requirements in (extras or {}).items():
        lines += [f"Provides-Extra: {extra}"]
        lines += [f"Requires-Dist: {_under_extra(requirement, extra)}" for requirement in requirements]
    return ("\n".join(lines) + "\n").encode()


def _under_extra(requirement: str, extra: str) -> str:
    head, semicolon, marker = requirement.partition(";")
    own = f'extra == "{extra}"'
    return f"{head.strip()} ; ({marker.strip()}) and {own}" if semicolon else f"{head.strip()} ; {own}"


def wheel(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extras: Extras | None = None,
    tag: str = "py3-none-any",
    files: Mapping[str, str | bytes] | None = None,
    entry_points: Mapping[str, str] | None = None,
) -> Archive:
    """A wheel whose module (the name with ``_``) has ``__version__``.

    `files` adds or replaces files by path inside the wheel; `entry_points` maps console script names to ``module:function``.
    """
    module = normalized(name).replace("-", "_")
    dist_info = f"{module}-{version}.dist-info"
    metadata = core_metadata(name, version, requires=requires, requires_python=requires_python, extras=extras)
    content: dict[str, bytes] = {f"{module}/__init__.py": f'__version__ = "{version}"\n'.encode()}
    content |= {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
    content[f"{dist_info}/METADATA"] = metadata
    content[f"{dist_info}/WHEEL"] = _wheel_file(tag)
    if entry_points:
        scripts = "".join(f"{script} = {target}\n" for script, target in entry_points.items())
        content[f"{dist_info}/entry_points.txt"] = f"[console_scripts]\n{scripts}".encode()
    content[f"{dist_info}/RECORD"] = _record(content, dist_info)
    return Archive(name, version, f"{module}-{version}-{tag}.whl", _zipped(content), requires_python, metadata)


def _wheel_file(tag: str) -> bytes:
    interpreters, abis, platforms = (part.split(".") for part in tag.split("-"))
    tags = [f"Tag: {python}-{abi}-{platform}" for python in interpreters for abi in abis for platform in platforms]
    pure = "true" if platforms == ["any"] else "false"
    return "\n".join(["Wheel-Version: 1.0", "Generator: lading-tests", f"Root-Is-Purelib: {pure}", *tags, ""]).encode()


def _record(content: Mapping[str, bytes], dist_info: str) -> bytes:
    lines = []
    for path, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(data)}")
    return ("\n".join([*lines, f"{dist_info}/RECORD,,"]) + "\n").encode()


def _zipped(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            info = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def sdist(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extras: Extras | None = None,
    files: Mapping[str, str | bytes] | None = None,
    fails_with: str | None = None,
    static: bool = True,
) -> Archive:
    """A source distribution that builds without an index: its build backend lies inside it and needs nothing.

    `fails_with` makes the build print that text and fail. With `static` False the metadata can be had by building only.
    """
    module = normalized(name).replace("-", "_")
    root = f"{module}-{version}"
    version_of_metadata = "2.2" if static else "2.1"
    tree = project(name, version, requires=requires, requires_python=requires_python, extras=extras, files=files, fails_with=fails_with)
    info = core_metadata(
        name, version, requires=requires, requires_python=requires_python, extras=extras, metadata_version=version_of_metadata
    )
    content = {f"{root}/PKG-INFO": info, **{f"{root}/{path}": text.encode() for path, text in tree.items()}}
    return Archive(name, version, f"{root}.tar.gz", _tarred(content), requires_python)


def project(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extras: Extras | None = None,
    files: Mapping[str, str | bytes] | None = None,
    fails_with: str | None = None,
) -> dict[str, str]:
    """The files of a source tree that builds without an index, by path: to be written into a folder."""
    built = wheel(name, version, requires=requires, requires_python=requires_python, extras=extras, files=files)
    module = normalized(name).replace("-", "_")
    backend = (
        _FAILING_BACKEND.format(message=fails_with)
        if fails_with
        else _BACKEND.format(
            filename=built.filename, dist_info=f"{module}-{version}.dist-info", content=base64.b64encode(built.content).decode()
        )
    )
    return {"pyproject.toml": _PYPROJECT, "own_backend.py": backend, f"{module}/__init__.py": f'__version__ = "{version}"\n'}


_PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "own_backend"\nbackend-path = ["."]\n'

_BACKEND = """import base64, io, os, zipfile

WHEEL = {filename!r}
DIST_INFO = {dist_info!r}
CONTENT = base64.b64decode({content!r})


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open(os.path.join(wheel_directory, WHEEL), "wb") as stream:
        stream.write(CONTENT)
    return WHEEL


build_editable = build_wheel


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        archive.extractall(metadata_directory, [name for name in archive.namelist() if name.startswith(DIST_INFO)])
    return DIST_INFO


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
"""

_FAILING_BACKEND = """import sys


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print({message!r}, file=sys.stderr)
    raise SystemExit(1)


build_editable = build_wheel
"""


def _tarred(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in content.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), 0o644, 1_577_836_800
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)

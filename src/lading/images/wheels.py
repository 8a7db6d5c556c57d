"""What a wheel becomes when it is installed (the binary distribution format's rules), without installing it.

uv and pip write the same files, but for RECORD, INSTALLER and the scripts, which name the place of the environment.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, field

_INSTALLER = b"lading\n"
_SCRIPT = """\
#!{python}
import sys

from {module} import {first}

if __name__ == "__main__":
    sys.exit({call}())
"""
_ENTRY = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<object>[\w.]+)\s*(?:\[.*\])?")
_UNSIGNED = ("RECORD.jws", "RECORD.p7s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an environment lies in the image: its folder (without a slash at the front) and its Python (``3.11``)."""

    prefix: str
    python: str

    @property
    def site(self) -> str:
        """The folder of its packages."""
        return f"{self.prefix}/lib/python{self.python}/site-packages"

    @property
    def interpreter(self) -> str:
        """Its Python, absolute."""
        return f"/{self.prefix}/bin/python"

    def key(self) -> str:
        """What of it decides about a layer's bytes."""
        return f"{self.prefix} {self.python}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of the image: copied from the wheel (``info``), or made here (``content``)."""

    path: str
    info: zipfile.ZipInfo | None = None
    content: bytes = b""
    executable: bool = False

    @property
    def mode(self) -> int:
        """Its permissions."""
        return 0o755 if self.executable else 0o644


@dataclass(slots=True)
class Unpacked:
    """A wheel's files as the image has them, sorted by path. ``name`` and ``version`` are the distribution's own."""

    name: str
    version: str
    members: list[Member] = field(default_factory=list)


def read_wheel(archive: zipfile.ZipFile, filename: str, place: Place, direct_url: bytes | None = None) -> Unpacked:
    """Work out what a wheel becomes.

    Raises:
        LadingError: if it is no wheel, or a file of it would land outside of the environment.
    """
    infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    info_folder = _dist_info(infos, filename)
    name, version = _identity(info_folder)
    found: dict[str, Member] = {}
    for path, info in infos.items():
        member = _member(archive, path, info, info_folder, place, filename)
        if member is not None:
            found[member.path] = member
    for member in _scripts(archive, infos, info_folder, place, filename):
        found[member.path] = member
    site = f"{place.site}/{info_folder}"
    found[f"{site}/INSTALLER"] = Member(path=f"{site}/INSTALLER", content=_INSTALLER)
    if direct_url is not None:
        found[f"{site}/direct_url.json"] = Member(path=f"{site}/direct_url.json", content=direct_url)
    record = f"{site}/RECORD"
    found.pop(record, None)
    found[record] = Member(path=record, content=_record(archive, infos, info_folder, found, place, record))
    return Unpacked(name, version, sorted(found.values(), key=lambda member: member.path.encode()))


def _dist_info(infos: Mapping[str, zipfile.ZipInfo], filename: str) -> str:
    folders = {path.split("/", 1)[0] for path in infos if path.split("/", 1)[0].endswith(".dist-info")}
    named = [folder for folder in folders if f"{folder}/METADATA" in infos or f"{folder}/WHEEL" in infos]
    if len(named) != 1:
        raise LadingError(_unfit(filename, "it has no folder .dist-info with METADATA" if not named else "it holds two distributions"))
    return named[0]


def _identity(info_folder: str) -> tuple[str, str]:
    name, _, version = info_folder.removesuffix(".dist-info").partition("-")
    return re.sub(r"[-_.]+", "-", name).lower(), version


def _member(archive: zipfile.ZipFile, path: str, info: zipfile.ZipInfo, info_folder: str, place: Place, filename: str) -> Member | None:
    if path in {f"{info_folder}/{name}" for name in (*_UNSIGNED, "direct_url.json")}:
        return None
    stem = info_folder.removesuffix(".dist-info")
    target, script = f"{place.site}/{path}", False
    if path.startswith(f"{stem}.data/"):
        kind, _, rest = path.removeprefix(f"{stem}.data/").partition("/")
        script = kind == "scripts"
        target = f"{_scheme(kind, place, stem, filename)}/{rest}"
    if ".." in path.split("/") or path.startswith("/") or "\\" in path or "\0" in path:
        raise LadingError(_unfit(filename, f"the file {path!r} would land outside of the environment"))
    executable = script or bool(info.external_attr >> 16 & 0o111)
    if script:
        content = archive.read(info)
        rewritten = re.sub(rb"\A#!python(w?)(?=[ \t\r\n])", b"#!" + place.interpreter.encode(), content)
        if rewritten != content:
            return Member(path=target, content=rewritten, executable=True)
    return Member(path=target, info=info, executable=executable)


def _scheme(kind: str, place: Place, stem: str, filename: str) -> str:
    schemes = {
        "purelib": place.site,
        "platlib": place.site,
        "scripts": f"{place.prefix}/bin",
        "data": place.prefix,
        "headers": f"{place.prefix}/include/site/python{place.python}/{stem.partition('-')[0]}",
    }
    if kind not in schemes:
        raise LadingError(_unfit(filename, f"it holds files of the unknown kind {kind!r}"))
    return schemes[kind]


def _scripts(
    archive: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo], info_folder: str, place: Place, filename: str
) -> Iterable[Member]:
    info = infos.get(f"{info_folder}/entry_points.txt")
    if info is None:
        return
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    try:
        parser.read_string(archive.read(info).decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise LadingError(_unfit(filename, f"its entry_points.txt cannot be read ({str(error).splitlines()[0]})")) from error
    for group in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(group) if parser.has_section(group) else ():
            entry = _ENTRY.fullmatch(value.strip())
            if entry is None or "/" in name:
                raise LadingError(_unfit(filename, f"its entry point {name!r} cannot be read"))
            call = entry["object"]
            text = _SCRIPT.format(python=place.interpreter, module=entry["module"], first=call.partition(".")[0], call=call)
            yield Member(path=f"{place.prefix}/bin/{name}", content=text.encode(), executable=True)


def _record(
    archive: zipfile.ZipFile,
    infos: Mapping[str, zipfile.ZipInfo],
    info_folder: str,
    found: Mapping[str, Member],
    place: Place,
    own: str,
) -> bytes:
    """RECORD as an installer rewrites it: the wheel's own hashes where the file is copied, new ones for what is made here."""
    known = _known_hashes(archive, infos.get(f"{info_folder}/RECORD"))
    lines = [(_from_site(own, place), "", "")]
    for member in found.values():
        if member.info is None:
            digest, size = _hash(member.content), len(member.content)
        else:
            digest, size = known.get(member.info.filename) or _hash_member(archive, member.info), member.info.file_size
        lines.append((_from_site(member.path, place), digest, str(size)))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(lines))
    return text.getvalue().encode()


def _known_hashes(archive: zipfile.ZipFile, record: zipfile.ZipInfo | None) -> dict[str, str]:
    if record is None:
        return {}
    rows = csv.reader(io.StringIO(archive.read(record).decode("utf-8", "replace")))
    return {row[0]: row[1] for row in rows if len(row) >= 2 and row[1].startswith(("sha256=", "sha384=", "sha512="))}


def _hash(content: bytes) -> str:
    return _spelled(hashlib.sha256(content))


def _hash_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """For files that the wheel's RECORD does not name, and wheels without one."""
    digest = hashlib.sha256()
    with archive.open(info) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return _spelled(digest)


def _spelled(digest: hashlib._Hash) -> str:
    return "sha256=" + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _from_site(path: str, place: Place) -> str:
    if path.startswith(f"{place.site}/"):
        return path[len(place.site) + 1 :]
    up = "/".join([".."] * (len(PurePosixPath(place.site).parts) - len(PurePosixPath(place.prefix).parts)))
    return f"{up}/{path[len(place.prefix) + 1 :]}"


def _unfit(filename: str, why: str) -> Problem:
    return Problem(
        rule="wheel-damaged",
        what=f"{filename} cannot be put into an image: {why}.",
        why="It does not follow the wheel format.",
        instead="Choose another version of the package, or report it to its authors.",
        code=ExitCode.BUILD,
    )


def damaged(filename: str, path: str, why: str) -> Problem:
    """A wheel with the right hash whose own directory is wrong."""
    return _unfit(filename, f"{path}: {why}")

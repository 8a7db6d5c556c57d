"""Debian packages as files: what their scripts and triggers ask for, and their content as a layer.

A package may be put into an image without being installed only where installing it would do no more than that. What is not known to be so is
not: the scripts are read by a grammar of what does nothing in a new image, and everything else in one has to run.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lading.images.base import copy_entry
from lading.images.debian import fields_of
from lading.images.layers import LayerWriter
from lading.images.tar import Entry
from lading.model.records import dataclass, replace

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ACTIONS = {"preinst": "install", "postinst": "configure"}
"""What dpkg calls each script with where the package was not there before; the second argument is empty then."""
_SHELL = re.compile(r"#! ?/bin/(ba|da)?sh( -e)?")
_PLAIN = r"[\w./:+~@%,=\\-]"
_ARGUMENT = rf'(?:"?\$[12@]"?|\'?{_PLAIN}*\'?|"{_PLAIN}*")'
_ONE_TEST = rf"(?:\[ (?:! )?(?:-[nzdefhxLs] )?{_ARGUMENT}(?: (?:!?=|-o|-a) (?:-[nz] )?{_ARGUMENT})* \]|(?:command -v|which) [\w.-]+(?: ?>/dev/null)?(?: ?2>&1)?)"
_TEST = rf"{_ONE_TEST}(?: (?:&&|\|\|) {_ONE_TEST})*"
_NOTHING = (
    # Caches and indexes that are made when they are needed, or that nothing needs: of the loader, of Python; the loader looks into the
    # folders of packages without its cache.
    r"(?:/sbin/)?ldconfig(?: \|\| true)?",
    rf"py3compile(?: {_PLAIN}+)*(?: \|\| true)?",
    rf"pypy3compile(?: {_PLAIN}+)*(?: \|\| true)?",
    rf"rm -f /var/cache/{_PLAIN}+(?: \|\| true)?",
    # It moves what older versions of the package have left, and does nothing where there was none.
    rf'dpkg-maintscript-helper (?:rm_conffile|mv_conffile|symlink_to_dir|dir_to_symlink)(?: {_PLAIN}+)* -- "\$@"',
    # What says that a script was called as it never is.
    r"""echo (?:"(?:[^"$`\\]|\\.|\$1)*"|'[^']*') (?:>&2|1>&2)""",
    r"exit 1",
    # The language's own.
    r":|true|set -e?u?|exit 0|then|else|fi|esac|;;",
    rf"if {_TEST}(?: ?; ?then)?",
    rf"elif {_TEST}(?: ?; ?then)?",
    r'case "?\$1"? in',
    r"[\w*|-]+\)(?: ?;;)?",
)
_HARMLESS = re.compile("|".join(f"(?:{one})" for one in _NOTHING))
_FOR_ANOTHER = re.compile(r'if (?:\[|test) "?\$1"? = "?([a-z-]+)"?(?: \])?(?: ?&&.*| ?; ?then|)')
"""The beginning of a part that is for one way of calling a script."""
_LOADER_FOLDERS = "etc/ld.so.conf.d/"
_SELF = frozenset(("usr", "etc", "var", "usr/bin", "usr/lib", "usr/share", "usr/sbin"))


@dataclass(frozen=True, slots=True)
class Deb:
    """One package file, fetched. ``scripts`` are those of its maintainer that would have to run, ``activates`` triggers of other packages.

    ``interests`` are the triggers that it waits for itself: paths, and names.
    """

    name: str
    version: str
    path: Path
    scripts: tuple[str, ...]
    activates: tuple[str, ...] = ()
    interests: tuple[str, ...] = ()


class MustRunError(Exception):
    """A package cannot be put there by its files alone; its text says why."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What dpkg of a base does with files that packages bring: ``triggers`` are paths (and names) that its packages wait for.

    ``diverted`` are files that it has rules for, ``removed`` packages that have left their configuration.
    """

    triggers: Mapping[str, str]
    diverted: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> Installed:
        """From ``var/lib/dpkg`` below a folder."""
        place = folder / "var/lib/dpkg"
        paths = [line.split()[:2] for line in _lines(place / "triggers" / "File") if len(line.split()) > 1]
        names = [(path.name, line) for path in sorted((place / "triggers").glob("[a-z]*")) for line in _lines(path)]
        triggers = {name.strip("/"): package.partition("/")[0] for name, package in (*paths, *names)}
        overridden = [line.split()[-1] for line in _lines(place / "statoverride") if line.split()]
        diverted = frozenset(path.strip("/") for path in (*_lines(place / "diversions"), *overridden))
        name, removed = "", set()
        for line in _lines(place / "status"):
            name = line.removeprefix("Package: ") if line.startswith("Package: ") else name
            removed |= {name} if line.startswith("Status: ") and line.endswith(" config-files") else set()
        return cls(triggers, diverted, frozenset(removed))

    def why_not_by_files(self, debs: Sequence[Deb]) -> str:
        """Why these packages cannot be put there by their files alone, as far as that is known before they are opened; else nothing."""
        needing = [deb.name for deb in debs if deb.scripts or deb.name in self.removed]
        if needing:
            more = f" and {len(needing) - 3} more" if len(needing) > 3 else ""
            return f"{', '.join(needing[:3])}{more} {'has' if len(needing) == 1 else 'have'} scripts that must run"
        for deb in debs:
            triggers = self.beside(deb, debs).triggers
            waiting = next((triggers[name] for name in deb.activates if name in triggers), None)
            if waiting:
                return f"{waiting} has work to do when {deb.name} is installed"
        return ""

    def beside(self, deb: Deb, debs: Sequence[Deb]) -> Installed:
        """What dpkg does with one package's files where others are added with it: what waits for its own is configured after them anyway."""
        added = {name: other.name for other in debs if other.name != deb.name for name in other.interests}
        return replace(self, triggers={**added, **self.triggers})

    def require_no_work(self, path: str) -> None:
        """Raise for a file that something has to be done about.

        Raises:
            MustRunError: naming the package that waits for it.
        """
        if path.startswith(_LOADER_FOLDERS):
            raise MustRunError(f"/{path} names folders of libraries, which ldconfig has to read")
        if path in self.diverted:
            raise MustRunError(f"the base has its own rule for /{path}")
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            waiting = self.triggers.get("/".join(parts[:count]))
            if waiting:
                raise MustRunError(f"{waiting} has work to do about /{path}")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def look(path: Path) -> Deb:
    """A package's name, the scripts of it that do more than what a new image can do without, and what triggers it activates or waits for.

    Raises:
        MustRunError: if dpkg-deb of this machine, which may be older than the base, cannot read it.
    """
    with tempfile.TemporaryDirectory(prefix="lading-deb-") as folder:
        if subprocess.run(["dpkg-deb", "--control", str(path), folder], capture_output=True, check=False).returncode:
            raise MustRunError(f"dpkg-deb of this machine cannot read {path.name}")
        control = (Path(folder) / "control").read_text(encoding="utf-8")
        scripts = tuple(
            name for name, action in _ACTIONS.items() if (Path(folder) / name).is_file() and has_work(Path(folder, name), action)
        )
        triggers = [line.split() for line in _lines(Path(folder) / "triggers")]
    fields = fields_of(control)
    named = [(words[0], words[1].strip("/")) for words in triggers if len(words) == 2]
    activates = tuple(sorted({name for kind, name in named if kind.startswith("activate")} - {"ldconfig"}))
    interests = tuple(sorted({name for kind, name in named if kind.startswith("interest")}))
    return Deb(fields["Package"], fields["Version"], path, scripts, activates, interests)


def has_work(script: Path, action: str) -> bool:
    """Whether a script of a maintainer may do anything when dpkg calls it so; all that is not understood may."""
    lines = script.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or not _SHELL.fullmatch(lines[0].rstrip()):
        return True
    try:
        return any(not _HARMLESS.fullmatch(line) for line in _called(lines[1:], action))
    except ValueError:
        return True


def _called(lines: Iterable[str], action: str) -> Iterator[str]:
    """The commands of a script, without the parts that are for another way of calling it.

    Raises:
        ValueError: if it cannot be told where such a part ends.
    """
    depth, tested = 0, True
    for line in (line.split("#")[0].strip() if line.lstrip().startswith("#") else line.strip() for line in lines):
        if not line:
            continue
        if depth:
            if not tested and "||" in line:
                raise ValueError(line)
            depth, tested = depth + _deeper(line), tested or line.endswith("then")
            continue
        found = _FOR_ANOTHER.fullmatch(line)
        if found and found[1] != action and not line.endswith("fi") and "||" not in line:
            depth, tested = 1, line.endswith("then")
            continue
        yield line
    if depth:
        raise ValueError("an if without its end")


def _deeper(line: str) -> int:
    """By how much a line of a part that is left out nests."""
    words = line.replace(";", " ; ").split()
    if "<<" in line or not {"else", "elif"}.isdisjoint(words) or ("fi" in words and words != ["fi"]):
        raise ValueError(line)
    return 1 if words[0] == "if" else -1 if words == ["fi"] else 0


def write_debs(writer: LayerWriter, debs: Sequence[Deb], installed: Installed, links: Iterable[str]) -> None:
    """The files of all packages, and for each a record that scanners read (``status.d``, as in distroless images).

    ``links`` are those at the top of the base.

    Raises:
        MustRunError: if a file needs more than to be put there.
    """
    merged = tuple(name for name in _MERGED if name in links)
    folders: set[str] = set()
    for deb in sorted(debs, key=lambda one: one.name):
        known = installed.beside(deb, debs)
        with _files_of(deb) as archive:
            for entry in archive:
                _write_entry(writer, archive, entry, merged, folders, known)
        status = subprocess.run(["dpkg-deb", "--field", str(deb.path)], capture_output=True, check=True).stdout
        content = status.rstrip() + b"\nStatus: install ok installed\n"
        writer.file(Entry(path=f"var/lib/dpkg/status.d/{deb.name}", size=len(content)), content)


@contextmanager
def _files_of(deb: Deb) -> Iterator[tarfile.TarFile]:
    """A package's files, to be read to the end.

    Raises:
        MustRunError: if dpkg-deb cannot unpack it, which it may say only after whole files.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(deb.path)]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                yield archive
            while process.stdout.read(1 << 20):  # what follows the last file: it must not fail for a closed pipe
                pass
            failed = process.wait()
    except tarfile.TarError as error:
        raise MustRunError(f"dpkg-deb of this machine cannot unpack {deb.path.name}") from error
    if failed:
        raise MustRunError(f"dpkg-deb of this machine cannot unpack {deb.path.name}")


def _write_entry(
    writer: LayerWriter, archive: tarfile.TarFile, entry: tarfile.TarInfo, merged: Sequence[str], folders: set[str], installed: Installed
) -> None:
    path = entry.name.removeprefix("./").strip("/")
    name = _moved(path, merged)
    if not name or (name.startswith(("usr/share/doc/", "usr/share/man/", "usr/share/lintian/")) and not name.endswith("/copyright")):
        return
    if entry.isdir():
        if name in folders or name in _SELF:
            return  # the base's own stay as they are
        folders.add(name)
    else:
        installed.require_no_work(path)
        installed.require_no_work(name)
    entry.mtime, entry.uname, entry.gname = 0, "", ""
    if entry.islnk():
        entry.linkname = _moved(entry.linkname.removeprefix("./").strip("/"), merged)
    copy_entry(writer, archive, entry, name)


def _moved(name: str, merged: Iterable[str]) -> str:
    """``/lib/…`` is ``/usr/lib/…`` on a system with one ``/usr``: the link must not become a folder."""
    top = name.partition("/")[0]
    return f"usr/{name}" if top in merged else name

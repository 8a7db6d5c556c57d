"""The record of what an installed environment was made from, and the check that nothing of it has changed.

A ``lading install`` with nothing to do must cost little more than starting Python, so this module imports only ``os`` and ``sys``; its file is
lines of tab-separated fields, read without a parser. Files are compared by their status (size, times, inode) first, and by
content where that differs. Whatever is odd about a stamp (truncated, another version, unreadable) means: not fresh.
"""

from __future__ import annotations

import os
import sys

from lading import __version__
from lading.environments.home import STAMPS, home

TYPE_CHECKING = False  # typing's own constant, without importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FORMAT = "1"
STORED = "lading.json"  # the file that makes a folder of the store a finished environment

# Variables that say where packages come from. Values are kept as salted hashes: they may hold passwords.
VARIABLES = (
    "PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_NO_INDEX",
    "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX", "UV_INDEX_URL", "UV_NO_INDEX", "UV_PYTHON",
)  # fmt: skip

_UNSURE = "0 0 0 0"  # no file has this status, so the content is compared
_MISSING = "missing"


class Inputs:
    """Every path that was read or looked for, with what was found. The last record about a path counts."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def add_file(self, path: str, status: os.stat_result | None, sha256: str, read_at: int) -> None:
        """A file was read at ``read_at`` (nanoseconds since 1970). Without a status its content is compared every time."""
        known = _UNSURE if status is None or _is_racy(status, read_at) else _status(status)
        self._put("file", path, known, sha256)

    def add_missing(self, path: str) -> None:
        """There was no such file."""
        self._put("file", path, _MISSING, "")

    def add_folder(self, path: str, status: os.stat_result | None, names: Sequence[str], read_at: int) -> None:
        """A folder's entries were looked at; None and nothing when it is not there."""
        known = _MISSING if status is None else _UNSURE if _is_racy(status, read_at) else _status(status)
        self._put("folder", path, known, _hash("\0".join(names)))

    def add_kind(self, path: str, *, is_folder: bool) -> None:
        """It was asked whether a path is a folder."""
        self._put("kind", path, "folder" if is_folder else "other", "")

    def add_program(self, path: str) -> None:
        """A program was relied on: any change of its file counts, its content is never read."""
        try:
            known = _status(os.stat(path))
        except OSError:
            known = _MISSING
        self._put("program", path, known, "")

    def add_tree(self, path: str) -> None:
        """A folder whose sources were built into the environment: a change of any of them counts."""
        self._put("tree", path, _tree(path), "")

    def _put(self, kind: str, path: str, known: str, digest: str) -> None:
        self._lines[kind, path] = f"{kind}\t{_escape(path)}\t{known}\t{digest}"

    def lines(self) -> list[str]:
        """One line for each record."""
        return list(self._lines.values())


class Stamp:
    """What a fresh stamp says: the environment of each variant (the empty name first), and the note left with it."""

    __slots__ = ("environments", "note")

    def __init__(self, environments: dict[str, str], note: str) -> None:
        self.environments = environments
        self.note = note

    @property
    def environment(self) -> str:
        """The first environment's path."""
        return next(iter(self.environments.values()))


def stamp_path(root: str, options: Sequence[str], store: str | None = None) -> str:
    """Where the stamp of a project, used with these options, is kept."""
    return os.path.join(store or home(), STAMPS, _name(_identity(root, options)))


def save(
    root: str,
    options: Sequence[str],
    inputs: Inputs,
    environments: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    variables: Iterable[str] = (),
    note: str = "",
    store: str | None = None,
) -> None:
    """Remember that ``environments`` (path by variant) are what ``inputs`` lead to.

    Args:
        root: The project's folder, absolute.
        options: What the user asked for, as texts; another sequence is another stamp.
        inputs: Everything that was read.
        environments: The environments, finished and in the store.
        environ: The process's variables.
        variables: Names of variables that matter beside `VARIABLES`, such as those that files refer to.
        note: Any text, given back by `find_fresh`.
        store: The store's folder; by default `home`.

    A stamp that cannot be written is no error: the next run merely takes the long way.
    """
    identity = _identity(root, options)
    named = sorted({*VARIABLES, *variables})
    lines = [f"identity\t{_escape(identity)}", f"note\t{_escape(note)}"]
    lines += [f"environment\t{_escape(variant)}\t{_escape(path)}" for variant, path in sorted(environments.items())]
    lines += [f"variable\t{name}\t{_variable(root, environ.get(name))}" for name in named]
    _write(stamp_path(root, options, store), [*lines, *inputs.lines()])


def find_fresh(root: str, options: Sequence[str], *, environ: Mapping[str, str] | None = None, store: str | None = None) -> Stamp | None:
    """The stamp of a project if nothing it depends on has changed and its environments are there; else None. Never raises.

    A file whose status changed but whose content did not (a fresh checkout) gets its new status remembered.
    """
    path = stamp_path(root, options, store)
    try:
        lines = _read(path)
        if lines is None or lines[0] != f"identity\t{_escape(_identity(root, options))}":
            return None
        check = _Check(root, os.environ if environ is None else environ)
        kept = [check.line(line) for line in lines]
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    if None in kept or not check.environments:
        return None
    if kept != lines:
        _write(path, [line for line in kept if line is not None])
    return Stamp(check.environments, check.note)


def inputs_of(root: str, options: Sequence[str], store: str | None = None) -> list[tuple[str, str]]:
    """What the last stamp of a project was made from: kinds (``file``, ``folder``, ``tree``, ...) and paths; nothing where there is none."""
    try:
        lines = _read(stamp_path(root, options, store)) or []
    except OSError:
        return []
    found = [line.split("\t") for line in lines]
    return [(fields[0], _unescape(fields[1])) for fields in found if fields[0] in ("file", "folder", "kind", "program", "tree")]


def is_fresh(root: str, options: Sequence[str], *, environ: Mapping[str, str] | None = None, store: str | None = None) -> str | None:
    """The environment's path if `find_fresh` finds nothing changed, else None."""
    stamp = find_fresh(root, options, environ=environ, store=store)
    return stamp.environment if stamp else None


def forget_removed(store: str) -> None:
    """Delete the stamps that lead to environments that are not there any more, or that cannot be read."""
    folder = os.path.join(store, STAMPS)
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for path in [os.path.join(folder, name) for name in names]:
        try:
            lines = _read(path) or []
        except OSError:
            continue
        places = [_unescape(line.split("\t")[2]) for line in lines if line.startswith("environment\t")]
        if not places or not all(os.path.exists(os.path.join(place, STORED)) for place in places):
            _discard(path)


def list_folder(path: str) -> list[str]:
    """Names in a folder, sorted, folders with ``/`` at the end; without ``__pycache__``, which is no part of any project.

    Raises:
        OSError: if there is no such folder, or it may not be read.
    """
    with os.scandir(path) as entries:
        names = [entry.name + "/" if entry.is_dir() else entry.name for entry in entries]
    return sorted(name for name in names if name != "__pycache__/")


class _Check:
    """Goes through a stamp's lines. A line that still holds comes back, with a newer status if need be; else None."""

    __slots__ = ("_environ", "_root", "environments", "note")

    def __init__(self, root: str, environ: Mapping[str, str]) -> None:
        self._root = root
        self._environ = environ
        self.environments: dict[str, str] = {}
        self.note = ""

    def line(self, line: str) -> str | None:
        kind, *fields = line.split("\t")
        holds = getattr(self, "_" + kind)(*fields)
        return line if holds is True else holds or None

    def _identity(self, _text: str) -> bool:
        return True

    def _note(self, text: str) -> bool:
        self.note = _unescape(text)
        return True

    def _environment(self, variant: str, path: str) -> bool:
        place = self.environments[_unescape(variant)] = _unescape(path)
        return os.path.exists(os.path.join(place, STORED)) and os.path.exists(os.path.join(place, "bin", "python"))

    def _variable(self, name: str, known: str) -> bool:
        return known == _variable(self._root, self._environ.get(name))

    def _file(self, escaped: str, known: str, sha256: str) -> bool | str:
        path, read_at = _unescape(escaped), _now()
        try:
            status = os.stat(path)
        except OSError:
            return known == _MISSING
        if known == _MISSING or known == _status(status):
            return known != _MISSING
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as stream:
            if _hash(stream.read()) != sha256:
                return False
        return f"file\t{escaped}\t{_UNSURE if _is_racy(status, read_at) else _status(status)}\t{sha256}"

    def _folder(self, escaped: str, known: str, digest: str) -> bool | str:
        path, read_at = _unescape(escaped), _now()
        try:
            status = os.stat(path)
        except OSError:
            return known == _MISSING
        if known == _MISSING or known == _status(status):
            return known != _MISSING
        if _hash("\0".join(list_folder(path))) != digest:
            return False
        return f"folder\t{escaped}\t{_UNSURE if _is_racy(status, read_at) else _status(status)}\t{digest}"

    def _kind(self, escaped: str, known: str, _digest: str) -> bool:
        return known == ("folder" if os.path.isdir(_unescape(escaped)) else "other")

    def _program(self, escaped: str, known: str, _digest: str) -> bool:
        return known == _status(os.stat(_unescape(escaped)))

    def _tree(self, escaped: str, known: str, _digest: str) -> bool:
        return known == _tree(_unescape(escaped))


def _status(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _is_racy(status: os.stat_result, read_at: int) -> bool:
    """Whether a change right after reading could leave the same times: clocks of file systems tick in steps.

    Linux stamps files in ticks of up to 10 ms; file systems that keep whole seconds (or two) show no fraction.
    """
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    step = 20_000_000 if changed % 1_000_000_000 else 2_500_000_000
    return changed >= read_at - step


def _now() -> int:
    import time  # noqa: PLC0415 -- built in, and cheap

    return time.time_ns()


def _identity(root: str, options: Sequence[str]) -> str:
    """Everything that makes two stamps different ones, the machine's kind included: a home may be shared between machines."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        libc = ""
    return "\0".join([FORMAT, __version__, sys.platform, os.uname().machine, libc, root, *options])


def _name(text: str) -> str:
    """A file name for a text: 64-bit FNV-1a, as hashlib costs milliseconds to load. The stamp holds the text itself as well."""
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8", "surrogateescape"):
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def _variable(root: str, value: str | None) -> str:
    return "" if value is None else _hash(f"{root}\0{value}")[:16]


def _hash(content: str | bytes) -> str:
    import hashlib  # noqa: PLC0415 -- 2 ms, and mostly not needed

    return hashlib.sha256(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content).hexdigest()


def _tree(path: str) -> str:
    from lading.environments.sources import status_digest  # noqa: PLC0415 -- only for projects that install a folder

    return status_digest(path)


def _escape(text: str) -> str:
    if not any(character in text for character in "\\\t\n\r\0"):
        return text
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\0")


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    parts = [part.replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r").replace("\\0", "\0") for part in text.split("\\\\")]
    return "\\".join(parts)


def _read(path: str) -> list[str] | None:
    """The stamp's lines without the last, which counts them; None when the file is not whole."""
    with open(path, "rb") as stream:
        lines = stream.read().decode("utf-8", "surrogateescape").split("\n")
    if len(lines) < 3 or lines[-1] != "" or lines[-2] != f"end\t{len(lines) - 2}":
        return None
    return lines[:-2]


def _write(path: str, lines: list[str]) -> None:
    text = "\n".join([*lines, f"end\t{len(lines)}", ""])
    aside = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))
        os.replace(aside, path)
    except OSError:
        _discard(aside)


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return

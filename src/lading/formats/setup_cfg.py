"""``setup.cfg``: setuptools' static metadata (https://setuptools.pypa.io/en/latest/userguide/declarative_config.html)."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Mapping

from lading.formats._optional import Extras, without_parts, written_names
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._python import specifier_request
from lading.formats._requirement import read_pep508
from lading.formats._setuptools import read_listed
from lading.formats._text import read_text
from lading.formats._together import conflicting_pins
from lading.model.files import ProjectFiles
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.requirements import Declaration, Declared
from lading.model.selection import DEFAULT, Selection

name = "setup.cfg"

_MARKER = re.compile(r";\s*\(*\s*(python_|sys_platform|os_name|platform_|implementation_|extra\b|['\"])")
_OPTION = re.compile(r"^(install_requires|python_requires)\s*[:=]", re.MULTILINE)


def recognises(path: str) -> bool:
    """Whether a file's name is setuptools'."""
    return path.rsplit("/", 1)[-1] == name


def declares(path: str, files: ProjectFiles) -> bool:
    """Whether the file says what the project needs; most only configure tools.

    Raises:
        LadingError: if its text cannot be read.
    """
    return bool(_OPTION.search(read_text(path, files)))


def parse(
    path: str,
    files: ProjectFiles,
    environ: Mapping[str, str] = NO_VARIABLES,  # noqa: ARG001 -- the seam's signature
    selection: Selection = DEFAULT,
) -> Declaration:
    """Read ``install_requires`` and ``python_requires`` of ``[options]``.

    Raises:
        LadingError: with every problem of the file.
    """
    text = read_text(path, files)
    options = _options(path, text)
    problems = ProblemCollector()
    requirements: list[Declared] = []
    read = [path]
    written = options.get("install_requires", "")
    line = _line(text, "install_requires")
    if written.strip().startswith("file:"):
        paths = [one.strip() for one in re.split(r"[,\n]", written.strip().removeprefix("file:")) if one.strip()]
        folder = path.rpartition("/")[0]
        read += [f"{folder}/{one}".lstrip("/") for one in paths]
        with problems.catching():
            requirements += read_listed(paths, Origin(path, line), files)
    else:
        requirements += _requirements(path, _items(text, written, line), files, problems)
    with problems.catching():
        requirements += _extras(path, text, files, selection)
    python = None
    asked = options.get("python_requires", "").strip()
    if asked:
        with problems.catching():
            origin = Origin(path, _line(text, "python_requires"))
            python = specifier_request(asked, origin, what="python_requires", example="python_requires = >=3.10")
    problems.add(*conflicting_pins(requirements))
    problems.raise_if_any()
    return Declaration(format=name, path=path, read=tuple(read), requirements=tuple(dict.fromkeys(requirements)), python=python)


def _extras(path: str, text: str, files: ProjectFiles, selection: Selection) -> list[Declared]:
    """The requirements of the extras that are wanted (``[options.extras_require]``)."""
    if not selection:
        return []
    if selection.groups:
        raise without_parts(Selection(groups=selection.groups), path)
    listed = _options(path, text, "options.extras_require")
    problems = ProblemCollector()
    itself = canonical(_options(path, text, "metadata").get("name", ""))

    def read(extra: str) -> list[Declared]:
        return _requirements(path, _items(text, listed[extra], _line(text, extra)), files, problems)

    extras = Extras(path=path, itself=itself, written=tuple(listed), read=read)
    wanted = written_names(selection.extras, listed, "extra", path)
    found = [one for extra in wanted for one in extras.requirements(extra, problems)]
    problems.raise_if_any()
    return found


def _requirements(path: str, items: Iterable[tuple[str, int]], files: ProjectFiles, problems: ProblemCollector) -> list[Declared]:
    found = []
    for one, at in items:
        with problems.catching():
            found.append(read_pep508(one, Place(one, Origin(path, at), files, folder=path.rpartition("/")[0])))
    return found


def _options(path: str, text: str, section: str = "options") -> Mapping[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text, path)
    except configparser.Error as error:
        raise LadingError(
            Problem(
                rule="setup-cfg-invalid",
                what=f"{path} cannot be read.",
                origin=Origin(path, getattr(error, "lineno", None) or 1),
                why=f"It is an INI file: sections in brackets, then name = value. ({type(error).__name__})",
                instead="Correct the line.",
            )
        ) from error
    return dict(parser.items(section)) if parser.has_section(section) else {}


def _line(text: str, option: str) -> int:
    found = re.search(rf"^{option}\s*[:=]", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _items(text: str, written: str, line: int) -> list[tuple[str, int]]:
    """The lines of a value with their numbers; setuptools takes a value of one line with semicolons for a list too."""
    lines = text.splitlines()
    found = []
    at = line
    values = [value.partition(" #")[0].strip() for value in written.splitlines()]
    if len(values) == 1 and ";" in values[0] and not _MARKER.search(values[0]):
        values = [part.strip() for part in values[0].split(";")]
    for value in values:
        if not value or value.startswith("#"):
            continue
        at = next((number for number in range(at, len(lines) + 1) if value in lines[number - 1]), line)
        found.append((value, at))
    return found

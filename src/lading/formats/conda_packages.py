"""``conda-packages.txt``: Cortex's list of conda packages, in every shape that is found under that name.

* one specification a line (``rdkit``, ``conda-forge::numpy=1.26``): what ``conda install --file`` reads;
* ``conda list --export``: ``name=version=build`` with comments that tell the platform, and ``=pypi_0`` for what pip had installed;
* ``conda list`` as printed: a table of name, version, build and channel;
* ``@EXPLICIT``: the files of packages by URL, with hashes.

UTF-16 (a redirection in PowerShell) and CRLF are read. Packages that pip had installed are pip's here too: they become requirements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.formats._line import Include, Reader
from lading.formats._matchspec import SUBDIRS, read_spec
from lading.formats._place import NO_VARIABLES
from lading.formats._text import read_text
from lading.formats._together_conda import python_request
from lading.model.conda import CondaDependencies, CondaText, MatchSpec
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import dataclass, field
from lading.model.requirements import Declaration, Declared

name = "conda-packages.txt"

_PLATFORM = re.compile(r"#\s*platform:\s*(\S+)")
_EXPORT = re.compile(r"#\s*This file may be used to create an environment|#\s*platform:\s")
_TABLE = re.compile(r"#\s*(packages in environment at|Name\s+Version)")
_ROW = re.compile(r"(?P<name>\S+)\s+(?P<version>\S+)(?:\s+(?P<build>\S+))?(?:\s+(?P<channel>\S+))?")
_FROZEN = re.compile(r"(?P<name>[^\s=<>!]+)=(?P<version>[^\s=]+)=(?P<build>[^\s=]+)")
_PIP = ("pypi_0", "<pip>")


def recognises(path: str) -> bool:
    """Whether a file's name is that of a list of conda packages."""
    last = path.rsplit("/", 1)[-1]
    return last == name or re.fullmatch(r"conda-(linux|osx|win)-.*\.lock|(conda-)?spec-file.*\.txt", last) is not None


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:
    """Read a list of conda packages.

    Args:
        path: The file, relative to the project's root.
        files: The project.
        environ: The variables for ``${NAME}`` in channels.

    Raises:
        LadingError: with every problem of the file.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path, files).splitlines(), start=1)]
    reading = _Reading(path, files, environ, _shape([text for _, text in lines]))
    for number, text in lines:
        with reading.problems.catching():
            reading.line(text, number)
    reading.problems.raise_if_any()
    return reading.declaration()


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the whole file is written."""

    explicit: bool
    table: bool
    frozen: bool


def _shape(texts: list[str]) -> _Shape:
    content = [text for text in texts if text and not text.startswith("#")]
    table = any(_TABLE.match(text) for text in texts) or any(len(text.split()) == 4 and not re.search(r"[<>=!]", text) for text in content)
    frozen = any(_EXPORT.match(text) for text in texts) or (len(content) > 1 and all(_FROZEN.fullmatch(text) for text in content))
    return _Shape(explicit="@EXPLICIT" in content, table=table, frozen=frozen or table)


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    path: str
    files: ProjectFiles
    environ: Mapping[str, str]
    shape: _Shape
    specs: list[MatchSpec] = field(default_factory=list)
    routed: list[Declared] = field(default_factory=list)
    platform: str | None = None
    problems: ProblemCollector = field(default_factory=ProblemCollector)

    def line(self, text: str, number: int) -> None:
        """Read one line."""
        origin = Origin(self.path, number)
        if text.startswith("#"):
            found = _PLATFORM.match(text)
            if found and found[1] in SUBDIRS:
                self.platform = found[1]
            return
        text = re.sub(r"\s+#.*$", "", text)
        if not text or text == "@EXPLICIT":
            return
        if self.shape.table and not self.shape.explicit:
            self._row(text, origin)
        elif self.shape.explicit and "://" not in text:
            raise LadingError(_not_a_url(text, origin))
        else:
            self._spec(text, origin)

    def _spec(self, text: str, origin: Origin) -> None:
        found = _FROZEN.fullmatch(text)
        if found and found["build"] in _PIP:
            self._to_pip(found["name"], found["version"], text, origin)
            return
        spec = read_spec(text, origin, self.files, self.environ, frozen=self.shape.frozen and found is not None)
        self.specs.append(spec)

    def _row(self, text: str, origin: Origin) -> None:
        found = _ROW.fullmatch(text)
        if found is None or re.search(r"[<>!=]", re.sub(r"<(pip|develop)>", "", text)):
            self._spec(text, origin)
            return
        build, channel = found["build"] or "", found["channel"] or ""
        if build in _PIP or channel in ("pypi", "<pip>"):
            self._to_pip(found["name"], found["version"], text, origin)
            return
        if "<develop>" in (build, channel):
            raise LadingError(_developed(found["name"], origin))
        place = f"{channel}::" if channel and channel != "defaults" else ""
        exact = f"{place}{found['name']}=={found['version']}{f'={build}' if build else ''}"
        self.specs.append(read_spec(exact, origin, self.files, self.environ, raw=text, frozen=True))

    def _to_pip(self, package: str, version: str, text: str, origin: Origin) -> None:
        declared = Reader(self.files, self.environ).read(f"{package}=={version}", origin, raw=text)
        assert declared is not None
        assert not isinstance(declared, Include)
        self.routed.append(declared)

    def declaration(self) -> Declaration:
        """All of the file."""
        specs = tuple(dict.fromkeys(self.specs))
        decisions = [_routed(self.routed)] if self.routed else []
        return Declaration(
            format=name,
            path=self.path,
            read=(self.path,),
            requirements=tuple(self.routed),
            python=python_request(specs),
            conda=CondaDependencies(specs=specs, platform=self.platform, explicit=self.shape.explicit),
            decisions=tuple(decisions),
        )


def _routed(declared: list[Declared]) -> Decision:
    names = ", ".join(one.pep508 for one in declared)
    return Decision(
        rule="conda-list-pip-packages",
        kind=Kind.CHOSEN,
        subject="requirements",
        asked=f"{len(declared)} package{'' if len(declared) == 1 else 's'} marked as installed by pip",
        chose=f"pip requirements: {names}",
        because="no channel has them: the list was made where pip had installed them beside conda's packages",
        origin=declared[0].origin,
        instead="the lines in requirements.txt, and without pypi_0 here",
    )


def _not_a_url(text: str, origin: Origin) -> Problem:
    return Problem(
        rule="conda-spec-invalid",
        what=f"This line is no package's URL: {CondaText(text)}",
        origin=origin,
        why="After @EXPLICIT every line names a file, and nothing is solved.",
        instead="Make the list anew with `conda list --explicit`, or remove @EXPLICIT and list specifications.",
    )


def _developed(package: str, origin: Origin) -> Problem:
    return Problem(
        rule="conda-develop-package",
        what=f"{package} was installed in development mode from a folder, which the list does not tell.",
        origin=origin,
        why="No channel and no package index has it.",
        instead=f"Remove the line, and write -e ./FOLDER into requirements.txt if {package} is part of the project.",
    )

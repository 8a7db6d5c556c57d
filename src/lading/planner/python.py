"""Which Python: who asks for one, in which order, and whether they agree."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lading.formats import python_version
from lading.frameworks.names import are_declared
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.project import ProjectConfig
from lading.model.pythons import allows
from lading.model.records import dataclass, replace
from lading.model.requirements import Declaration
from lading.model.target import PythonRequest

if TYPE_CHECKING:
    from lading.frameworks.suited import Suited

_CANDIDATES = tuple(f"3.{minor}.{patch}" for minor in range(30) for patch in range(40))
_LOCKS = "pylock.lading"
_PREFIX = pattern(r"^(?:cpython|python)-?(?=\d)")  # as uv and shells name interpreters: cpython-3.11, python3.11
AUTO = "auto"
"""In place of a version: the newest Python that fits everything."""

ANY = PythonRequest(specifier="", text="", origin=Origin("nothing"))


@dataclass(frozen=True, slots=True)
class PythonChoice:
    """The request that rules, and the others that it must agree with.

    ``path`` is an interpreter that the user named. ``suited`` narrows a free choice to the Pythons that have wheels of what is pinned.
    ``fits`` says why the newest Python that fits was chosen (``--python auto``).
    """

    request: PythonRequest
    others: tuple[PythonRequest, ...] = ()
    path: str | None = None
    suited: Suited | None = None
    fits: str | None = None

    @property
    def specifier(self) -> str:
        """What every one of the requests allows."""
        parts = [request.specifier for request in (self.request, *self.others) if request.specifier]
        return ",".join(dict.fromkeys(parts))

    def decide(self, version: str) -> Decision:
        """The record of the interpreter that was chosen. It goes into the lock, so it names no place on this machine."""
        of_lock = self.request.origin.path.startswith(_LOCKS)
        asked = f"Python {self.request.text.strip()}"
        because = f"{self.request.origin} {'was made for' if of_lock else 'asks for'} it"
        if self.path:
            asked = "the interpreter that --python names"
        elif not self.request.specifier:
            asked = "no version of Python"
            because = "nothing in the project asks for one; the version that Lading runs on is preferred, then the newest"
        if self.suited:
            because = self.suited.because
        if self.fits:
            asked, because = "the newest Python that fits everything (--python auto)", self.fits
        return Decision(
            rule="python-chosen",
            kind=Kind.CHOSEN,
            subject="python",
            asked=asked,
            chose=f"Python {version}",
            because=because,
            origin=self._origin(),
            instead="--python 3.X, or a .python-version file",
        )

    def _origin(self) -> Origin | None:
        if self.suited:
            return self.suited.declared.origin
        return self.request.origin if self.path or self.request.specifier else None


def choose_python(
    config: ProjectConfig,
    declaration: Declaration | None,
    files: ProjectFiles,
    *,
    asked: str | None = None,
    locked: str | None = None,
    lock_path: str = "pylock.lading.toml",
) -> PythonChoice:
    """Find every request for a Python and put the strongest first.

    Order: ``--python``, the configuration, .python-version, the lock, the requires-python of a pyproject.toml and the ``[requires]`` of a
    Pipfile that are not the source, runtime.txt. The strongest must agree with the declaration's
    requires-python; a lock that does not is out of date, and asks for nothing.

    Args:
        config: The project's configuration.
        declaration: The declaration that counts.
        files: The project.
        asked: ``--python`` as given: a version, a specifier, an interpreter's path, or `AUTO`.
        locked: The Python of the existing lock, a full version.
        lock_path: That lock.

    Raises:
        LadingError: if two requests contradict each other, or one cannot be understood.
    """
    asked = None if asked == AUTO else asked
    if asked and ("/" in asked or "\\" in asked):
        return PythonChoice(PythonRequest(specifier="", text=asked, origin=Origin("--python")), path=asked)
    declared = declaration.python if declaration else None
    by_conda = declaration is not None and declaration.conda is not None
    if by_conda and declared is not None:
        # The Python in the list of conda packages rules: files that are for other tools do not count beside it.
        said = [request for request in (_from_command_line(asked) if asked else None, config.python) if request is not None]
        for request in said:
            _must_agree(request, declared)
        return PythonChoice(declared, tuple(said))
    requests = [
        _from_command_line(asked) if asked else None,
        config.python,
        _from_file(files, ".python-version"),
        _from_lock(locked, lock_path, declared, declaration),
        *(_from_ignored(files, declaration) if declared is None else ()),
        _from_file(files, "runtime.txt"),
    ]
    strong = [request for request in requests if request is not None]
    if not strong:
        return _with_wheels(PythonChoice(declared or ANY), declaration)
    first = strong[0]
    if declared is not None:
        _must_agree(first, declared)
    return PythonChoice(first, (declared,) if declared else ())


def with_newest(choice: PythonChoice, newest: PythonRequest) -> PythonChoice:
    """The choice settled on the newest Python that fits; what was asked for before holds as well."""
    return replace(choice, request=newest, others=(choice.request, *choice.others), suited=None, fits=newest.text)


def _with_wheels(choice: PythonChoice, declaration: Declaration | None) -> PythonChoice:
    """The choice narrowed to the Pythons that old releases of frameworks have wheels for, where nothing else settles it."""
    suited = _suited(declaration)
    if suited is None:
        return choice
    both = ",".join(part for part in (choice.specifier, suited.specifier) if part)
    if not any(allows(both, one) for one in _CANDIDATES):
        return choice
    request = PythonRequest(specifier=suited.specifier, text=suited.because, origin=suited.declared.origin)
    return replace(choice, others=(*choice.others, request), suited=suited)


def _suited(declaration: Declaration | None) -> Suited | None:
    """The Pythons with wheels of what is pinned; an index of the project's own may have wheels that no table knows."""
    if declaration is None or declaration.conda is not None:
        return None
    options = declaration.options
    own = options.index_url or options.extra_index_urls or options.find_links or options.no_index
    if own or not are_declared(declaration.requirements):
        return None
    from lading.frameworks.suited import suited_pythons  # noqa: PLC0415 -- with the tables, for those who declare a framework

    return suited_pythons(declaration.requirements)


def _from_command_line(text: str) -> PythonRequest:
    version = _PREFIX.sub("", text.strip())
    return PythonRequest(specifier=_specifier(version, Origin("--python")), text=version, origin=Origin("--python"))


def _specifier(text: str, origin: Origin) -> str:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 -- 10 ms, for what a command line names
    from packaging.version import Version  # noqa: PLC0415 -- as above

    try:
        if text[:1].isdigit():
            version = Version(text)
            open_ended = len(version.release) < 3 and not version.is_prerelease
            return f"=={text}.*" if open_ended else f"=={text}"
        return str(SpecifierSet(text))
    except ValueError as error:  # invalid versions and specifiers are such, and numbers of more digits than Python converts
        raise LadingError(
            Problem(
                rule="python-version-invalid",
                what=f'"{text[:60]}" is not a Python version.',
                origin=origin,
                why="A version is 3.11 or 3.11.7, a range is >=3.9,<3.12, and a path has a slash.",
                instead="Write --python 3.11.",
            )
        ) from error


def _from_file(files: ProjectFiles, path: str) -> PythonRequest | None:
    return None if files.read(path) is None else python_version.parse(path, files).python


def _from_ignored(files: ProjectFiles, declaration: Declaration | None) -> list[PythonRequest]:
    """What pyproject.toml and Pipfile ask for where another file, that asks for none, is the source. An unreadable one asks for nothing."""
    found = []
    for path, reader in (("pyproject.toml", "pyproject_toml"), ("Pipfile", "pipfile")):
        if files.read(path) is None or (declaration is not None and path in declaration.read):
            continue
        try:
            found.append(import_module(f"lading.formats.{reader}").python_of(path, files))
        except LadingError:
            continue
    return [request for request in found if request is not None]


def _from_lock(version: str | None, path: str, declared: PythonRequest | None, declaration: Declaration | None) -> PythonRequest | None:
    """The lock's Python, unless it is out of date: what is declared now asks for another, or has no wheels for it."""
    if version is None or (declared and not allows(declared.specifier, version)):
        return None
    suited = _suited(declaration)
    if suited is not None and not allows(suited.specifier, version):
        return None
    minor = ".".join(version.split(".")[:2])
    return PythonRequest(specifier=f"=={minor}.*", text=version, origin=Origin(path))


def _must_agree(first: PythonRequest, other: PythonRequest) -> None:
    both = ",".join(part for part in (first.specifier, other.specifier) if part)
    if any(allows(both, version) for version in _CANDIDATES):
        return
    raise LadingError(
        Problem(
            rule="python-requests-disagree",
            what=f'{first.origin} asks for Python "{first.text}", and {other.origin} for "{other.text}": no version is both.',
            origin=first.origin,
            instead=f"Change one of them; {other.origin} is what the project's own package declares.",
            code=ExitCode.RESOLUTION,
        )
    )

"""The files beside the dependency source: every one that declares or configures something is listed, with what became of it."""

from __future__ import annotations

from collections.abc import Mapping

from lading.formats import known
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.plan import Role, Source
from lading.model.project import Api, ProjectConfig, ProjectKind
from lading.model.requirements import Declaration, Via

_CONFIGURATIONS = ("cog.yaml", "cortex.yaml")
VERSION_FILES = (".python-version", "runtime.txt")
_BUILDS = ("pyproject.toml", "setup.cfg", "setup.py")


def list_others(
    config: ProjectConfig, declaration: Declaration | None, because: str, files: ProjectFiles, readers: Mapping[str, tuple[Api, ...]]
) -> tuple[Source, ...]:
    """What became of every known file in the project's folder that ``declaration`` does not read.

    ``because`` says why the declaration counts, ``readers`` which APIs use a file of another set. Files that name a Python are left
    to `version_sources`, as it is not chosen yet.
    """
    read = set(declaration.read) if declaration else set()
    sources = []
    for name in files.entries():
        entry = known.lookup(name)
        if entry is None or name in read or name in VERSION_FILES or name.startswith("pylock.lading"):
            continue
        used, reason = _became(entry, config, declaration, because, readers)
        sources.append(Source(path=name, role=Role.USED if used else Role.IGNORED, format=entry.what, because=reason))
    return tuple(sorted(sources, key=lambda source: source.role is Role.IGNORED))


def _became(
    entry: known.KnownFile, config: ProjectConfig, declaration: Declaration | None, because: str, readers: Mapping[str, tuple[Api, ...]]
) -> tuple[bool, str]:
    if entry.name == config.path:
        return True, "it is the project's configuration"
    if entry.name in _CONFIGURATIONS:
        return False, f"{config.path or 'a predictor'} was named instead"
    if entry.name in readers:
        return False, f"it is for {', '.join(api.name for api in readers[entry.name])}"
    itself = _line_of_the_project(declaration)
    if itself and entry.name in _BUILDS:
        return True, f"{itself} installs the project itself, which is built from it"
    if entry.declares:
        return False, (f"{declaration.path} counts: {because}" if declaration else f"this version of Lading does not read {entry.what}")
    if entry.name == "dependencies.sh" and config.kind is not ProjectKind.CORTEX:
        return False, "it is for Cortex, and this is no Cortex project"
    if entry.name in ("dependencies.sh", "postBuild"):
        return False, "a script is shown, and run only where you allow it"
    if entry.name.endswith(".txt") and "constraint" in entry.name:
        return False, f"nothing names it; a requirements file would, by -c {entry.name}"
    return False, f"{entry.what}, not used here"


def _line_of_the_project(declaration: Declaration | None) -> Origin | None:
    """The line (``.`` or ``-e .``) that installs the project's own package."""
    for declared in declaration.requirements if declaration else ():
        if declared.via is Via.PATH and (declared.path or "").rstrip("/") in (".", ""):
            return declared.origin
    return None


def version_sources(files: ProjectFiles, python: Decision | None) -> tuple[Source, ...]:
    """What became of the files that name a Python."""
    sources = []
    for path in VERSION_FILES:
        if files.read(path) is None:
            continue
        if python is None or (python.origin and python.origin.path == path):
            role, because = Role.USED, "it names the Python"
        else:
            role, because = Role.IGNORED, f"{python.origin or '--python'} names the Python, and comes first"
        sources.append(Source(path=path, role=role, format="a Python version", because=because))
    return tuple(sources)


def is_passed_over(source: Source, readers: Mapping[str, tuple[Api, ...]]) -> bool:
    """Whether a file declares packages that will not be installed, for no API."""
    entry = known.lookup(source.path)
    return source.role is Role.IGNORED and source.path not in readers and entry is not None and entry.declares


def ignored_advice(source: Source, declaration: Declaration, because: str) -> Decision:
    """Say that a file's packages are not installed, and how they would be."""
    return Decision(
        rule="source-ignored",
        kind=Kind.ADVICE,
        subject=source.path,
        asked=f"{source.path} declares dependencies too",
        chose=f"{declaration.path} alone",
        because=f"one source is installed, and {declaration.path} counts: {because}",
        origin=Origin(source.path),
        instead=_way_in(source.path, declaration),
    )


def _way_in(path: str, declaration: Declaration) -> str:
    if not path.endswith(".txt"):
        return f"move what is missing into {declaration.path}"
    if declaration.format == "cog.yaml":
        return f"python_requirements: {path} in {declaration.path}, in place of python_packages"
    return f"-r {path} in {declaration.path}" if declaration.path.endswith(".txt") else f"move what is missing into {declaration.path}"

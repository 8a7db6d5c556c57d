"""Which dependency file counts, which are ignored, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lading.formats import known, requirements_txt
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles, content_hash
from lading.model.origin import Origin
from lading.model.plan import Role, Source
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.project import Api, PathRef, ProjectConfig, ProjectKind
from lading.model.requirements import Declaration
from lading.planner.others import ignored_advice, is_passed_over, list_others

REQUIREMENTS = "requirements.txt"
PYPROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The declaration that counts for one set of APIs, with what became of every file that was found."""

    variant: str
    apis: tuple[Api, ...]
    declaration: Declaration | None
    sources: tuple[Source, ...]
    decisions: tuple[Decision, ...] = ()


def choose_sources(config: ProjectConfig, files: ProjectFiles, environ: Mapping[str, str]) -> tuple[Chosen, ...]:
    """Choose the dependency source for each set of APIs that share one.

    Order: what the configuration names, then requirements.txt, then pyproject.toml. One source is installed; the others are
    listed as ignored. A lock of another tool or a conda file that would come first, and that this version does not read, is a
    Problem rather than being passed over.

    Raises:
        LadingError: for unreadable or unsupported declarations, all of them at once.
    """
    problems, found = ProblemCollector(), []
    for variant, apis in _groups(config):
        with problems.catching():
            found.append((variant, apis, *_declaration(config, apis, files, environ)))
    problems.raise_if_any()
    readers = {path: apis for _variant, apis, declaration, _because in found if declaration for path in declaration.read}
    return tuple(
        Chosen(variant=variant, apis=apis, declaration=declaration, **_found_files(config, declaration, because, files, readers))
        for variant, apis, declaration, because in found
    )


def _groups(config: ProjectConfig) -> list[tuple[str, tuple[Api, ...]]]:
    """APIs that name the same pip file share an environment; the set with the default file is the unnamed variant."""
    by_path: dict[str, list[Api]] = {}
    for api in config.apis:
        path = api.dependencies.pip.path if api.dependencies.pip else REQUIREMENTS
        by_path.setdefault(path, []).append(api)
    if len(by_path) <= 1:
        return [("", config.apis)]
    return [("" if path == REQUIREMENTS else apis[0].name, tuple(apis)) for path, apis in by_path.items()]


def _declaration(
    config: ProjectConfig, apis: tuple[Api, ...], files: ProjectFiles, environ: Mapping[str, str]
) -> tuple[Declaration | None, str]:
    declaration, because = _explicit(config, apis, files, environ)
    if declaration is None:
        _refuse_unread(config, files)
        declaration, because = _discovered(files, environ)
    return declaration, because


def _found_files(
    config: ProjectConfig, declaration: Declaration | None, because: str, files: ProjectFiles, readers: Mapping[str, tuple[Api, ...]]
) -> dict[str, Any]:
    """``sources`` and ``decisions`` of a `Chosen`: what became of every file, and what the user should know of it."""
    used = _used(declaration, because, files) if declaration else ()
    others = list_others(config, declaration, because, files, readers)
    decisions = [] if declaration and declaration.requirements else [_nothing_declared(config, declaration)]
    if declaration is not None:
        decisions += [ignored_advice(source, declaration, because) for source in others if is_passed_over(source, readers)]
    return {"sources": (*used, *others), "decisions": tuple(decisions)}


def _explicit(
    config: ProjectConfig, apis: tuple[Api, ...], files: ProjectFiles, environ: Mapping[str, str]
) -> tuple[Declaration | None, str]:
    """What the configuration itself names."""
    if config.kind is ProjectKind.COG and config.path:
        if config.requirements:
            return _named(config.requirements, files, environ), f"{config.requirements.origin} names it (python_requirements)"
        if config.packages:
            inline = Declaration(
                format="cog.yaml", path=config.path, read=(config.path,), requirements=config.packages, options=config.options
            )
            return inline, "it lists python_packages"
    named = [api.dependencies.pip for api in apis if api.dependencies.pip]
    if named:
        return _named(named[0], files, environ), f"{named[0].origin} names it (dependencies.pip)"
    return None, ""


def _named(reference: PathRef, files: ProjectFiles, environ: Mapping[str, str]) -> Declaration:
    if files.read(reference.path) is None:
        raise LadingError(
            Problem(
                rule="requirements-not-found",
                what=f"The requirements file {reference.path} does not exist.",
                origin=reference.origin,
                why="The configuration names it, so nothing else may take its place.",
                instead="Correct the path (it is relative to the project's folder) or create the file.",
            )
        )
    return requirements_txt.parse(reference.path, files, environ)


def _discovered(files: ProjectFiles, environ: Mapping[str, str]) -> tuple[Declaration | None, str]:
    pyproject = files.read(PYPROJECT)
    if files.read(REQUIREMENTS) is not None:
        because = "it is the project's dependency file" if pyproject is None else "it comes before pyproject.toml"
        return requirements_txt.parse(REQUIREMENTS, files, environ), because
    if pyproject is not None:
        from lading.formats import pyproject_toml  # noqa: PLC0415 -- only when the file is there

        return pyproject_toml.parse(PYPROJECT, files, environ), "there is no requirements.txt, which would come first"
    return None, ""


def _used(declaration: Declaration, because: str, files: ProjectFiles) -> tuple[Source, ...]:
    sources = []
    for path in declaration.read:
        content = files.read(path) or b""
        reason = because if path == declaration.path else f"{declaration.path} includes it"
        sources.append(Source(path=path, role=Role.USED, format=declaration.format, because=reason, sha256=content_hash(content)))
    return tuple(sources)


def _refuse_unread(config: ProjectConfig, files: ProjectFiles) -> None:
    """Stop when a file that would come first is one that this version cannot read.

    Raises:
        LadingError: naming every such file.
    """
    found = [entry for name in files.entries() if (entry := known.lookup(name)) is not None and entry.blocks]
    if config.kind is ProjectKind.CORTEX:
        found = []  # Cortex reads its own trio only; cortex.yaml's reader has dealt with conda
    readable = [name for name in (REQUIREMENTS, PYPROJECT) if files.read(name) is not None]
    if found and not (readable and all(entry.yields_to_readable for entry in found)):
        raise LadingError(*(_unread_problem(entry, readable, config.kind) for entry in found))


def _unread_problem(entry: known.KnownFile, readable: list[str], kind: ProjectKind) -> Problem:
    named = "write a requirements.txt" if kind is ProjectKind.COG else "write a requirements.txt and a cog.yaml"
    return Problem(
        rule="conda-not-supported" if entry.is_conda else "format-not-supported",
        what=f"{entry.name} ({entry.what}) declares dependencies, and this version of Lading does not read it.",
        origin=Origin(entry.name),
        why=f"It would come before {readable[0]}, and no declaration is skipped in silence."
        if readable
        else "No declaration is skipped in silence.",
        instead=f"Move {entry.name} out of the folder, or {named} that names it: build.python_requirements: requirements.txt",
    )


def _nothing_declared(config: ProjectConfig, declaration: Declaration | None) -> Decision:
    place = declaration.path if declaration else config.path
    return Decision(
        rule="nothing-declared",
        kind=Kind.ADVICE,
        subject="dependencies",
        asked=f"{declaration.path} lists no packages" if declaration else "no dependency file was found",
        chose="an environment without packages",
        because="nothing is installed that no file declares"
        if declaration
        else "there is no requirements.txt and no pyproject.toml in the project's folder",
        origin=Origin(place) if place else None,
        instead="list what the predictor imports in a requirements.txt",
    )

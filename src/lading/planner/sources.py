"""Which dependency file counts, which are ignored, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lading.formats import known, requirements_txt
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles, content_hash
from lading.model.origin import Origin
from lading.model.plan import Role, Source
from lading.model.problems import LadingError, Problem
from lading.model.project import Api, PathRef, ProjectConfig, ProjectKind
from lading.model.requirements import Declaration

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
    groups = _groups(config)
    return tuple(_choose(config, variant, apis, files, environ) for variant, apis in groups)


def _groups(config: ProjectConfig) -> list[tuple[str, tuple[Api, ...]]]:
    """APIs that name the same pip file share an environment; the set with the default file is the unnamed variant."""
    by_path: dict[str, list[Api]] = {}
    for api in config.apis:
        path = api.dependencies.pip.path if api.dependencies.pip else REQUIREMENTS
        by_path.setdefault(path, []).append(api)
    if len(by_path) <= 1:
        return [("", config.apis)]
    return [("" if path == REQUIREMENTS else apis[0].name, tuple(apis)) for path, apis in by_path.items()]


def _choose(config: ProjectConfig, variant: str, apis: tuple[Api, ...], files: ProjectFiles, environ: Mapping[str, str]) -> Chosen:
    declaration, because = _explicit(config, apis, files, environ)
    if declaration is None:
        _refuse_unread(config, files)
        declaration, because = _discovered(files, environ)
    used = _used(declaration, because, files) if declaration else ()
    ignored = _ignored(declaration, {source.path for source in used}, config, files)
    decisions = [] if declaration else [_nothing_declared(config)]
    decisions += [_ignored_advice(source, declaration) for source in ignored if declaration]
    return Chosen(variant=variant, apis=apis, declaration=declaration, sources=(*used, *ignored), decisions=tuple(decisions))


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
    if files.read(REQUIREMENTS) is not None:
        return requirements_txt.parse(REQUIREMENTS, files, environ), "a requirements.txt comes before pyproject.toml"
    content = files.read(PYPROJECT)
    if content is not None:
        from lading.formats import pyproject_toml  # noqa: PLC0415 -- only when the file is there

        declaration = pyproject_toml.parse(PYPROJECT, files, environ)
        return declaration, "it is the project's only dependency declaration"
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
        raise LadingError(*(_unread_problem(entry, readable) for entry in found))


def _unread_problem(entry: known.KnownFile, readable: list[str]) -> Problem:
    way_out = "Export it to a requirements.txt, and name that file in cog.yaml as build.python_requirements"
    return Problem(
        rule="conda-not-supported" if entry.is_conda else "format-not-supported",
        what=f"{entry.name} ({entry.what}) declares dependencies, and this version of Lading does not read it.",
        origin=Origin(entry.name),
        why=f"It would come before {readable[0]}, and no declaration is skipped in silence."
        if readable
        else "No declaration is skipped in silence.",
        instead=f"{way_out}, or move {entry.name} out of the folder.",
    )


def _ignored(declaration: Declaration | None, used: set[str], config: ProjectConfig, files: ProjectFiles) -> tuple[Source, ...]:
    sources = []
    for name in files.entries():
        entry = known.lookup(name)
        if entry is None or name in used or name == config.path or not entry.declares:
            continue
        reason = f"{declaration.path} is the source" if declaration else "it declares no dependencies that Lading reads"
        sources.append(Source(path=name, role=Role.IGNORED, format=entry.what, because=reason))
    return tuple(sources)


def _ignored_advice(source: Source, declaration: Declaration | None) -> Decision:
    chosen = declaration.path if declaration else "nothing"
    return Decision(
        rule="source-ignored",
        kind=Kind.ADVICE,
        subject=source.path,
        asked=f"{source.path} is here as well",
        chose=chosen,
        because=f"one source is installed, and {source.because}",
        origin=Origin(source.path),
    )


def _nothing_declared(config: ProjectConfig) -> Decision:
    return Decision(
        rule="nothing-declared",
        kind=Kind.ADVICE,
        subject="dependencies",
        asked="no dependency file was found",
        chose="an environment without packages",
        because="there is no requirements.txt and no pyproject.toml beside the predictor",
        origin=Origin(config.path) if config.path else None,
        instead="a requirements.txt that lists what the predictor imports",
    )

"""Which dependency file counts, which are ignored, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lading.formats.known import Rank
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles, content_hash
from lading.model.origin import Origin
from lading.model.plan import Role, Source
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.project import Api, PathRef, ProjectConfig, ProjectKind
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declaration
from lading.model.selection import DEFAULT, Selection
from lading.planner.candidates import Candidate, candidates, read_source
from lading.planner.others import ignored_advice, is_passed_over, list_others

if TYPE_CHECKING:
    from lading.formats.pyproject_toml import Settings

REQUIREMENTS = "requirements.txt"
PYPROJECT = "pyproject.toml"
_WITHOUT_SETTINGS = ("requirements.txt", "requirements.in", "cog.yaml", "setup.cfg", "setup.py")
"""Formats that have no place for builds, overrides and indexes of single packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The declaration that counts for one set of APIs, with what became of every file that was found."""

    variant: str
    apis: tuple[Api, ...]
    declaration: Declaration | None
    sources: tuple[Source, ...]
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A declaration, why it counts, and the files that could have counted instead."""

    declaration: Declaration | None = None
    because: str = ""
    others: tuple[Candidate, ...] = field(default=())


def choose_sources(
    config: ProjectConfig,
    files: ProjectFiles,
    environ: Mapping[str, str],
    *,
    named: str | None = None,
    strict: bool = False,
    selection: Selection = DEFAULT,
) -> tuple[Chosen, ...]:
    """Choose the dependency source for each set of APIs that share one.

    Order: what the command line (``named``), the configuration or ``[tool.lading]`` names; then the folder's files by `Rank`: standard
    locks, a tool's lock, conda, requirements, project metadata; then the predictor's own script block. One source is installed. The
    others are compared with it, and what only they say is a warning, with ``strict`` a problem. ``selection`` are the extras and groups that
    the command line asks for, beside those of ``[tool.lading]``.

    Raises:
        LadingError: for unreadable or unsupported declarations, and where two locks of different tools compete; all of them at once.
    """
    problems, found = ProblemCollector(), []
    settings: Settings | None = None
    with problems.catching():
        settings = _settings(files)
    finder = _Finder(config, files, environ, settings, selection | settings.selection if settings else selection)
    for variant, apis in _groups(config):
        with problems.catching():
            found.append((variant, apis, finder.of(apis).declaration(apis, named)))
    problems.raise_if_any()
    readers = {path: apis for _variant, apis, one in found if one.declaration for path in one.declaration.read}
    chosen = []
    for variant, apis, one in found:
        with problems.catching():
            described = _found_files(config, one, files, environ, readers, strict=strict)
            chosen.append(Chosen(variant=variant, apis=apis, declaration=one.declaration, **described))
    problems.raise_if_any()
    return tuple(chosen)


def _groups(config: ProjectConfig) -> list[tuple[str, tuple[Api, ...]]]:
    """APIs that name the same files share an environment; the set with the default ones is the unnamed variant."""
    by_path: dict[tuple[str, bool, str], list[Api]] = {}
    for api in config.apis:
        path = api.dependencies.pip.path if api.dependencies.pip else REQUIREMENTS
        conda = api.dependencies.conda
        by_path.setdefault((path, conda is None or not conda.explicit, conda.path if conda else ""), []).append(api)
    if len(by_path) <= 1:
        return [("", config.apis)]
    return [("" if path == REQUIREMENTS and usual else apis[0].name, tuple(apis)) for (path, usual, _), apis in by_path.items()]


@dataclass(frozen=True, slots=True)
class _Finder:
    """Finds the declaration of a set of APIs. ``settings`` are those of ``[tool.lading]``; ``selection`` are the extras and groups wanted."""

    config: ProjectConfig
    files: ProjectFiles
    environ: Mapping[str, str]
    settings: Settings | None
    selection: Selection

    def of(self, apis: tuple[Api, ...]) -> _Finder:
        """With the variables of these APIs, where those count."""
        if self.config.kind is not ProjectKind.CORTEX:
            return self
        from lading.planner.cortex_variables import variables_of  # noqa: PLC0415 -- for Cortex's projects alone

        return replace(self, environ={**variables_of(apis), **self.environ})

    def declaration(self, apis: tuple[Api, ...], named: str | None) -> _Found:
        """What counts for these APIs, and what could have counted instead."""
        folder = _folder(self.config, apis, self.files)
        present = candidates(self.files, folder)
        if named is not None:
            return _Found(declaration=self._by_name(named, Origin("--source")), because="--source names it", others=present)
        declaration, because = self._explicit(apis)
        if declaration is not None:
            found = _Found(declaration=declaration, because=because, others=present)
        else:
            found = self._discovered(apis, present)
        found = replace(found, declaration=_with_settings(found.declaration, self.files, self.environ))
        if self.config.kind is not ProjectKind.CORTEX:
            return found
        from lading.planner.cortex_conda import with_conda_packages  # noqa: PLC0415 -- for Cortex's projects alone
        from lading.planner.cortex_variables import with_indexes_of_variables  # noqa: PLC0415 -- as above
        from lading.planner.preinstalled import with_preinstalled  # noqa: PLC0415 -- as above

        declaration = with_indexes_of_variables(found.declaration, apis, self.files)
        declaration = with_conda_packages(declaration, apis, self.files, self.environ)
        declaration = with_preinstalled(declaration, self.config, apis, self.files)
        return replace(found, declaration=declaration, because=found.because or "Cortex installs it")

    def _explicit(self, apis: tuple[Api, ...]) -> tuple[Declaration | None, str]:
        """What the configuration itself names."""
        config = self.config
        if config.kind is ProjectKind.COG and config.path:
            if config.requirements:
                return self._named(config.requirements), f"{config.requirements.origin} names it (python_requirements)"
            if config.packages:
                self._must_be_whole(config.path)
                inline = Declaration(
                    format="cog.yaml", path=config.path, read=(config.path,), requirements=config.packages, options=config.options
                )
                return inline, "it lists python_packages"
        pip = [api.dependencies.pip for api in apis if api.dependencies.pip]
        if pip:
            return self._named(pip[0]), f"{pip[0].origin} names it (dependencies.pip)"
        settings = self.settings
        if settings is None or settings.source is None or settings.source_origin is None:
            return None, ""
        return self._by_name(settings.source, settings.source_origin), f"{settings.source_origin} names it (source)"

    def _by_name(self, path: str, origin: Origin) -> Declaration:
        path = path.removeprefix("./")
        if self.files.read(path) is None:
            raise LadingError(_not_there(path, origin))
        return _conda_if_needed(read_source(path, self.files, self.environ, self.selection))

    def _named(self, reference: PathRef) -> Declaration:
        if self.files.read(reference.path) is None:
            raise LadingError(_not_there(reference.path, reference.origin))
        self._must_be_whole(reference.path)
        from lading.formats import requirements_txt  # noqa: PLC0415 -- as the others: only when it is needed

        return requirements_txt.parse(reference.path, self.files, self.environ)

    def _must_be_whole(self, path: str) -> None:
        """Refuse extras and groups of a file that has none."""
        if self.selection:
            from lading.formats._optional import without_parts  # noqa: PLC0415 -- on the way out

            raise without_parts(self.selection, path)

    def _discovered(self, apis: tuple[Api, ...], present: tuple[Candidate, ...]) -> _Found:
        first = _first(self.config, present)
        if first is None:
            return self._script_block(apis)
        because = _because(first, present, self.config)
        declaration = _conda_if_needed(read_source(first.path, self.files, self.environ, self.selection))
        return _Found(declaration=declaration, because=because, others=present)

    def _script_block(self, apis: tuple[Api, ...]) -> _Found:
        """The block in the predictor's own file, when no file declares anything."""
        from lading.formats import pep723  # noqa: PLC0415 -- only when nothing else is there

        for api in apis:
            if pep723.declares(api.file, self.files):
                self._must_be_whole(api.file)
                because = "its script block declares them, and no other file does"
                return _Found(declaration=pep723.parse(api.file, self.files, self.environ), because=because)
        self._must_be_whole(self.config.path or "the project, which declares nothing,")
        return _Found()


def _settings(files: ProjectFiles) -> Settings | None:
    """``[tool.lading]`` of pyproject.toml."""
    content = files.read(PYPROJECT)
    if content is None or b"tool.lading" not in content:
        return None
    from lading.formats import pyproject_toml  # noqa: PLC0415 -- only when the table is there

    return pyproject_toml.lading_settings(PYPROJECT, files)


def _with_settings(declaration: Declaration | None, files: ProjectFiles, environ: Mapping[str, str]) -> Declaration | None:
    """With ``[tool.uv]`` of a pyproject.toml beside it, where a requirements file or a configuration declares."""
    content = files.read(PYPROJECT)
    if declaration is None or declaration.format not in _WITHOUT_SETTINGS or content is None or b"tool.uv" not in content:
        return declaration
    from lading.formats import pyproject_toml  # noqa: PLC0415 -- only when the table is there

    return pyproject_toml.with_uv_settings(declaration, PYPROJECT, files, environ)


def _folder(config: ProjectConfig, apis: tuple[Api, ...], files: ProjectFiles) -> str:
    """Where to look: beside the configuration, else beside the predictor, else at the root; the first that holds any source."""
    near = [config.path] if config.path else [api.file for api in apis[:1]]
    folders = dict.fromkeys([*(path.rpartition("/")[0] for path in near), ""])
    return next((folder for folder in folders if candidates(files, folder)), "")


def _not_there(path: str, origin: Origin) -> Problem:
    return Problem(
        rule="requirements-not-found",
        what=f"The dependency file {path} does not exist.",
        origin=origin,
        why="It is named, so nothing else may take its place.",
        instead="Correct the path (it is relative to the project's folder) or create the file.",
    )


def _first(config: ProjectConfig, present: tuple[Candidate, ...]) -> Candidate | None:
    """The file that counts.

    Raises:
        LadingError: if locks of two tools are here, or several standard locks and none with the plain name.
    """
    if config.kind is ProjectKind.CORTEX:
        own = next((one for one in present if one.known.name == REQUIREMENTS), None)
        present = (own,) if own else tuple(one for one in present if not one.known.is_conda)
    if not present:
        return None
    same = [one for one in present if one.rank == present[0].rank]
    if len(same) > 1 and present[0].rank is Rank.TOOL_LOCK:
        raise LadingError(_two_locks(same))
    if len(same) > 1 and present[0].rank is Rank.STANDARD_LOCK and present[0].known.name != present[0].known.example:
        raise LadingError(_several_locks(same))
    return present[0]


def _because(first: Candidate, present: tuple[Candidate, ...], config: ProjectConfig) -> str:
    later = [one.path for one in present if one is not first]
    if not later:
        return "it is the project's dependency file"
    if config.kind is ProjectKind.CORTEX and first.known.name == REQUIREMENTS:
        return "it is the file that Cortex installs"
    kind = "a lock" if first.known.is_lock else "it"
    return f"{kind} comes before {' and '.join(later)}" if len(later) < 3 else f"{kind} comes before the others"


def _conda_if_needed(declaration: Declaration) -> Declaration:
    """The declaration; without a conda part if that names nothing but a Python and pip, which any machine has."""
    if declaration.conda is None or any(spec.name not in ("python", "pip") for spec in declaration.conda.specs):
        return declaration
    return replace(declaration, conda=None)


def _two_locks(locks: list[Candidate]) -> Problem:
    names = " and ".join(one.path for one in locks)
    return Problem(
        rule="two-locks",
        what=f"{names} are locks of different tools, and each claims to hold the whole environment.",
        origin=Origin(locks[0].path),
        why="Lading does not choose between two answers in silence.",
        instead=f'Delete the one that is not used any more, or name the other: --source {locks[0].path}, or source = "{locks[0].path}" '
        "under [tool.lading] in pyproject.toml.",
    )


def _several_locks(locks: list[Candidate]) -> Problem:
    return Problem(
        rule="several-locks",
        what=f"There are {len(locks)} locks here, and none is named pylock.toml: {', '.join(one.path for one in locks)}.",
        origin=Origin(locks[0].path),
        why="Each is for a purpose that its name tells to people only.",
        instead=f'Name one: --source {locks[0].path}, or source = "{locks[0].path}" under [tool.lading] in pyproject.toml.',
    )


def _found_files(
    config: ProjectConfig,
    found: _Found,
    files: ProjectFiles,
    environ: Mapping[str, str],
    readers: Mapping[str, tuple[Api, ...]],
    *,
    strict: bool,
) -> dict[str, Any]:
    """``sources`` and ``decisions`` of a `Chosen`: what became of every file, and what the user should know of it."""
    declaration, because = found.declaration, found.because
    used = _used(declaration, because, files) if declaration else ()
    listed = list_others(config, declaration, because, files, readers)
    listed += _elsewhere(found, {source.path for source in (*used, *listed)})
    if declaration is None:
        return {"sources": listed, "decisions": (_nothing_declared(config, None),)}
    decisions = [] if _installs(declaration) else [_nothing_declared(config, declaration)]
    compared, agreeing = _compared(found, files, environ, readers, listed)
    if strict and compared:
        from lading.planner.compare import differ_problem  # noqa: PLC0415 -- as in `_compared`

        raise LadingError(*(differ_problem(decision) for decision in compared))
    said = {decision.subject for decision in compared} | agreeing
    decisions += compared
    decisions += [
        ignored_advice(source, declaration, because) for source in listed if is_passed_over(source, readers) and source.path not in said
    ]
    return {"sources": (*used, *listed), "decisions": tuple(decisions)}


def _elsewhere(found: _Found, listed: set[str]) -> tuple[Source, ...]:
    """Files beside the source that are not in the project's own folder."""
    others = [other for other in found.others if other.path not in listed and "/" in other.path]
    path = found.declaration.path if found.declaration else ""
    because = f"{path} counts: {found.because}"
    return tuple(Source(path=other.path, role=Role.IGNORED, format=other.known.what, because=because) for other in others)


def _installs(declaration: Declaration) -> bool:
    return bool(declaration.requirements or declaration.locked or declaration.dynamic or declaration.conda)


def _compared(
    found: _Found, files: ProjectFiles, environ: Mapping[str, str], readers: Mapping[str, tuple[Api, ...]], listed: tuple[Source, ...]
) -> tuple[list[Decision], set[str]]:
    """The ignored files that say something else, and the paths of those that do not. What cannot be read is compared with nothing."""
    declaration = found.declaration
    assert declaration is not None
    decisions: list[Decision] = []
    agreeing: set[str] = set()
    used = {*declaration.read, *readers, *(source.path for source in listed if source.role is Role.USED)}
    for other in found.others:
        if other.path in used or declaration.dynamic:
            continue
        try:
            ignored = read_source(other.path, files, environ)
        except LadingError:
            continue
        if ignored.dynamic or ignored.conda:
            continue
        by_conda = {spec.name for spec in declaration.conda.specs} if declaration.conda else set()
        from lading.planner.compare import differ_decision, differences  # noqa: PLC0415 -- specifiers are compared with `packaging`

        different = tuple(one for one in differences(declaration, ignored) if one.name not in by_conda)
        if different:
            decisions.append(differ_decision(different, declaration, ignored, found.because))
        else:
            agreeing.add(other.path)
    return decisions, agreeing


def _used(declaration: Declaration, because: str, files: ProjectFiles) -> tuple[Source, ...]:
    sources = []
    conda = {spec.origin.path for spec in declaration.conda.specs} if declaration.conda else set()
    for path in declaration.read:
        content = files.read(path) or b""
        reason = because if path == declaration.path else f"{declaration.path} includes it"
        if path == PYPROJECT != declaration.path:
            locked = declaration.locked is not None
            reason = "it names what the project itself needs" if locked else "its [tool.uv] says how packages are found and built"
        reason = "conda's packages come before pip's" if path in conda and path != declaration.path else reason
        sources.append(Source(path=path, role=Role.USED, format=declaration.format, because=reason, sha256=content_hash(content)))
    return tuple(sources)


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
        instead=f"list what the predictor imports in {declaration.path if declaration else 'a requirements.txt'}",
    )

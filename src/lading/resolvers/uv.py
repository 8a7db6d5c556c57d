"""Resolving with uv: a plan in, a lock out.

uv is called as a program (``uv pip compile``), with a generated project, an environment of its own and no configuration but the plan's.
Its words are shown with every credential masked; its failures become problems that name the user's own lines.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lading import __version__
from lading.explain.text import count as counted
from lading.model.build import ALL
from lading.model.conda import CondaLock
from lading.model.decisions import Decision
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.lock import Lock
from lading.model.names import canonical
from lading.model.patterns import pattern
from lading.model.plan import Plan, Role
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, replace
from lading.model.requirements import Via
from lading.model.secrets import Redactor
from lading.model.target import Interpreter
from lading.resolvers import settings
from lading.resolvers.bindings import bindings
from lading.resolvers.builds import Stage, build_table, of_second_stage, stage_of
from lading.resolvers.cases import Case, mentions
from lading.resolvers.command import OUTPUT, Call, prepare
from lading.resolvers.process import Finished, program, run
from lading.resolvers.provided import asked_for_extras, without
from lading.resolvers.scratch import scratch_folder, usual_place
from lading.resolvers.witness import Places, Witness, read_log, split

STEP = "Resolving"
_AFTERWARDS = (
    "tomllib",
    "lading.resolvers.documents",
    "lading.resolvers.told",
    "lading.locks.lockfile",
    "lading.locks.toml_text",
    "textwrap",
)
_MASKED = pattern(r"://[^/@\s]*\*{4}@")
_UNDATED = pattern(r"^warning: `(?P<file>[^`]+)` is missing an upload date", re.MULTILINE)
_BUILD_FAILED = pattern(r"Failed to (?:download and )?build `(?P<name>[A-Za-z0-9._-]+?)(?:==[^`]*| @ [^`]*)?`")
_FIRST_INDEX = "By default, uv will only consider versions that are published on the first index"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOptions:
    """How to resolve.

    ``offline``: from uv's cache alone. ``previous``: a lock whose versions are kept where they still fit. ``upgrade``: do not keep
    them, or not for these packages. ``cache_dir``: uv's cache, None for its own choice. ``as_of``: the moment (RFC 3339) after which
    nothing that was uploaded counts. ``conda`` is what conda installs: its Python packages are taken as they are.
    ``meanwhile`` is done while uv works.
    """

    offline: bool = False
    previous: Lock | None = None
    upgrade: bool | frozenset[str] = False
    cache_dir: Path | None = None
    as_of: str | None = None
    conda: CondaLock | None = None
    meanwhile: Callable[[], object] | None = None


_AS_IT_IS = ResolveOptions()


def resolve(
    plan: Plan,
    interpreter: Interpreter | None,
    root: Path,
    options: ResolveOptions = _AS_IT_IS,
    reporter: Reporter = silent,
) -> Lock:
    """Choose every package for the plan's target, with hashes.

    ``interpreter`` builds source distributions whose metadata cannot be read otherwise; without one, Lading's own Python does.
    ``root`` is the project's folder: relative paths of requirements start there, and the lock's paths are relative to it.
    The lock's decisions are the plan's, followed by what was decided here.

    Raises:
        LadingError: if there is no solution, an index cannot be reached, a build fails; exit code 3 or 5.
    """
    reporter(Event(step=STEP, phase=Phase.STARTED, message=_headline(plan)))
    try:
        lock = _Session(plan, interpreter, root.resolve(), options, reporter).lock()
    except BaseException:
        reporter(Event(step=STEP, phase=Phase.FAILED))
        raise
    count = len(lock.packages)
    reporter(Event(step=STEP, phase=Phase.FINISHED, message=counted(count, "package"), done=count, total=count, unit="packages"))
    return lock


def _headline(plan: Plan) -> str:
    count = len(plan.requirements)
    return f"{counted(count, 'requirement')} for Python {plan.target.python} on {plan.target.platform}"


class _Session:
    """The calls of uv that one lock takes: mostly one, more when a bound package turns out to be demanded by another."""

    def __init__(self, plan: Plan, interpreter: Interpreter | None, root: Path, options: ResolveOptions, reporter: Reporter) -> None:
        self.plan, self.root, self.options, self.reporter = plan, root, options, reporter
        bound = bindings(plan)
        self.witness = Witness()
        self.bound_names = frozenset(name for binding in bound for name in binding.packages)
        required = {declared.name for declared in plan.requirements if declared.via is Via.INDEX and declared.name}
        self.call = Call(
            uv=_program(),
            python=interpreter.path if interpreter else sys.executable,
            root=root,
            bound=bound,
            named=self.bound_names & required,
            offline=options.offline,
            upgrade=options.upgrade,
            cache_dir=options.cache_dir,
            previous=_previous(options),
            left_out=settings.outside_places(plan, root, os.environ),
            as_of=options.as_of or plan.exclude_newer,
            aside=of_second_stage(plan.build),
            provided=options.conda.provides if options.conda else {},
        )
        self.env = settings.environment(plan, bound, root, self.call.left_out, os.environ)
        self.redact = Redactor((*plan.secrets(), *settings.secrets(self.env)))

    def lock(self) -> Lock:
        try:
            with scratch_folder("lading-resolve-") as folder:
                finished, document = self._until_settled(folder)
        except OSError as error:
            raise LadingError(_no_room(error)) from error
        from lading.resolvers.documents import finish  # noqa: PLC0415 -- loaded while uv works

        document, shared = without(document, self.call.provided)
        return Lock(
            document=finish(document, self.plan, self.root, self.witness, self._places(), builds=self._builds()),
            fingerprint=self.plan.fingerprint,
            target=self.plan.target.as_json(),
            sources={source.path: source.sha256 for source in self.plan.sources if source.role is Role.USED and source.sha256},
            decisions=tuple(dict.fromkeys((*self.plan.decisions, *self._decisions(finished, document)))),
            tools={"lading": __version__, "uv": _uv_version()},
            requirements=tuple(_lines(self.plan)),
            as_of=self.options.as_of,
            conda=replace(self.options.conda, shared=shared) if self.options.conda else None,
        )

    def _until_settled(self, folder: Path) -> tuple[Finished, Mapping[str, Any]]:
        """Call uv until nothing is left to be done better."""
        number = 0
        while True:
            number += 1
            here = folder / str(number)
            here.mkdir()
            finished = self._run(here)
            document = _document(here) if finished.returncode == 0 else None
            following = self._following(finished, document)
            if following is not None:
                self.call = following
            elif document is not None:
                return finished, document
            else:
                raise LadingError(*self._explained(finished, folder))

    def _explained(self, finished: Finished, folder: Path) -> tuple[Problem, ...]:
        """The failure as problems, with what to relax where requirements contradict each other."""
        from lading.resolvers.failures import explain  # noqa: PLC0415 -- with urllib, for a look at indexes' pages: only on the way out
        from lading.resolvers.relax import RULES, advised, relaxations  # noqa: PLC0415 -- as above

        case = self._case(folder)
        problems = explain(finished, case)
        if problems[0].rule not in RULES:
            return problems
        found = relaxations(self.plan, case.lines_about(case.clean(finished.stderr)), lambda plan: self._attempt(plan, folder))
        return (advised(problems[0], found), *problems[1:])

    def _attempt(self, plan: Plan, folder: Path) -> Mapping[str, Any] | None:
        """A resolution of another plan, None where there is none; nothing is told of it."""
        import tempfile  # noqa: PLC0415 -- on the way out

        here = Path(tempfile.mkdtemp(dir=folder))
        command, credentials = prepare(plan, replace(self.call, previous=None), here)
        finished = run(command, env={**self.env, **credentials}, cwd=here, heard=_unheard)
        return _document(here) if finished.returncode == 0 else None

    def _following(self, finished: Finished, document: Mapping[str, Any] | None) -> Call | None:
        """The next call to make, None when this one stands. Each reason can come once only, so there is an end.

        A bound package that only another package demands comes from the wrong index until the project names it as well. Versions that the
        first index lacks are looked for on the others only where all of them are public: no public package takes a private one's place.
        """
        unnamed = self.bound_names - self.call.named
        if document is not None:
            slipped = unnamed & {str(package["name"]) for package in document.get("packages", ())}
            if slipped:
                return replace(self.call, named=self.call.named | slipped)
            extras = asked_for_extras(finished.stderr, self.call.provided) - self.call.by_index
            return replace(self.call, by_index=self.call.by_index | extras) if extras else self._second_stage(document)
        slipped = frozenset(name for name in unnamed if mentions(finished.stderr, name))
        if slipped:
            return replace(self.call, named=self.call.named | slipped)
        undated = frozenset(_project_of(found["file"]) for found in _UNDATED.finditer(finished.stderr)) - self.call.undated
        if self.call.as_of and undated:
            return replace(self.call, undated=self.call.undated | undated)
        searched = self.call.strategy != "first-index" or settings.has_private_index(self.plan, self.env)
        if _FIRST_INDEX in " ".join(finished.stderr.split()) and not searched:
            return replace(self.call, strategy="unsafe-first-match")
        if "TOML parse error" in finished.stderr and self.call.previous is not None:
            return replace(self.call, previous=None)
        return self._after_failed_build(finished)

    def _second_stage(self, document: Mapping[str, Any]) -> Call | None:
        """The call for everything, when this one left packages aside."""
        if not self.call.aside:
            return None
        return replace(self.call, aside=frozenset(), stage=stage_of(document, self.root))

    def _after_failed_build(self, finished: Finished) -> Call | None:
        """Where every build may need the other packages, the one that failed comes in the second stage."""
        found = _BUILD_FAILED.search(finished.stderr)
        failed = canonical(found["name"]) if found else None
        if ALL not in self.plan.build.no_isolation or failed is None or failed in self.call.failing:
            return None
        failing = self.call.failing | {failed}
        return replace(self.call, failing=failing, aside=failing | of_second_stage(self.plan.build), stage=Stage())

    def _run(self, folder: Path) -> Finished:
        command, credentials = prepare(self.plan, self.call, folder)
        try:
            finished = run(command, env={**self.env, **credentials}, cwd=folder, heard=self._heard, meanwhile=self._meanwhile)
        except OSError as error:
            raise LadingError(_not_started(error)) from error
        log, words = split(finished.stderr)
        self.witness = read_log(log)
        return replace(finished, stderr=words)

    def _meanwhile(self) -> None:
        """What can be done while uv works."""
        _load_the_rest()
        if self.options.meanwhile is not None:
            self.options.meanwhile()

    def _builds(self) -> Mapping[str, Mapping[str, Any]]:
        """What the lock records of builds."""
        return build_table(self.plan.build, self.call.stage, self.root, self.call.failing)

    def _places(self) -> Places:
        return Places(self.plan, self.call.bound, first_index=self.call.strategy == "first-index")

    def _heard(self, line: str) -> None:
        words = line.strip()
        if words.startswith(("Building", "Built", "Updating", "Updated", "Downloading", "Downloaded", "warning:")):
            self.reporter(Event(step=STEP, phase=Phase.OUTPUT, message=self.redact(words)))

    def _case(self, folder: Path) -> Case:
        return Case(
            plan=self.plan,
            root=self.root,
            folder=folder,
            redact=self.redact,
            bound=self.call.bound,
            offline=self.options.offline,
            left_out=bool(self.call.left_out),
        )

    def _decisions(self, finished: Finished, document: Mapping[str, Any]) -> Iterable[Decision]:
        from lading.resolvers import told  # noqa: PLC0415 -- loaded while uv works

        yield from told.yanked(self.plan, finished.stderr, self.redact)
        if self.call.strategy != "first-index":
            yield told.searched_further(self.plan)
        if self.call.left_out:
            yield told.left_out()
        if undated := self._undated(document):
            yield told.as_of_unknown(undated, self.call.as_of or "")
        yield from told.not_kept(self.plan)

    def _undated(self, document: Mapping[str, Any]) -> tuple[str, ...]:
        """Packages for which the date could not count: their index tells none, or they come from a page or folder of links."""
        if not self.call.as_of:
            return ()
        links = {url.without_credentials() for url in self.plan.options.find_links}
        links |= {binding.index.url.without_credentials() for binding in self.call.bound if binding.index.kind == "find-links"}
        places, packages = self._places(), document.get("packages", ())
        listed = {str(one["name"]) for one in packages if places.of(one, self.witness.pages.get(str(one["name"]), ())) in links}
        local = {str(one["name"]) for one in packages if any("path" in wheel for wheel in one.get("wheels", ()))}
        return tuple(sorted((self.call.undated & {str(one["name"]) for one in packages}) | listed | local))


def _document(folder: Path) -> Mapping[str, Any]:
    """The lock that uv has written."""
    import tomllib  # noqa: PLC0415 -- loaded while uv works

    return tomllib.loads((folder / OUTPUT).read_text(encoding="utf-8"))


def _load_the_rest() -> None:
    """Load what uv's answer will be read, told and written with."""
    for name in _AFTERWARDS:
        import_module(name)


def _unheard(line: str) -> None:
    """Take a line of which nothing is told."""


def _project_of(filename: str) -> str:
    """The project that a file of an index belongs to, by its name."""
    if filename.endswith(".whl"):
        return canonical(filename.partition("-")[0])
    return canonical(re.sub(r"-[^-]*$", "", filename))


def _lines(plan: Plan) -> Iterable[str]:
    """The user's own lines, for the lock to say what it was made from."""
    for declared in plan.requirements:
        yield f"{declared.origin}: {'-e ' if declared.editable else ''}{_MASKED.sub('://', declared.pep508)}"
    for declared in plan.constraints:
        yield f"{declared.origin}: {_MASKED.sub('://', declared.pep508)} (constraint)"


def _previous(options: ResolveOptions) -> str | None:
    if options.previous is None or options.upgrade is True:
        return None
    from lading.locks.toml_text import dumps  # noqa: PLC0415 -- a lock is not there at first
    from lading.resolvers.documents import preferences  # noqa: PLC0415 -- as above

    return dumps(preferences(options.previous.document))


def _program() -> str:
    try:
        return program()
    except FileNotFoundError as error:
        raise LadingError(_not_started(error)) from error


def _uv_version() -> str:
    """The version of uv, from the name of its record: asking importlib for it costs more than the rest of a small lock."""
    import uv  # noqa: PLC0415 -- it need not be loaded to be run

    records = [record.name for record in Path(uv.__file__).parent.parent.glob("uv-*.dist-info")]
    if len(records) == 1:
        return records[0].removeprefix("uv-").removesuffix(".dist-info")
    from importlib.metadata import version  # noqa: PLC0415 -- see above

    return version("uv")


def _no_room(error: OSError) -> Problem:
    return Problem(
        rule="temporary-folder-unusable",
        what=f"The temporary folder {usual_place()} cannot be used: {error.strerror}.",
        why="Resolving needs a few kilobytes there.",
        instead="Free some space, or set TMPDIR to a folder that can be written.",
        code=ExitCode.RESOLUTION,
    )


def _not_started(error: OSError) -> Problem:
    return Problem(
        rule="uv-not-started",
        what=f"uv cannot be started: {error.strerror or 'it is not there'}.",
        why="Lading resolves with the uv that is installed beside it.",
        instead="Install Lading again, so that its uv comes with it.",
        code=ExitCode.RESOLUTION,
    )

"""Resolving with uv: a plan in, a lock out.

uv is called as a program (``uv pip compile``), with a generated project, an environment of its own and no configuration but the plan's.
Its words are shown with every credential masked; its failures become problems that name the user's own lines.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w
import uv

from lading import __version__
from lading.explain.text import count as counted
from lading.model.build import ALL
from lading.model.conda import CondaLock
from lading.model.decisions import Decision, Kind
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.lock import Lock
from lading.model.names import canonical
from lading.model.plan import Plan, Role
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.requirements import Declared, Via
from lading.model.secrets import Redactor
from lading.model.target import Interpreter
from lading.resolvers import settings
from lading.resolvers.bindings import bindings
from lading.resolvers.builds import Stage, build_table, of_second_stage, stage_of
from lading.resolvers.cases import Case, mentions
from lading.resolvers.command import OUTPUT, Call, prepare
from lading.resolvers.documents import finish, preferences
from lading.resolvers.process import Finished, run
from lading.resolvers.provided import asked_for_extras, without
from lading.resolvers.witness import Places, Witness, read_log, split

STEP = "Resolving"
_YANKED = re.compile(r"^warning: `(?P<name>[^`=]+)==(?P<version>[^`]+)` is yanked(?: \(reason: \"?(?P<reason>.*?)\"?\))?\.?$", re.MULTILINE)
_MASKED = re.compile(r"://[^/@\s]*\*{4}@")
_UNDATED = re.compile(r"^warning: `(?P<file>[^`]+)` is missing an upload date", re.MULTILINE)
_BUILD_FAILED = re.compile(r"Failed to (?:download and )?build `(?P<name>[A-Za-z0-9._-]+?)(?:==[^`]*| @ [^`]*)?`")
_FIRST_INDEX = "By default, uv will only consider versions that are published on the first index"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOptions:
    """How to resolve.

    ``offline``: from uv's cache alone. ``previous``: a lock whose versions are kept where they still fit. ``upgrade``: do not keep
    them, or not for these packages. ``cache_dir``: uv's cache, None for its own choice. ``as_of``: the moment (RFC 3339) after which
    nothing that was uploaded counts. ``conda`` is what conda installs: its Python packages are taken as they are.
    """

    offline: bool = False
    previous: Lock | None = None
    upgrade: bool | frozenset[str] = False
    cache_dir: Path | None = None
    as_of: str | None = None
    conda: CondaLock | None = None


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
            with tempfile.TemporaryDirectory(prefix="lading-resolve-") as folder:
                finished, document = self._until_settled(Path(folder).resolve())
        except OSError as error:
            raise LadingError(_no_room(error)) from error
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
            document = tomllib.loads((here / OUTPUT).read_text(encoding="utf-8")) if finished.returncode == 0 else None
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
        here = Path(tempfile.mkdtemp(dir=folder))
        command, credentials = prepare(plan, replace(self.call, previous=None), here)
        finished = run(command, env={**self.env, **credentials}, cwd=here, heard=_unheard)
        return tomllib.loads((here / OUTPUT).read_text(encoding="utf-8")) if finished.returncode == 0 else None

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
            finished = run(command, env={**self.env, **credentials}, cwd=folder, heard=self._heard)
        except OSError as error:
            raise LadingError(_not_started(error)) from error
        log, words = split(finished.stderr)
        self.witness = read_log(log)
        return replace(finished, stderr=words)

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
        for found in _YANKED.finditer(finished.stderr):
            yield _yanked(self.plan, found["name"], found["version"], self.redact(found["reason"] or ""))
        if self.call.strategy != "first-index":
            yield _searched_further(self.plan)
        if self.call.left_out:
            yield _left_out()
        if undated := self._undated(document):
            yield _as_of_unknown(undated, self.call.as_of or "")
        for declared in self.plan.requirements:
            if declared.editable and declared.via is Via.VCS:
                yield _not_editable(declared)
        if self.plan.options.prefer_binary:
            yield _PREFER_BINARY

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
    return tomli_w.dumps(preferences(options.previous.document))


def _program() -> str:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise LadingError(_not_started(error)) from error


def _uv_version() -> str:
    """The version of uv, from the name of its record: asking importlib for it costs more than the rest of a small lock."""
    records = [record.name for record in Path(uv.__file__).parent.parent.glob("uv-*.dist-info")]
    if len(records) == 1:
        return records[0].removeprefix("uv-").removesuffix(".dist-info")
    from importlib.metadata import version  # noqa: PLC0415 -- see above

    return version("uv")


def _no_room(error: OSError) -> Problem:
    return Problem(
        rule="temporary-folder-unusable",
        what=f"The temporary folder {tempfile.gettempdir()} cannot be used: {error.strerror}.",
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


def _yanked(plan: Plan, name: str, version: str, reason: str) -> Decision:
    declared = next((one for one in plan.requirements if one.name == name), None)
    return Decision(
        rule="version-yanked",
        kind=Kind.ADVICE,
        subject=name,
        asked=declared.pep508 if declared else name,
        chose=f"{name}=={version}",
        because=f"its authors have withdrawn this version{f': {reason}' if reason else ''}; it is used as the pin asks for it",
        origin=declared.origin if declared else None,
        instead="another version",
    )


def _searched_further(plan: Plan) -> Decision:
    first = plan.options.extra_index_urls[0] if plan.options.extra_index_urls else "the first index"
    return Decision(
        rule="searched-every-index",
        kind=Kind.CHOSEN,
        subject="indexes",
        asked=", ".join(str(url) for url in plan.options.extra_index_urls),
        chose="every index is searched for the versions that the first one lacks",
        because="a package is on one index, and the version asked for is only on another; pip searches all of them too",
        instead=f"--index-url on the line of each package that must come from {first} alone",
    )


def _as_of_unknown(names: tuple[str, ...], as_of: str) -> Decision:
    return Decision(
        rule="as-of-unknown",
        kind=Kind.ADVICE,
        subject="as-of",
        asked=f"nothing newer than {as_of}",
        chose=f"any version of {', '.join(names)}",
        because="where they come from tells no upload dates, so what is newer cannot be told apart",
        instead="an exact version of each",
    )


def _left_out() -> Decision:
    return Decision(
        rule="machine-folder-left-out",
        kind=Kind.CHOSEN,
        subject="indexes",
        asked="the folders outside of the project that this machine's settings (PIP_FIND_LINKS and its like) add",
        chose="they are not searched",
        because="a lock travels with the project and cannot name files that only one machine has",
        instead="--find-links with a folder inside the project",
    )


def _not_editable(declared: Declared) -> Decision:
    return Decision(
        rule="git-not-editable",
        kind=Kind.CHOSEN,
        subject=declared.name or declared.pep508,
        asked=f"-e {declared.pep508}",
        chose="an ordinary installation of the locked commit",
        because="uv installs folders in editable mode, not repositories; what is imported is the same",
        origin=declared.origin,
        instead="a clone inside the project, and -e with its path",
    )


_PREFER_BINARY = Decision(
    rule="prefer-binary-not-kept",
    kind=Kind.ADVICE,
    subject="--prefer-binary",
    asked="--prefer-binary",
    chose="wheels where the chosen version has them",
    because="uv does not step back to an older version for the sake of a wheel",
    instead="--only-binary :all:",
)

"""What uv says when an environment cannot be built, as problems with the exit codes of installing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lading.model.origin import Origin
from lading.model.problems import ExitCode, Problem
from lading.model.records import replace
from lading.resolvers.cases import Case
from lading.resolvers.failures import explain
from lading.resolvers.process import Finished

if TYPE_CHECKING:
    from lading.environments.access import Access
    from lading.environments.build import Work

_MISFIT = re.compile(r"`(?P<name>[^`]+)` can't be installed because .* for the current platform")
_HINT = re.compile(r"^hint: (?P<hint>You're .*)$", re.MULTILINE)
_OTHER_PYTHON = re.compile(r"resolved to Python (?P<here>\S+), which is incompatible with .*: `(?P<wanted>[^`]+)`")
_NOT_CACHED = re.compile(r"Failed to download(?: and build)? `(?P<name>[\w.-]+)[^`]*`\s+cause: Network connectivity is disabled")
_DAMAGED = re.compile(r"Not a valid `pylock.toml` file")
_FILE_MISSING = re.compile(r"failed to query metadata of file `(?P<path>[^`]+)`: No such file")


def explain_build(finished: Finished, work: Work, access: Access, folder: Path) -> tuple[Problem, ...]:
    """Problems for a failed call of uv."""
    case = Case(
        plan=work.plan,
        root=work.root,
        folder=folder,
        redact=access.redact,
        bound=access.bound,
        offline=True,  # the indexes' pages have nothing to say about a lock
        left_out=bool(access.left_out),
    )
    text = finished.stderr.replace(f"{folder}/", "")
    own = _own(text, case, work)
    return (own,) if own else tuple(_as_build(problem) for problem in explain(Finished(finished.returncode, _errors(text)), case))


def _errors(text: str) -> str:
    """From the first error on: what comes before is progress."""
    at = re.search(r"^error:", text, re.MULTILINE)
    return text[at.start() :] if at else text


def _own(text: str, case: Case, work: Work) -> Problem | None:
    if found := _MISFIT.search(text):
        hint = _HINT.search(text)
        return _misfit(found["name"], case.clean(hint["hint"]).replace("`", "") if hint else None, case, work)
    if found := _OTHER_PYTHON.search(text):
        return _other_python(found["here"], found["wanted"], work)
    if _DAMAGED.search(text):
        return _damaged(case.clean(_errors(text)), work)
    if found := _NOT_CACHED.search(text):
        return _not_cached(found["name"], case)
    if found := _FILE_MISSING.search(text):
        return _file_missing(case.clean(found["path"]), case)
    return None


def _misfit(name: str, hint: str | None, case: Case, work: Work) -> Problem:
    return Problem(
        rule="wheel-does-not-fit",
        what=f"The lock has no file of {name} that fits this machine and Python {work.interpreter.version}.",
        origin=next((one.origin for one in case.lines_about(name)), Origin(work.plan.lock_path)),
        why=hint,
        instead="Run `lading lock` here, or use the machine and the Python that the lock was made for.",
        code=ExitCode.RESOLUTION,
    )


def _other_python(here: str, wanted: str, work: Work) -> Problem:
    return Problem(
        rule="lock-for-another-python",
        what=f"{work.plan.lock_path} is for Python {wanted}, and the environment's is {here}.",
        origin=Origin(work.plan.lock_path),
        why="The versions in a lock are chosen for one Python.",
        instead="Run `lading lock`, or name the lock's Python with --python.",
        code=ExitCode.LOCK,
    )


def _damaged(text: str, work: Work) -> Problem:
    return Problem(
        rule="lock-damaged",
        what=f"{work.plan.lock_path} cannot be installed.",
        origin=Origin(work.plan.lock_path),
        why="uv, which installs for Lading, does not take it for a valid lock.",
        instead="Take the file from version control again, or delete it and run `lading lock`.",
        code=ExitCode.LOCK,
        detail=text.strip(),
    )


def _not_cached(name: str, case: Case) -> Problem:
    return Problem(
        rule="offline-not-cached",
        what=f"{name} was not downloaded before, and --offline forbids to do it now.",
        origin=next((one.origin for one in case.lines_about(name)), Origin(case.plan.lock_path)),
        why="Offline, packages come from uv's cache alone.",
        instead="Run once without --offline.",
        code=ExitCode.NETWORK,
    )


def _file_missing(path: str, case: Case) -> Problem:
    return Problem(
        rule="path-not-found",
        what=f"There is no {path}.",
        origin=Origin(case.plan.lock_path),
        why="The lock names this file of the project.",
        instead="Put the file back, or run `lading lock`.",
        code=ExitCode.RESOLUTION,
    )


def _as_build(problem: Problem) -> Problem:
    if problem.rule == "resolving-failed":
        what, why = "The packages could not be installed.", "uv, which installs for Lading, says why below."
        return replace(problem, rule="installing-failed", what=what, why=why, code=ExitCode.BUILD)
    if problem.rule == "disk-full":
        why = "uv could not write to its cache, to the temporary folder or to Lading's store."
        instead = (
            "Free some space (`lading env prune` and `uv cache prune` remove what is not used), or set LADING_HOME, UV_CACHE_DIR or TMPDIR."
        )
        return replace(problem, why=why, instead=instead, code=ExitCode.BUILD)
    return replace(problem, code=ExitCode.BUILD) if problem.rule == "build-failed" else problem


def not_started(error: OSError) -> Problem:
    """Uv itself is missing."""
    return Problem(
        rule="uv-not-started",
        what=f"uv cannot be started: {error.strerror or 'it is not there'}.",
        why="Lading installs with the uv that is installed beside it.",
        instead="Install Lading again, so that its uv comes with it.",
        code=ExitCode.BUILD,
    )

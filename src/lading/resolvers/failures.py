"""What uv says when it fails, as problems that name the user's own lines.

uv has no machine-readable errors: its text has the shape ``error: ... / cause: ... / hint: ...`` and is matched by its known sentences.
What is not recognised is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lading.model.problems import ExitCode, Problem
from lading.resolvers import outages, unbuilt, unsolved
from lading.resolvers.cases import Case, Said
from lading.resolvers.process import Finished

_Describe = Callable[[Said], Problem | None]

_KNOWN: tuple[tuple[str, _Describe], ...] = (
    (r"No space left on device", unbuilt.disk_full),
    (r"The build backend returned an error", unbuilt.build_failed),
    (r"Hash mismatch for `(?P<name>[^`]+?)(?:==[^`]*|@[^`]*)?`", unbuilt.hash_mismatch),
    (r"Git operation failed", unbuilt.git_failed),
    (
        r"An index (?:URL )?\((?P<url>\S+)\) (?:returned a|could not be queried).*?(?P<status>401|403)\s+(?:Unauthorized|Forbidden)",
        outages.password_asked,
    ),
    (r"HTTP status client error \((?P<status>401|403|407)[^)]*\) for url \((?P<url>\S+)\)", outages.password_asked),
    (r"HTTP status client error \((?P<status>4\d\d[^)]*)\) for url \((?P<url>\S+)\)", outages.not_there),
    (r"HTTP status server error \((?P<status>[^)]*)\) for url \((?P<url>\S+)\)", outages.failing),
    (r"network was disabled|Network connectivity is disabled", outages.not_cached),
    (r"(?:Failed to fetch: |error sending request for url \()`?(?P<url>[^\s`)]+)", outages.unreachable),
    (r"(?:Distribution not found at: |Failed to read `--find-links` directory: )(?P<place>.+)", unbuilt.path_missing),
    (r"`(?P<source>[^`]+)` has no subdirectory `(?P<place>[^`]+)`", unbuilt.no_subdirectory),
    (r"`(?P<place>[^`]+)` does not appear to be a Python project", unbuilt.no_project),
    (r"metadata name `(?P<found>[^`]+)` does not match given name `(?P<asked>[^`]+)`", unbuilt.wrong_name),
    (r"package name `(?P<asked>[^`]+)` does not match `(?P<found>[^`]+)`", unbuilt.wrong_name),
    (
        (
            r"`(?P<name>[\w.-]+)`\s+was\s+found\s+on\s+(?P<first>\S+),\s+but\s+not\s+at\s+the\s+requested\s+version\s+\((?P<asked>[^)]+)\)\."
            r"\s+A\s+compatible\s+version\s+may\s+be\s+available\s+on\s+a\s+subsequent\s+index\s+\(e\.g\.,\s+(?P<second>[^)\s]+)\)"
        ),
        unsolved.on_another_index,
    ),
    (
        (
            r"`(?P<name>[\w.-]+)`\s+was\s+filtered\s+by\s+`exclude-newer`\s+to\s+only\s+include\s+packages\s+uploaded\s+before\s+(?P<day>[\w:-]+)"
            r".*?\sv?(?P<version>[\w.!+-]+),\s+(?:was\s+)?published\s+at\s+(?P<uploaded>[\w:-]+)"
        ),
        unsolved.uploaded_later,
    ),
    (r"conflicting URLs for package `(?P<name>[^`]+)`", unsolved.two_urls),
    (r"(?P<name>[\w.-]+)(?:\S*) was not found in the (?:package registry|provided package locations)", unsolved.package_missing),
    (r"Python ABI tag|Python implementation tag|matching Python", unsolved.no_wheel_for_python),
    (r"(?P<name>[\w.-]+)==(?P<version>\S+) depends on Python(?P<python>\S+)", unsolved.python_unfit),
    (r"matching platform tag", unsolved.no_wheel_for_platform),
    (r"is disabled for (?:all packages|`)|has no usable wheels", unsolved.binary_clash),
    (r"(?P<name>[\w.-]+)==(?P<version>\S+) was yanked(?: \(reason: (?P<reason>.*?)\) )?", unsolved.yanked),
    (r"there is no version of (?P<name>[\w.-]+)", unsolved.version_missing),
    (r"only (?:the following versions of )?(?P<name>[\w.-]+)\S*\s+(?:is|are) available", unsolved.version_missing),
    (r"No solution found", unsolved.conflict),
    (r"(?:Failed to (?:download and )?build) `(?P<name>[^`=@ ]+)", unbuilt.build_failed),
    (
        r"No interpreter found at path `(?P<path>[^`]+)`|Failed to inspect Python interpreter from [^`]*`(?P<broken>[^`]+)`",
        unbuilt.no_python,
    ),
    (r"invalid value '(?P<value>[^']+)' for '--python-platform", unbuilt.unknown_platform),
    (r"Couldn't parse requirement", unbuilt.not_parsed),
)


def explain(finished: Finished, case: Case) -> tuple[Problem, ...]:
    """Problems for a failed call. Looks at an index's pages when uv does not tell what they hold (not when offline)."""
    text = case.clean(_without_warnings(finished.stderr)).strip()
    for pattern, describe in _KNOWN:
        found = re.search(pattern, text)
        if found and (problem := describe(Said(text, case, found))):
            return (problem,)
    return (_unknown(text, case),)


def _without_warnings(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(("warning:", "Resolved ")))


def _unknown(text: str, case: Case) -> Problem:
    return Problem(
        rule="resolving-failed",
        what="The packages could not be resolved.",
        origin=next((one.origin for one in case.lines_about(text)), None),
        why="uv, which resolves for Lading, says why below.",
        code=ExitCode.RESOLUTION,
        detail=text or "uv ended without a word.",
    )

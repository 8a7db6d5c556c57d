"""What resolving has shown and the user should know: withdrawn versions, where was searched, what uv does not keep."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lading.model.decisions import Decision, Kind
from lading.model.patterns import pattern
from lading.model.plan import Plan
from lading.model.requirements import Declared, Via
from lading.model.secrets import Redactor

_YANKED = pattern(r"^warning: `(?P<name>[^`=]+)==(?P<version>[^`]+)` is yanked(?: \(reason: \"?(?P<reason>.*?)\"?\))?\.?$", re.MULTILINE)


def yanked(plan: Plan, stderr: str, redact: Redactor) -> Iterable[Decision]:
    """The versions that their authors have withdrawn, by uv's warnings."""
    for found in _YANKED.finditer(stderr):
        yield _yanked(plan, found["name"], found["version"], redact(found["reason"] or ""))


def not_kept(plan: Plan) -> Iterable[Decision]:
    """What was asked for and uv does in another way."""
    for declared in plan.requirements:
        if declared.editable and declared.via is Via.VCS:
            yield _not_editable(declared)
    if plan.options.prefer_binary:
        yield _PREFER_BINARY


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


def searched_further(plan: Plan) -> Decision:
    """Every index was searched, because the first lacks a version."""
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


def as_of_unknown(names: tuple[str, ...], as_of: str) -> Decision:
    """For these packages nobody tells when a version was uploaded."""
    return Decision(
        rule="as-of-unknown",
        kind=Kind.ADVICE,
        subject="as-of",
        asked=f"nothing newer than {as_of}",
        chose=f"any version of {', '.join(names)}",
        because="where they come from tells no upload dates, so what is newer cannot be told apart",
        instead="an exact version of each",
    )


def left_out() -> Decision:
    """Folders of this machine were not searched."""
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

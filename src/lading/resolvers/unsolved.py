"""Requirements that no set of packages satisfies: exit code 3, but for an index that hides behind "not found"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.version import InvalidVersion, Version

from lading.model.modules import distribution_named_so
from lading.model.problems import ExitCode, Problem
from lading.model.secrets import SecretUrl
from lading.resolvers.cases import Said
from lading.resolvers.outages import refused, unreachable_host
from lading.resolvers.pages import Page, look

_SHOWN = 12
"""Versions named in a message."""

_ABI = re.compile(
    r"we only found wheels for `(?P<name>[^`]+)` \((?P<version>[^)]+)\) with the following Python (?P<what>[^:]+): (?P<tags>.+)"
)
_PLATFORMS = re.compile(r"Wheels are available for `(?P<name>[^`]+)` \((?P<version>[^)]+)\) on the following platforms?: (?P<tags>.+)")
_DEMAND = re.compile(r"(?P<who>[\w.\[\]+=-]+) depends? on (?P<what>[\w.-]+)")


def conflict(said: Said) -> Problem:
    """Requirements that contradict each other, with uv's chain of reasons."""
    lines = said.case.lines_about(said.text)
    names = list(dict.fromkeys(one.name for one in lines if one.name))
    subject = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else (names[0] if names else "The requirements")
    where = ", ".join(dict.fromkeys(str(one.origin) for one in lines))
    return Problem(
        rule="requirements-conflict",
        what=f"{subject} cannot be installed together." if len(names) > 1 else f"The demands on {subject} contradict each other.",
        origin=said.origin(),
        why=f"No set of versions satisfies {where}." if where else "No set of versions satisfies all of them.",
        instead="Loosen or change the version of one of them; the chain of reasons is below.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def version_missing(said: Said) -> Problem | None:
    """A version that no index has; the index's own page tells which ones exist."""
    name = said.found["name"].rstrip(".")
    if "incompatible" in said.text or not _is_whole_reason(said, name):
        return None
    pages = _pages(said, name)
    if problem := _outage(said, name, pages):
        return problem
    asked = re.search(rf"(?:you require|depends? on) ({re.escape(name)}[^\s,]*(?:,[<>=!~][^\s,]+)*)", said.reasons)
    versions = [version for page in pages for version in page.versions]
    return Problem(
        rule="version-not-found",
        what=f"No version of {name} fits {asked[1].rstrip('.') if asked else 'what is asked'}{_demanded_by(said, name)}.",
        origin=said.origin(name),
        why=f"{_hosts(page for page in pages if page.versions)} has {_shown(versions)}."
        if versions
        else "No index that was asked has one.",
        instead=_way_out(said, name, asked[1] if asked else "", versions),
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def uploaded_later(said: Said) -> Problem | None:
    """A package that had no fitting version yet on the day that resolving is as of."""
    name, version, day, uploaded = (said.found[key] for key in ("name", "version", "day", "uploaded"))
    if not _is_whole_reason(said, name):
        return None
    on = uploaded.partition("T")[0]
    by_project = said.case.plan.exclude_newer is not None
    return Problem(
        rule="uploaded-later",
        what=f"{name} had no version that fits yet on {day}{_demanded_by(said, name)}.",
        origin=said.origin(name),
        why=f"{version} was uploaded on {uploaded}, and nothing counts that came later than {day}.",
        instead=f"Name {on} or a later day in exclude-newer under [tool.uv]."
        if by_project
        else f"Resolve as of a later day: --as-of {on}, or --as-of none for today.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def _is_whole_reason(said: Said, name: str) -> bool:
    """Whether the missing version is the cause, rather than one step of a longer chain about several packages."""
    demands = {match["what"] for match in _DEMAND.finditer(said.reasons)}
    return demands <= {name} and not re.search(rf"you require {re.escape(name)}\S* and {re.escape(name)}", said.reasons)


def _demanded_by(said: Said, name: str) -> str:
    """Who asks for a package, when it is not the user."""
    who = [match["who"] for match in _DEMAND.finditer(said.reasons) if match["what"] == name]
    own = any(one.name == name for one in said.case.lines_about(said.text))
    return f", which {' and '.join(dict.fromkeys(who))} needs" if who and not own else ""


def _hosts(pages: Iterable[Page]) -> str:
    return ", ".join(dict.fromkeys(page.host for page in pages))


def _shown(versions: list[str]) -> str:
    unique = list(dict.fromkeys(versions))
    earlier = f"{len(unique) - _SHOWN} earlier versions, " if len(unique) > _SHOWN else ""
    return earlier + ", ".join(unique[-_SHOWN:])


def _way_out(said: Said, name: str, asked: str, versions: list[str]) -> str:
    if not versions:
        return "Ask for a version that exists, or add the index that has it (--index-url)."
    if _demanded_by(said, name):
        return f"Use another version of the package that needs it, or add an index that has this {name}."
    return f"Write {name}=={_nearest(asked, versions)}, or another version that exists."


def _nearest(asked: str, versions: list[str]) -> str:
    """The highest version that is not above the one asked for, else the highest of all."""
    wanted = re.search(r"[<>=!~]=?=?\s*([\w.+!]+)", asked)
    try:
        limit = Version(wanted[1].rstrip(".")) if wanted else None
    except InvalidVersion:
        limit = None
    below = [version for version in versions if limit is None or Version(version) <= limit]
    return max(below or versions, key=Version)


def package_missing(said: Said) -> Problem:
    """A name that no index knows, or an index that would not say: uv tells neither of a bound index."""
    name = said.found["name"]
    pages = _pages(said, name)
    if problem := _outage(said, name, pages):
        return problem
    asked = _hosts(pages)
    left_out = " A folder outside of the project, named by this machine's settings, was not searched." if said.case.left_out else ""
    return Problem(
        rule="package-not-found",
        what=f"There is no package {name}{f' on {asked}' if asked else ''}{_demanded_by(said, name)}.",
        origin=said.origin(name),
        why=f"No index that was asked has it.{left_out}",
        instead=_meant(said, name),
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def _meant(said: Said, name: str) -> str:
    """What was probably meant by a name that no index has."""
    other = distribution_named_so(name)
    if other is not None:
        return f"Write {other}: {name} is the name to import, not the one to install."
    if any((said.case.root / name / file).is_file() for file in ("pyproject.toml", "setup.py")):
        return f"Write ./{name} for the project's own folder; a name without a slash is looked for on the indexes, as by pip."
    return "Check the spelling (the name to install may differ from the name to import), or add the index that has it."


def _pages(said: Said, name: str) -> list[Page]:
    if said.case.offline:
        return []
    return [look(url, name, flat=flat) for url, flat in said.case.indexes_of(name)]


def _outage(said: Said, name: str, pages: list[Page]) -> Problem | None:
    """An index that would not answer, where uv does not say so itself: for a bound package it only says "not found"."""
    if not any(name in binding.packages for binding in said.case.bound):
        return None
    for page in pages:
        if page.status in (401, 403):
            return refused(said, page.url.without_credentials(), page.status)
        if page.status is None and page.host:
            return unreachable_host(said, page.host, "")
    return None


def no_wheel_for_python(said: Said) -> Problem:
    """Wheels exist, for other Pythons."""
    hint = _ABI.search(said.text)
    named = hint or re.search(r"(?P<name>[\w.-]+)==(?P<version>\S+) has no wheels with a matching Python", said.text)
    subject = f"{named['name']} {named['version'].removeprefix('v')}" if named else "A package"
    pythons = _pythons(hint["tags"]) if hint else []
    python = said.case.plan.target.python
    newest = pythons[-1] if pythons else "that it has wheels for"
    advice = f"Use Python {newest} (.python-version, the configuration, or --python), "
    return Problem(
        rule="no-wheel-for-python",
        what=f"{subject} has no wheel for Python {python}.",
        origin=said.origin(named["name"] if named else None),
        why=f"Its wheels are for Python {_and(pythons)}, and it has no source distribution." if pythons else None,
        instead=f"{advice}or another version of {named['name'] if named else 'the package'}.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def _pythons(tags: str) -> list[str]:
    found = {(int(major), int(minor)) for major, minor in re.findall(r"`(?:cp|pp|py)(\d)(\d+)[a-z]*`", tags)}
    return [f"{major}.{minor}" for major, minor in sorted(found)]


def _and(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def python_unfit(said: Said) -> Problem | None:
    """A package that asks for another Python, when that is what stands in the way."""
    if "Python version" not in said.text:
        return None
    python = said.case.plan.target.python
    wanted = said.found["python"].rstrip(",.")
    return Problem(
        rule="python-does-not-fit",
        what=f"{said.found['name']} {said.found['version']} needs Python {wanted}, and the project uses {python}.",
        origin=said.origin(said.found["name"]),
        why=said.case.plan.python_because or None,
        instead=f"Use a Python that is {wanted} (.python-version, the configuration, or --python), or another version of {said.found['name']}.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def no_wheel_for_platform(said: Said) -> Problem:
    """Wheels exist, for other platforms."""
    hint = _PLATFORMS.search(said.text)
    named = hint or re.search(r"(?P<name>[\w.-]+)==(?P<version>\S+) has no wheels with a matching platform", said.text)
    subject = f"{named['name']} {named['version'].removeprefix('v')}" if named else "A package"
    return Problem(
        rule="no-wheel-for-platform",
        what=f"{subject} has no wheel for {said.case.plan.target.platform}.",
        origin=said.origin(named["name"] if named else None),
        why=f"It has wheels for {hint['tags'].replace('`', '')}, and no source distribution." if hint else None,
        instead=f"Use another version of {named['name'] if named else 'the package'}, or lock for a platform that it supports.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def binary_clash(said: Said) -> Problem | None:
    """``--no-binary`` without a source distribution, or ``--only-binary`` without a wheel."""
    named = re.search(r"(?:required for|are required for) `(?P<name>[^`]+)`", said.text)
    if not named:
        return None
    wheels = "Wheels are required" in said.text
    option, lacking = ("--only-binary", "wheel that fits") if wheels else ("--no-binary", "source distribution")
    return Problem(
        rule="no-file-of-the-wanted-kind",
        what=f"{named['name']} has no {lacking}, and {option} allows nothing else.",
        origin=said.origin(named["name"]),
        why=None,
        instead=f"Leave {named['name']} out of {option}, or use another version of it.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def yanked(said: Said) -> Problem:
    """Only versions that their authors have withdrawn would fit."""
    reason = f" They say: {said.found['reason']}." if said.found["reason"] else ""
    return Problem(
        rule="version-yanked",
        what=f"{said.found['name']} {said.found['version']} was withdrawn by its authors, and no other version fits.",
        origin=said.origin(said.found["name"]),
        why=f"Withdrawn versions are taken only where a requirement pins them exactly.{reason}",
        instead=f"Ask for another version, or pin {said.found['name']}=={said.found['version']} if you must have it.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def on_another_index(said: Said) -> Problem:
    """A version that only an index behind the first one has, where one of them is private."""
    name, asked = said.found["name"], said.found["asked"]
    first, second = (SecretUrl(said.found[key]).without_credentials() for key in ("first", "second"))
    return Problem(
        rule="version-on-another-index",
        what=f"{asked} is not on {first}, which has other versions of {name}.",
        origin=said.origin(name),
        why=f"{second} may have it, and is not asked: one of the indexes is private, and a public package must not take a private one's place.",
        instead=f"If {name} comes from {second}, say so on its line: {asked} --index-url {second}. Otherwise ask for a version that is there.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )


def two_urls(said: Said) -> Problem:
    """One package, required from two URLs."""
    return Problem(
        rule="requirements-conflict",
        what=f"{said.found['name']} is required from two different places.",
        origin=said.origin(said.found["name"]),
        why="Within one environment a package comes from one place.",
        instead="Keep one of the lines.",
        code=ExitCode.RESOLUTION,
        detail=said.detail(),
    )

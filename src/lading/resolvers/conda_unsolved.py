"""What cannot be solved, said in the user's own lines."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from lading.model.conda import MatchSpec, redact_conda
from lading.model.plan import Plan
from lading.model.problems import ExitCode, Problem

_HEAD = re.compile(r"^Cannot solve the request because of: ")
_VIRTUAL = re.compile(r"(?P<name>__\w+) ?(?P<version>[^,]*), for which no candidates were found")
_NOTHING = re.compile(r"No candidates were found for (?P<name>[\w.-]+) (?P<rest>[^\n]+?)\.?$", re.MULTILINE)
_SHOWN = 10


def missing(spec: MatchSpec, channels: Iterable[str], names: Collection[str], *, pip: bool) -> Problem:
    """A package that no channel has, with the nearest names. ``pip``: the package index is known to have one of that name."""
    near = get_close_matches(spec.name, names, n=3, cutoff=0.6)
    asked = ", ".join(map(redact_conda, channels))
    other = f" Or write it into the pip requirements, as {spec.name}." if pip else ""
    return Problem(
        rule="conda-package-not-found",
        what=f"There is no conda package {spec.name} in {asked}.",
        origin=spec.origin,
        why=f"Packages of like names: {', '.join(near)}." if near else "No package there has a like name.",
        instead=(f"Write {near[0]}, or add" if near else "Check the spelling, or add")
        + f" the channel that has {spec.name} (CHANNEL::{spec.name}, or channels: in an environment.yml).{other}",
        code=ExitCode.RESOLUTION,
    )


def unsolved(text: str, specs: tuple[MatchSpec, ...], plan: Plan, versions: dict[str, list[str]]) -> Problem:
    """A solver's explanation as one problem. ``versions`` are those that exist, by package, of the names in it."""
    reasons = redact_conda(_HEAD.sub("", text.strip()))
    lines = [spec for spec in specs if re.search(rf"(?<![\w.-]){re.escape(spec.name)}(?![\w-]|\.\w)", reasons)]
    if found := _NOTHING.search(reasons):
        return _no_version(found["name"], found["rest"], reasons, lines, versions.get(found["name"], []))
    if found := _VIRTUAL.search(reasons):
        return _not_on_target(found["name"], found["version"].strip(), reasons, lines, plan)
    names = list(dict.fromkeys(spec.name for spec in lines))
    return Problem(
        rule="conda-requirements-conflict",
        what=f"{_and(names)} cannot be installed together by conda." if len(names) > 1 else f"Conda cannot install {_and(names)}.",
        origin=lines[0].origin if lines else None,
        why=f"No set of packages satisfies {', '.join(dict.fromkeys(str(spec.origin) for spec in lines))}." if lines else None,
        instead="Loosen or change the version of one of these lines; the chain of reasons is below."
        + (" With channel_priority: flexible, weaker channels count too." if "strict channel priority" in reasons else ""),
        code=ExitCode.RESOLUTION,
        detail=_detail(lines, reasons),
    )


def _no_version(name: str, rest: str, reasons: str, lines: list[MatchSpec], versions: list[str]) -> Problem:
    shown = ", ".join(versions[-_SHOWN:])
    earlier = f"{len(versions) - _SHOWN} earlier versions, " if len(versions) > _SHOWN else ""
    own = next((spec for spec in lines if spec.name == name), None)
    return Problem(
        rule="conda-version-not-found",
        what=f"No conda package of {name} fits {name} {rest.strip()}.",
        origin=own.origin if own else None,
        why=f"The channels have {earlier}{shown}." if versions else "No channel has one.",
        instead=f"Write {name}={versions[-1]}, or another version that exists, or add a channel that has this one."
        if versions
        else "Ask for a version that exists, or add the channel that has it.",
        code=ExitCode.RESOLUTION,
        detail=_detail(lines, reasons) if own is None else None,
    )


def _not_on_target(name: str, version: str, reasons: str, lines: list[MatchSpec], plan: Plan) -> Problem:
    has = next((one.split("=")[1] for one in (plan.conda.virtual if plan.conda else ()) if one.startswith(f"{name}=")), None)
    what = {"__cuda": "a GPU with CUDA", "__glibc": "the C library (glibc)", "__linux": "the kernel", "__osx": "macOS"}.get(name, name)
    instead = {
        "__cuda": "Lock for a GPU with --accelerator cu121 (or another build label), or choose a build for the CPU: NAME=VERSION=*cpu*.",
    }.get(name, "Lock for a platform that has it (--platform), or use an older version.")
    first = lines[0] if lines else None
    return Problem(
        rule="conda-not-for-target",
        what=f"{first.name if first else 'A package'} needs {what} {version}, and the target has {has or 'none'}.".replace(" ,", ","),
        origin=first.origin if first else None,
        why=f"The target is {plan.target.platform}, {plan.target.accelerator}.",
        instead=instead,
        code=ExitCode.RESOLUTION,
        detail=_detail(lines, reasons),
    )


def _detail(lines: list[MatchSpec], reasons: str) -> str:
    own = [f"{spec.origin}: {spec.raw}" for spec in lines]
    return "\n".join([*own, "", *(line.rstrip() for line in reasons.splitlines() if line.strip())])


def _and(names: list[str]) -> str:
    if not names:
        return "what is asked"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]

"""What can be said about requirements only when all of them are read."""

from __future__ import annotations

from collections.abc import Iterable

from lading.model.decisions import Decision, Kind
from lading.model.problems import ExitCode, Problem
from lading.model.requirements import Declared, Via


def conflicting_pins(requirements: Iterable[Declared]) -> list[Problem]:
    """A package that is pinned to two versions for the same circumstances, each pair once."""
    first: dict[tuple[str, str | None], Declared] = {}
    problems = []
    for declared in requirements:
        if declared.name is None or _pin(declared) is None:
            continue
        earlier = first.setdefault((declared.name, declared.marker), declared)
        if earlier is not declared and not _compatible(_pin(earlier) or "", _pin(declared) or ""):
            problems.append(_conflict(earlier, declared))
    return problems


def _pin(declared: Declared) -> str | None:
    """The version, when one clause fixes it and nothing else is said."""
    text = declared.specifier
    if declared.via is not Via.INDEX or not text.startswith("==") or text.startswith("===") or "," in text or text.endswith("*"):
        return None
    return text[2:]


def _compatible(first: str, second: str) -> bool:
    if first == second:
        return True
    from packaging.version import Version  # noqa: PLC0415 -- needed for a package that is there twice, only

    one, other = Version(first), Version(second)
    if one.local and other.local and one.local != other.local:
        return False
    return one.public == other.public or Version(one.public) == Version(other.public)


def _conflict(first: Declared, second: Declared) -> Problem:
    return Problem(
        rule="pins-conflict",
        what=f"{first.name} is pinned twice: {first.pep508} ({first.origin}) and {second.pep508} ({second.origin}).",
        origin=second.origin,
        why="Both lines count, and no version is both.",
        instead="Delete one of the two lines.",
        code=ExitCode.RESOLUTION,
    )


def missing_hashes(requirements: tuple[Declared, ...], *, required: bool) -> tuple[list[Problem], list[Decision]]:
    """What ``--require-hashes`` asks of every line; without it, advice when only some lines have hashes (pip refuses such a file)."""
    bare = [declared for declared in requirements if not _verifiable(declared)]
    if required:
        return [_unhashed(declared) for declared in bare], []
    if bare and any(declared.hashes for declared in requirements):
        return [], [_incomplete(bare)]
    return [], []


def _verifiable(declared: Declared) -> bool:
    if declared.hashes:
        return declared.is_pinned
    return declared.via is Via.URL and declared.url is not None and any(f"{kind}=" in declared.url.reveal() for kind in _FRAGMENT_HASHES)


_FRAGMENT_HASHES = ("sha256", "sha384", "sha512")


def _unhashed(declared: Declared) -> Problem:
    why = "It has no hash."
    if declared.hashes:
        why = "It has a hash, but no exact version (==) that the hash could belong to."
    elif declared.via in (Via.PATH, Via.VCS):
        why = "What comes from a folder or from git has no hash."
    return Problem(
        rule="hash-missing",
        what=f"--require-hashes is in force, and this line cannot be verified: {declared.pep508}",
        origin=declared.origin,
        why=why,
        instead="Add --hash=sha256:... (pip-compile --generate-hashes writes them), or remove --require-hashes: Lading's lock holds hashes anyway.",
    )


def _incomplete(bare: list[Declared]) -> Decision:
    return Decision(
        rule="hashes-incomplete",
        kind=Kind.ADVICE,
        subject="hashes",
        asked=f"{len(bare)} lines without a hash beside lines with one",
        chose="the hashes that are there are verified",
        because="pip would refuse the file for the lines without",
        origin=bare[0].origin,
        instead="a hash on every line, and --require-hashes",
    )

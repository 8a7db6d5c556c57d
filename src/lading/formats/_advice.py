"""Lines that pip refuses or misreads: what the author most likely meant, and what to write."""

from __future__ import annotations

import re
from collections.abc import Callable

from lading.model.records import dataclass

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_EXTRAS = r"(?:\s*\[[^\]]*\])?"
_VERSION = r"[0-9][A-Za-z0-9.!+_-]*"


@dataclass(frozen=True, slots=True)
class Advice:
    """Why a line cannot be read, and what to write instead."""

    why: str
    instead: str


def advise(text: str, reason: str) -> Advice:
    """The advice for a line that is no requirement.

    Args:
        text: The requirement, without its options; credentials masked.
        reason: What `packaging` says about it, used when nothing more helpful is known.
    """
    for pattern, explain in _KNOWN:
        found = pattern.search(text)
        if found:
            advice = explain(found, text)
            if advice:
                return advice
    return _unknown(text, reason)


def _unknown(text: str, reason: str) -> Advice:
    strange = next((character for character in text if ord(character) > 126 or ord(character) < 32), None)
    if strange:
        return Advice(
            f"The character U+{ord(strange):04X} at position {text.index(strange) + 1} is not allowed there; it often comes from copying a web page.",
            "Type the line anew with plain spaces, quotes and hyphens.",
        )
    return Advice(reason, "Write NAME==VERSION, NAME>=VERSION, or NAME @ URL.")


def _quoted(found: re.Match[str], text: str) -> Advice:
    return Advice("A requirements file has no quotes and no commas between lines.", f"Write: {text.strip(' ,').replace(found[1], '')}")


def _pip_command(found: re.Match[str], text: str) -> Advice:
    return Advice("This is a command, and the file lists requirements.", f"Write: {text[found.end() :].strip()}")


def _comment(found: re.Match[str], _text: str) -> Advice:
    return Advice("A comment begins with a space and #; without the space the # belongs to the version.", f"Write: {found[1]}  {found[2]}")


def _continuation(_found: re.Match[str], _text: str) -> Advice:
    return Advice("The backslash is followed by a space, so the line does not continue.", "Remove the space after the backslash.")


def _conda_channel(found: re.Match[str], _text: str) -> Advice:
    return Advice("`channel::name` is conda's spelling; pip has no channels.", f"Write: {found[1]}")


def _conda_build(found: re.Match[str], _text: str) -> Advice:
    return Advice("`name=version=build` is conda's spelling.", f"Write: {found[1]}=={found[2]}")


def _single_equals(found: re.Match[str], _text: str) -> Advice:
    return Advice("A single = is conda's spelling; pip compares with ==.", f"Write: {found[1]}=={found[2]}")


def _caret(found: re.Match[str], _text: str) -> Advice:
    return Advice("^ is Poetry's spelling of a range.", f"Write: {found[1]}>={found[2]},<{_next_breaking(found[2])}")


def _next_breaking(version: str) -> str:
    """Where Poetry's ``^version`` ends: the next version that changes the leftmost part that is not zero."""
    parts = [int(part) for part in re.findall(r"[0-9]+", version)[:3]]
    for position, part in enumerate(parts):
        if part or position == len(parts) - 1:
            return ".".join(str(number) for number in [*parts[:position], part + 1])
    return version


def _tilde(found: re.Match[str], _text: str) -> Advice:
    version = found[2]
    return Advice(
        "~ alone is Poetry's or npm's spelling of a range.", f"Write: {found[1]}~={version if '.' in version else version + '.0'}"
    )


def _compatible(found: re.Match[str], _text: str) -> Advice:
    return Advice("~= needs a version of at least two parts.", f"Write: {found[1]}~={found[2]}.0")


def _range_star(found: re.Match[str], _text: str) -> Advice:
    return Advice(".* stands for any version only after == and !=.", f"Write: {found[1]}{found[2]}{found[3]}")


def _range_local(found: re.Match[str], _text: str) -> Advice:
    return Advice("A build label (+...) can be compared with == and != only.", f"Write: {found[1]}{found[2]}{found[3]}")


def _extras_last(found: re.Match[str], _text: str) -> Advice:
    return Advice("Extras stand before the version.", f"Write: {found[1]}{found[3]}{found[2].strip()}")


def _no_version(found: re.Match[str], _text: str) -> Advice:
    return Advice(
        f'"{found[3]}" is not a version that PEP 440 knows, and pip has refused such versions since 24.1.',
        f"Write a version that the index lists: {found[1]}{found[2]}1.2.3",
    )


def _scp(found: re.Match[str], text: str) -> Advice:
    fixed = text.replace(found[0], f"git+ssh://{found[1]}/{found[2]}")
    return Advice("git's short form host:path is not a URL.", f"Write: {fixed}")


def _two(_found: re.Match[str], text: str) -> Advice | None:
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    if all(re.fullmatch(_NAME + _EXTRAS + r"(?:[<>=!~]=?=?[^\s]+)?", word) for word in words) and len(words) > 1:
        return Advice("A line holds one requirement.", f"Write {len(words)} lines: " + " / ".join(words))
    return None


def _key_value(_found: re.Match[str], _text: str) -> Advice:
    return Advice(
        "This looks like a line of a YAML file.", "Put a conda environment into environment.yml; list only pip requirements here."
    )


def _slash(_found: re.Match[str], _text: str) -> Advice:
    return Advice(
        "It looks like a path, and nothing is there.",
        "Correct the path: local packages are named relative to the project's folder, as ./folder.",
    )


_Rule = tuple[re.Pattern[str], Callable[[re.Match[str], str], Advice | None]]
_KNOWN: list[_Rule] = [
    (re.compile(r"^(?:[!%$]\s*)?(?:python[0-9.]*\s+-m\s+)?(?:pip[0-9.]*|uv\s+pip|conda|mamba)\s+install\s+"), _pip_command),
    (re.compile(r"^(['\"])"), _quoted),
    (re.compile(rf"^({_NAME}{_EXTRAS}\s*[<>=!~]=?=?\s*[^\s#]+)(#.*)$"), _comment),
    (re.compile(r"\\$"), _continuation),
    (re.compile(r"^[A-Za-z0-9_./-]+::(\S.*)$"), _conda_channel),
    (re.compile(rf"^({_NAME})\s*=\s*({_VERSION})=\S+$"), _conda_build),
    (re.compile(rf"^({_NAME}{_EXTRAS})\s*=\s*({_VERSION})$"), _single_equals),
    (re.compile(rf"^({_NAME}{_EXTRAS})\s*(?:==)?\s*\^\s*({_VERSION})"), _caret),
    (re.compile(rf"^({_NAME}{_EXTRAS})\s*~\s*({_VERSION})"), _tilde),
    (re.compile(rf"^({_NAME}{_EXTRAS})\s*~=\s*([0-9]+)\s*$"), _compatible),
    (re.compile(rf"^({_NAME}{_EXTRAS})\s*(>=|<=|<|>|~=)\s*([0-9.]*[0-9])\.\*\s*$"), _range_star),
    (re.compile(rf"^({_NAME}{_EXTRAS})\s*(>=|<=|<|>|~=)\s*([0-9][A-Za-z0-9.]*)\+[A-Za-z0-9.]+\s*$"), _range_local),
    (re.compile(rf"^({_NAME})\s*([<>=!~][^\[\]]*)(\[[^\]]+\])\s*$"), _extras_last),
    (re.compile(r"git\+([A-Za-z0-9_.-]+@[A-Za-z0-9.-]+):([^/\s][^\s]*)"), _scp),
    (re.compile(r"[\s,;]"), _two),
    (re.compile(rf"^({_NAME}{_EXTRAS})\s*(==|!=|>=|<=|<|>|~=)\s*([^\s,;]+)$"), _no_version),
    (re.compile(r"^[A-Za-z_]+:(\s|$)"), _key_value),
    (re.compile(r"^[^\s@]*/"), _slash),
]

"""A Python version as people write it, as a request."""

from __future__ import annotations

import re

from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import LadingError, Problem
from lading.model.target import PythonRequest

OLDEST = (3, 6)
_VERSION = pattern(r"([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?")


def exact_request(text: str, origin: Origin, *, rule: str, what: str) -> PythonRequest:
    """``3.11`` as ``==3.11.*``, ``3.11.7`` as ``==3.11.7``, ``3`` as ``==3.*``.

    Args:
        text: The version as written.
        origin: Where it stands.
        rule: The id of the problem, if it is no version.
        what: What names the version: ``build.python_version``.

    Raises:
        LadingError: if it is no version of Python, or one that no worker runs on.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        raise LadingError(
            Problem(
                rule=rule,
                what=f'{what} "{text}" is not a version of Python.',
                origin=origin,
                why="A version is written 3.11 or 3.11.7.",
                instead="Write, for example, 3.11.",
            )
        )
    _must_be_supported(found, text, origin, rule, what)
    specifier = f"=={text}" if found[3] else f"=={text}.*"
    return PythonRequest(specifier=specifier, text=text, origin=origin)


def specifier_request(text: str, origin: Origin, *, what: str, example: str) -> PythonRequest:
    """A PEP 440 specifier (``>=3.10,<3.13``) as a request.

    Raises:
        LadingError: if it is none.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 -- see `_requirement`

    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise LadingError(
            Problem(
                rule="requires-python-invalid",
                what=f'{what} "{text}" is not a version specifier.',
                origin=origin,
                instead=f"Write, for example, {example}.",
            )
        ) from error
    return PythonRequest(specifier=re.sub(r"\s+", "", text), text=text, origin=origin)


def _must_be_supported(found: re.Match[str], text: str, origin: Origin, rule: str, what: str) -> None:
    minor = int(found[2][:6]) if found[2] else None
    if int(found[1][:6]) == OLDEST[0] and (minor is None or minor >= OLDEST[1]):
        return
    likely = {1: "3.10", 2: "3.12"}.get(minor or 0) if found[1] == "3" else None
    raise LadingError(
        Problem(
            rule=rule,
            what=f'{what} "{text}" asks for a Python that Lading does not run on.',
            origin=origin,
            why="In YAML, a version without quotes loses its last zero when a tool rewrites it."
            if likely
            else "3.6 is the oldest, and 4 is not there yet.",
            instead=f'Write "{likely or "3.11"}".' if likely else "Ask for 3.6 or newer, for example 3.11.",
        )
    )

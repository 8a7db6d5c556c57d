"""What conda specifications say of Python."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from lading.model.conda import MatchSpec
from lading.model.target import PythonRequest


def python_request(specs: Iterable[MatchSpec]) -> PythonRequest | None:
    """The Python that the list asks for, None when it names none.

    What PEP 440 cannot say (``3.8|3.9``) leaves the specifier empty: the solver has the last word in any case.
    """
    found = next((spec for spec in specs if spec.name == "python"), None)
    if found is None:
        return None
    return PythonRequest(specifier=pep440(found.version), text=str(found.raw).strip(), origin=found.origin)


def pep440(version: str) -> str:
    """A conda version expression as a PEP 440 specifier; empty where there is none that means the same."""
    if version in ("", "*"):
        return ""
    clauses = [f"=={clause}" if re.match(r"\d", clause) else clause for clause in version.split(",")]
    try:
        return str(SpecifierSet(",".join(clauses)))
    except InvalidSpecifier:
        return ""

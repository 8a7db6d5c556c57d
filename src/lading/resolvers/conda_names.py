"""Which Python distributions a conda package installs, by the package index's names.

Asked in this order: the package itself (``purls`` in its channel's repodata), the dated table ``data/conda_names.toml``, and else the rule
that a package which needs Python installs the distribution of its own name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_NEEDS_PYTHON = re.compile(r"(python|python_abi|pypy3?\.?\d*)(\s|$|[<>=])")
_PURL = re.compile(r"pkg:pypi/(?P<name>[^@?#]+)(?:@(?P<version>[^?#]+))?")


def provided(name: str, version: str, depends: Iterable[str], purls: Iterable[str] | None = None) -> tuple[tuple[str, str], ...]:
    """The distributions, with their versions, that a package installs; none for packages that are not Python's.

    Args:
        name: Conda's name.
        version: Conda's version.
        depends: What the package depends on, as conda's specifications.
        purls: What the channel says it is elsewhere; None when it says nothing.
    """
    if purls:
        found = [match for match in map(_PURL.match, purls) if match]
        return tuple((canonicalize_name(unquote(one["name"])), pep440(one["version"] or version) or "") for one in found)
    of_itself = name if any(_NEEDS_PYTHON.match(one) for one in depends) else ""
    other = _names().get(name, of_itself)
    as_pep440 = pep440(version)
    return ((canonicalize_name(other), as_pep440),) if other and as_pep440 else ()


def pep440(version: str) -> str | None:
    """A conda version as the package index writes it (``1.0_rc1`` is ``1.0rc1``), None where it has no such version."""
    for text in (version, version.replace("_", "."), version.replace("_", "")):
        try:
            return str(Version(text))
        except InvalidVersion:
            continue
    return None


def conda_names(distribution: str) -> tuple[str, ...]:
    """Conda's names for a distribution of the package index: those of the table, and its own."""
    found = [conda for conda, pypi in _names().items() if pypi and canonicalize_name(pypi) == distribution]
    return tuple(dict.fromkeys((distribution, *found)))


@cache
def _names() -> Mapping[str, str]:
    table: Mapping[str, Any] = tomllib.loads((Path(__file__).parent / "data" / "conda_names.toml").read_text("utf-8"))
    return {str(conda): str(pypi) for conda, pypi in table["names"].items()}

"""The names of distributions."""

from __future__ import annotations

import re

_SEPARATORS = re.compile(r"[-_.]+")


def canonical(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503).

    As `packaging.utils.canonicalize_name`, whose module takes as long to import as all else that a short command does.
    """
    return _SEPARATORS.sub("-", name).lower()

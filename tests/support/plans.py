"""Plans from requirement lines, as the readers and the planner make them."""

from __future__ import annotations

from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lading.model.origin import Origin
from lading.model.plan import Plan, Role, Source
from lading.model.project import ProjectKind
from lading.model.requirements import Declared, IndexOptions, Via
from lading.model.secrets import SecretText, SecretUrl
from lading.model.target import Target

LINUX = Target(python="3.11.7", platform="x86_64-manylinux_2_28")


def declared(text: str, line: int = 1, *, path: str = "requirements.txt", **fields: Any) -> Declared:
    """One requirement from PEP 508 text; `fields` replace what the text does not say (``path``, ``editable``, ``hashes``)."""
    requirement = Requirement(text)
    url = requirement.url
    via = Via.INDEX if url is None else Via.VCS if url.partition("://")[0].count("+") else Via.URL
    known: dict[str, Any] = {
        "raw": SecretText(text),
        "origin": Origin(path, line),
        "via": via,
        "name": canonicalize_name(requirement.name),
        "specifier": str(requirement.specifier),
        "extras": tuple(sorted(requirement.extras)),
        "marker": str(requirement.marker) if requirement.marker else None,
        "url": SecretUrl(url) if url else None,
    }
    return Declared(**{**known, **fields})


def local(path: str, line: int = 1, **fields: Any) -> Declared:
    """One requirement that is a path."""
    return Declared(raw=SecretText(path), origin=Origin("requirements.txt", line), via=Via.PATH, path=path, **fields)


def plan_of(*requirements: str | Declared, index: str | None = None, target: Target = LINUX, **fields: Any) -> Plan:
    """A plan of these requirements, numbered as lines of requirements.txt; `index` is the default index."""
    lines = [declared(one, number) if isinstance(one, str) else one for number, one in enumerate(requirements, start=1)]
    known: dict[str, Any] = {
        "variant": "",
        "kind": ProjectKind.PLAIN,
        "apis": (),
        "target": target,
        "sources": (Source(path="requirements.txt", role=Role.USED, format="requirements.txt", because="it is there", sha256="0" * 64),),
        "requirements": tuple(lines),
        "options": IndexOptions(index_url=SecretUrl(index) if index else None),
    }
    return Plan(**{**known, **fields})

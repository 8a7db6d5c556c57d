"""The plan: everything that resolving needs, and why it is so. Pure data, the same for the same project and target."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from lading.model.build import BuildOptions
from lading.model.conda import CondaPlan
from lading.model.decisions import Decision
from lading.model.files import fold_hashes
from lading.model.project import Api, ProjectKind
from lading.model.records import dataclass, field
from lading.model.requirements import BoundIndex, Declared, IndexOptions
from lading.model.scripts import Script
from lading.model.secrets import Secret
from lading.model.target import Target

__all__ = ["BoundIndex", "Plan", "Role", "Source"]


class Role(StrEnum):
    """What became of a file that was found."""

    USED = "used"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that was found: used or ignored, and why. ``sha256`` is of its content, for used files."""

    path: str
    role: Role
    format: str
    because: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was declared, before builds were chosen for it: a lock holds as long as this is the same, wherever the builds were looked up.

    ``switches`` are settings that change what is chosen (``torch-index=off``).
    """

    requirements: tuple[Declared, ...]
    options: IndexOptions
    switches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be resolved, for whom, from where.

    ``variant`` names a set of APIs with dependencies of their own; the empty name is the default one. ``complete``: the requirements are
    a whole lock, and nothing is added to them. ``dynamic`` are files of the project whose requirements its build backend works out.
    ``overrides``, ``excludes``, ``build`` and ``exclude_newer`` are a `Declaration`'s. ``source`` is the path of the declaration that counts.
    """

    variant: str
    kind: ProjectKind
    apis: tuple[Api, ...]
    target: Target
    sources: tuple[Source, ...]
    requirements: tuple[Declared, ...]
    constraints: tuple[Declared, ...] = ()
    options: IndexOptions = field(default_factory=IndexOptions)
    bound: tuple[BoundIndex, ...] = ()
    overrides: tuple[Declared, ...] = ()
    excludes: tuple[str, ...] = ()
    build: BuildOptions = field(default_factory=BuildOptions)
    exclude_newer: str | None = None
    complete: bool = False
    dynamic: tuple[str, ...] = ()
    asked: Asked | None = None
    python_because: str = ""
    system_packages: tuple[str, ...] = ()
    scripts: tuple[Script, ...] = ()
    source: str = ""
    conda: CondaPlan | None = None
    decisions: tuple[Decision, ...] = ()

    @property
    def lock_path(self) -> str:
        """The lock file's name, beside the project's configuration (PEP 751 names: ``pylock.<name>.toml``)."""
        return f"pylock.lading-{self.variant}.toml" if self.variant else "pylock.lading.toml"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that resolving depends on.

        Credentials, comments, line numbers and Python's patch version do not count: a colleague's 3.11.9 runs a lock made on 3.11.7. Nor do
        the builds that were chosen, but only what they were chosen for: an index that was out of reach, or a mirror, makes no lock stale.
        """
        facts = self._facts()
        return fold_hashes([json.dumps(facts, sort_keys=True, ensure_ascii=False)])

    def _facts(self) -> dict[str, Any]:
        asked = self.asked or Asked(requirements=self.requirements, options=self.options)
        options = asked.options
        # Conda brings a Python of its own choice, so what counts is what it was asked for.
        python = "conda" if self.conda else ".".join(self.target.python.split(".")[:2])
        target = {**self.target.as_json(), "python": python}
        return {
            "target": target,
            "requirements": [_dependency_facts(declared) for declared in asked.requirements],
            "constraints": [_dependency_facts(declared) for declared in self.constraints],
            "index": options.index_url.without_credentials() if options.index_url else None,
            "extra": [url.without_credentials() for url in options.extra_index_urls],
            "find_links": [url.without_credentials() for url in options.find_links],
            "flags": [options.no_index, options.pre, options.require_hashes],
            "binary": [list(options.no_binary), list(options.only_binary)],
            "bound": [] if self.asked else [[index.url.without_credentials(), sorted(index.packages), index.kind] for index in self.bound],
            **self._rare_facts(),
        }

    def _rare_facts(self) -> dict[str, Any]:
        """Those that few projects have; absent from the others', so that their fingerprints stay."""
        build = self.build
        files = {source.path: source.sha256 for source in self.sources if source.role is Role.USED}
        facts: dict[str, Any] = {
            "overrides": [_dependency_facts(declared) for declared in self.overrides],
            "excludes": sorted(self.excludes),
            "build": {**build.as_json(), "requirements": [[name, _dependency_facts(one)] for name, one in build.requirements]}
            if build
            else None,
            "exclude_newer": self.exclude_newer,
            "complete": self.complete,
            "dynamic": [[path, files.get(path)] for path in self.dynamic],
            "conda": self.conda.facts() if self.conda else None,
            "switches": list(self.asked.switches) if self.asked else [],
        }
        return {key: value for key, value in facts.items() if value}

    def secrets(self) -> tuple[Secret, ...]:
        """Every credential in the plan, for a `Redactor`."""
        further = (*self.constraints, *self.overrides, *self.build.constraints, *(one for _, one in self.build.requirements))
        urls = [declared.url for declared in (*self.requirements, *further) if declared.url]
        urls += [declared.index for declared in self.requirements if declared.index]
        urls += [declared.find_links for declared in self.requirements if declared.find_links]
        urls += [*self.options.secrets(), *(index.url for index in self.bound)]
        return (*(url for url in urls if url.has_credentials), *(self.conda.secrets() if self.conda else ()))

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON data, credentials masked."""
        return {
            "variant": self.variant,
            "kind": str(self.kind),
            "apis": [{"name": api.name, "style": str(api.style), "file": api.file, "object": api.object} for api in self.apis],
            "target": {**self.target.as_json(), "python_because": self.python_because},
            "sources": [
                {
                    key: value
                    for key, value in (
                        ("path", source.path),
                        ("role", str(source.role)),
                        ("format", source.format),
                        ("because", source.because),
                        ("sha256", source.sha256),
                    )
                    if value
                }
                for source in self.sources
            ],
            "requirements": [declared.as_json() for declared in self.requirements],
            "constraints": [declared.as_json() for declared in self.constraints],
            "indexes": {
                "default": str(self.options.index_url) if self.options.index_url else None,
                "extra": [str(url) for url in self.options.extra_index_urls],
                "find_links": [str(url) for url in self.options.find_links],
                "no_index": self.options.no_index,
                "bound": [{"url": str(index.url), "packages": list(index.packages), "kind": index.kind} for index in self.bound],
            },
            "options": {
                "pre": self.options.pre,
                "require_hashes": self.options.require_hashes,
                "prefer_binary": self.options.prefer_binary,
                "no_binary": list(self.options.no_binary),
                "only_binary": list(self.options.only_binary),
                "trusted_hosts": list(self.options.trusted_hosts),
            },
            **self._rarely(),
            "system_packages": list(self.system_packages),
            **({"scripts": [script.as_json() for script in self.scripts]} if self.scripts else {}),
            "decisions": [decision.as_json() for decision in self.decisions],
            "lock": self.lock_path,
            "fingerprint": self.fingerprint,
        }

    def _rarely(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "overrides": [declared.as_json() for declared in self.overrides],
            "excludes": list(self.excludes),
            "build": self.build.as_json(),
            "exclude_newer": self.exclude_newer,
            "complete": self.complete,
            "dynamic": list(self.dynamic),
            "conda": self.conda.as_json() if self.conda else None,
        }
        return {key: value for key, value in record.items() if value}


def _dependency_facts(declared: Declared) -> list[Any]:
    url = declared.url.without_credentials() if declared.url else None
    return [
        declared.name,
        list(declared.extras),
        declared.specifier,
        declared.marker,
        url,
        declared.path,
        declared.editable,
        sorted(declared.hashes),
        declared.index.without_credentials() if declared.index else None,
        declared.find_links.without_credentials() if declared.find_links else None,
        [list(option) for option in declared.options],
    ]

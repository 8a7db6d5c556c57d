"""Keys of cog.yaml that Cog has deprecated."""

from __future__ import annotations

from collections.abc import Iterator

from lading.checks.advice import Advice, Edit
from lading.formats._yaml import Entry, Map, Node, read_yaml
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import ProblemCollector
from lading.model.project import ProjectConfig, ProjectKind


def check(config: ProjectConfig, files: ProjectFiles) -> Iterator[Advice]:
    """Every deprecated key of a Cog project's configuration."""
    if config.kind is not ProjectKind.COG or config.path is None:
        return
    root = read_yaml(config.path, files, ProblemCollector())
    if isinstance(root, Map):
        yield from _in_build(config.path, _map(root.get("build")))
        yield from _concurrency(config.path, _map(root.get("concurrency")))


def _map(entry: Entry | None) -> Map | None:
    value: Node | None = entry.value if entry else None
    return value if isinstance(value, Map) else None


def _in_build(path: str, build: Map | None) -> Iterator[Advice]:
    if build is None:
        return
    packages, before = build.get("python_packages"), build.get("pre_install")
    if packages is not None:
        yield Advice(
            rule="deprecated-field",
            what="build.python_packages lists the requirements.",
            origin=Origin(path, packages.line),
            why="Cog has deprecated it, and no other tool reads requirements there",
            instead="a requirements file, named by build.python_requirements; `lading migrate` moves the packages",
        )
    if before is not None:
        free = build.get("run") is None
        yield Advice(
            rule="deprecated-field",
            what="build.pre_install lists commands.",
            origin=Origin(path, before.line),
            why="Cog has deprecated it, and runs them after everything else, despite the name",
            instead="build.run" if free else "the same commands at the end of build.run",
            edits=(Edit(path, before.line, "pre_install", "run"),) if free else (),
        )


def _concurrency(path: str, section: Map | None) -> Iterator[Advice]:
    entry = section.get("max") if section else None
    if entry is not None:
        yield Advice(
            rule="deprecated-field",
            what="concurrency.max says how many predictions run at a time.",
            origin=Origin(path, entry.line),
            why="Cog has deprecated it: the number belongs to the code that can bear it",
            instead="@cog.concurrent(max=N) on an async def run",
        )

"""What is served follows a project whatever happens meanwhile: real files and workers, the service in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lading.model.cortex import Share, Splitter
from lading.model.events import Event
from lading.model.origin import Origin
from lading.model.project import ProjectKind
from lading.model.service import ServedApi, ServiceSpec
from lading.service.fleet import Fleet
from lading.service.reload import Reading, Reloader
from tests.service.test_fleet import fleet_of, log_into, run, served, until


def spec_of(*apis: ServedApi, **fields) -> ServiceSpec:
    return ServiceSpec(kind=ProjectKind.CORTEX, title="t", apis=apis, **fields)


class Project:
    """A project in a folder: every API uses the file of its own name, which says how long its setup takes. ``trouble`` is raised when it is read."""

    def __init__(self, root: Path, *names: str) -> None:
        self.root, self.names, self.trouble, self.fields = root, list(names), list[Exception](), dict[str, object]()
        for name in names:
            self.write(name, "0")

    def write(self, name: str, seconds: str) -> None:
        (self.root / f"{name}.py").write_text(f"# {seconds}\n")

    @property
    def spec(self) -> ServiceSpec:
        def api(name: str) -> ServedApi:
            return served(self.root, name, setup_sleep=float((self.root / f"{name}.py").read_text()[1:]))

        return spec_of(*map(api, self.names), **self.fields)

    def read(self) -> Reading:
        if self.trouble:
            raise self.trouble.pop()
        files = {name: frozenset([str(self.root / f"{name}.py")]) for name in self.names}
        return Reading(self.spec, files, deciding=frozenset([str(self.root / "cortex.yaml")]))

    def stop(self) -> None:
        pass


@dataclass
class Watched:
    """A fleet that follows a project; ``said`` is what the user is told, ``routes`` each spec that was routed."""

    fleet: Fleet
    said: list[Event] = field(default_factory=list)
    routes: list[ServiceSpec] = field(default_factory=list)

    def told(self, text: str) -> int:
        return sum(text in event.message for event in self.said)

    def ready(self, name: str) -> bool:
        service = self.fleet.find(name)
        return service is not None and service.pool.ever_ready


@contextlib.asynccontextmanager
async def watched(project: Project, start: ServiceSpec | None = None) -> AsyncIterator[Watched]:
    """Follow a project; ``start`` is what the server began with, where that is another."""
    start = start or project.spec
    said: list[Event] = []
    log = log_into(said)
    async with fleet_of(*start.apis, said=said, tell_seconds=0.5) as fleet:
        one = Watched(fleet, said)

        async def reroute(spec: ServiceSpec, *, training: bool) -> None:
            assert not training
            one.routes.append(spec)

        async def report(service) -> None:
            await service.pool.wait_settled()

        following = asyncio.create_task(Reloader(project, fleet, log, start, reroute=reroute, report=report).run())
        try:
            await until(lambda: one.told("watching the project's files"))
            yield one
        finally:
            following.cancel()
            await asyncio.wait((following,))


def test_a_setup_that_hangs_keeps_no_later_edit_from_being_served(tmp_path):
    async def test() -> None:
        project = Project(tmp_path, "one", "two")
        project.write("two", "600")
        async with watched(project) as here:
            await until(lambda: here.ready("one"))
            first, hung = here.fleet.find("one"), here.fleet.find("two")
            project.write("one", "600")
            await until(lambda: here.told("one: the new workers are still setting up after"))
            assert here.fleet.find("one") is first
            project.write("one", "0.01")
            await until(lambda: here.told("one is served by new workers"))
            assert here.ready("one")
            assert here.fleet.find("one") is not first
            project.write("two", "0.01")  # its first setup hangs
            await until(lambda: here.ready("two"))
            assert hung not in here.fleet.services
            project.write("one", "600")
            await until(lambda: here.told("one.py changed") >= 3)
            project.names.remove("one")
            (tmp_path / "cortex.yaml").touch()
            await until(lambda: here.routes and [api.name for api in here.routes[-1].apis] == ["two"])

    run(test)


def test_what_was_edited_before_the_files_were_watched_is_served(tmp_path):
    async def test() -> None:
        project = Project(tmp_path, "one", "two")
        begun = project.spec
        project.names = ["one", "three"]
        project.write("three", "0")
        job = replace(served(tmp_path, "once"), endpoint="/once")
        splitter = Splitter(name="split", endpoint="/split", shares=(Share(name="one", weight=100),), origin=Origin("cortex.yaml", 1))
        project.fields = {"job_apis": (job,), "splitters": (splitter,)}
        async with watched(project, begun) as here:
            await until(lambda: here.ready("three"))
            assert [service.api.name for service in here.fleet.services] == ["one", "three"]
            assert (here.routes[-1].job_apis, here.routes[-1].splitters) == ((job,), (splitter,))
            assert here.told("once has changed: its next job runs what there is now")

    run(test)


def test_trouble_of_the_system_does_not_end_the_watch(tmp_path):
    async def test() -> None:
        project = Project(tmp_path, "one")
        project.trouble = [OSError("too many open files")]
        async with watched(project) as here:
            assert here.told("the project's files cannot be followed now, which is tried again: OSError('too many open files')") == 1
            await until(lambda: here.ready("one"))
            project.trouble = [FileNotFoundError("gone")]
            project.write("one", "0.01")
            await until(lambda: here.told("one is served by new workers"))
            assert here.told("FileNotFoundError('gone')") == 1

    run(test)

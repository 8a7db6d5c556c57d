"""``lading serve --reload``: what is served follows the project's files.

Only the predictors whose own files, configuration or environment have changed get new workers; the old ones answer until the new ones are
ready, and serve on if those fail. (Cortex redeployed every API of a folder when any file in it changed.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from lading.explain.style import Style
from lading.explain.text import render_problems
from lading.model.problems import LadingError
from lading.model.service import ServedApi, ServiceSpec
from lading.service.fleet import Fleet, NotReadyError, SupersededError, can_serve
from lading.service.log import ServiceLog
from lading.service.prediction import PredictionService

_STEP_MS = 100
"""Editors write in several steps: a change counts when nothing has followed for so long."""
_LOOK_MS = 2000
"""Where the system tells of no changes (network file systems, some containers), files are looked at so often."""
_LONGEST_PAUSE = 60.0
_TURN_SECONDS = 30.0
"""APIs take turns, so that only one needs its memory twice; a setup that takes longer than this holds up no other."""
_SHOWN = 3
_Mark = tuple[int, int, int] | frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """A project as it is now: what to serve, the files that each API uses, and those that decide about configuration and packages.

    Paths are absolute; files that were looked for and are not there count, too, and of folders which files are in them. ``locks`` are
    files that reading itself may write. ``counts`` tells of a file that appears whether it may decide; ``ignored`` whether it is none of
    the project.
    """

    spec: ServiceSpec
    files: Mapping[str, frozenset[str]]
    deciding: frozenset[str]
    locks: frozenset[str] = frozenset()
    counts: Callable[[str], bool] = field(default=lambda _path: True)
    ignored: Callable[[str], bool] = field(default=lambda _path: False)


class Source(Protocol):
    """Reads the project; both methods are called from threads of their own."""

    def read(self) -> Reading:
        """The project as it is, its environments installed.

        Raises:
            LadingError: with what is wrong with it.
        """

    def stop(self) -> None:
        """End a reading that is under way."""


class Reroute(Protocol):
    """Makes the server's routes those of a spec; ``training``: its training has changed."""

    async def __call__(self, spec: ServiceSpec, *, training: bool) -> None:
        """See the class."""


@dataclass(slots=True, eq=False)
class _Coming:
    """What the new workers of an API are made for."""

    api: ServedApi


class Reloader:
    """See the module. ``served`` is what the server began with; ``report`` says how the setup of a new API went."""

    def __init__(
        self,
        source: Source,
        fleet: Fleet,
        log: ServiceLog,
        served: ServiceSpec,
        *,
        reroute: Reroute,
        report: Callable[[PredictionService], Coroutine[Any, Any, None]],
    ) -> None:
        self._source, self._fleet, self._log, self._reroute, self._report = source, fleet, log, reroute, report
        self._deployed = served
        self._marks: dict[str, _Mark] = {}
        self._failed = False
        self._due: set[str] = set()
        self._coming: dict[str, _Coming] = {}
        self._setting_up: list[str] = []
        self._line = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._said = ""

    async def run(self) -> None:
        """Follow the project's files until canceled."""
        try:
            await self._surely(self._begin)
            while True:
                await self._surely(self._follow)
        finally:
            self._source.stop()
            for task in self._tasks:
                task.cancel()

    async def _surely(self, step: Callable[[], Awaitable[None]]) -> None:
        """Try again after errors that are none of the project's: a folder that goes while it is looked at, a system short of something."""
        pause = _LOOK_MS / 1000
        while True:
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - who edits must hear of it; the server serves on
                if repr(error) != self._said:
                    self._log.say("error", f"the project's files cannot be followed now, which is tried again: {error!r}")
                self._said = repr(error)
            else:
                self._said = ""
                return
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _begin(self) -> None:
        while True:
            try:
                self._reading = await self._read()
                break
            except LadingError as error:
                self._log.say("error", f"the project cannot be read any more:\n{render_problems(error.problems, Style())}")
                await asyncio.sleep(_LOOK_MS / 1000)
        self._marks = self._look()
        for service in self._fleet.services:
            self._start(self._set_up(service))
        if self._reading.spec != self._deployed:
            async with self._fleet.turn:
                await self._redeploy(set(), "the project")  # it was edited before it was watched
        self._log.say("info", "watching the project's files: what changes is served anew")

    async def _follow(self) -> None:
        touched = set() if self._due else await self._wait()
        now = self._look()
        changed = {path for path in self._changed(now) if not self._may_be_written(path)} | self._due
        if changed or (self._failed and touched):
            self._due = changed or touched
            await self._reload(self._due, now)
            self._due = set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> Reading:
        return await asyncio.to_thread(self._source.read)

    # Which files have changed

    def _used(self, name: str) -> frozenset[str]:
        """The files of an API: those that its sources name, and those that its workers have loaded."""
        service = self._fleet.find(name)
        loaded = [path for worker in service.pool.workers if worker.ready for path in worker.ready.files] if service else ()
        return self._reading.files.get(name, frozenset()).union(loaded)

    def _watched(self) -> set[str]:
        named = {path for files in self._reading.files.values() for path in files}
        loaded = {path for service in self._fleet.services for path in self._used(service.api.name)}
        return {path for path in named | loaded if not self._reading.ignored(path)} | self._reading.deciding

    def _look(self) -> dict[str, _Mark]:
        return {path: self._mark(path) for path in self._watched()}

    def _changed(self, now: Mapping[str, _Mark]) -> set[str]:
        """What is not as it was: files, and in folders those that came or went."""
        found: set[str] = set()
        for path, mark in now.items():
            before = self._marks.get(path, mark)  # workers that have loaded a file make it one to watch, which is no change
            if isinstance(mark, frozenset) and isinstance(before, frozenset):
                found |= mark ^ before
            elif mark != before:
                found.add(path)
        return found

    def _mark(self, path: str) -> _Mark:
        """What tells that a file, or what is in a folder, has changed; None where it is not there."""
        place = Path(path)
        try:
            status = place.stat()
            if stat.S_ISDIR(status.st_mode):
                inside = map(str, place.iterdir())
                return frozenset(one for one in inside if self._reading.counts(one) and not self._reading.ignored(one))
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _is_data(self, path: str) -> bool:
        return not (path.endswith(".py") or path in self._reading.deciding)

    def _may_be_written(self, path: str) -> bool:
        """Whether a predictor that is set up now may have written a file itself."""
        return self._is_data(path) and any(path in self._used(name) for name in self._setting_up)

    def _look_at_data(self, name: str) -> None:
        """What a predictor writes while it is set up is no change of the project."""
        for path in self._used(name):
            if (path not in self._marks or self._is_data(path)) and not self._reading.ignored(path):
                self._marks[path] = self._mark(path)

    async def _wait(self) -> set[str]:
        """Wait until something changes beside the files that are watched, or may have; returns what is known to have changed."""
        from watchfiles import awatch  # noqa: PLC0415 - 35 ms, for this alone

        watching = awatch(*_folders(self._watched()), recursive=False, step=_STEP_MS, rust_timeout=_LOOK_MS, yield_on_timeout=True)
        async with contextlib.aclosing(watching):
            async for changes in watching:
                return {path for _, path in changes if self._reading.counts(path) and not self._reading.ignored(path)}
        return set()

    # What follows

    async def _reload(self, changed: set[str], now: dict[str, _Mark]) -> None:
        self._marks = now
        names = self._names(changed)
        try:
            reading = await self._read()
        except LadingError as error:
            self._failed = True
            what = render_problems(error.problems, Style())
            self._log.say("error", f"{names} changed, and what is served stays as it was:\n{what}")
            return
        self._failed = False
        async with self._fleet.turn:
            self._reading = reading
            self._marks = {**self._look(), **{path: mark for path, mark in now.items() if path not in reading.locks}}
            await self._redeploy(changed, names)

    def _names(self, paths: Iterable[str]) -> str:
        names = sorted(os.path.relpath(path, self._root) for path in paths)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more

    @property
    def _root(self) -> str:
        spec = self._reading.spec
        return next((api.worker.root for api in (*spec.apis, *spec.job_apis)), os.curdir)

    async def _redeploy(self, changed: set[str], names: str) -> None:
        before, spec = self._deployed, self._reading.spec
        known = {api.name for api in before.apis}
        for api in spec.apis:
            service, coming = self._fleet.find(api.name), self._coming.get(api.name)
            if service is not None and (_made_otherwise(coming.api if coming else service.api, api) or changed & self._used(api.name)):
                self._renew(api, names)
            elif coming is not None:
                coming.api = api
            elif service is not None:
                service.api = api
            elif api.name not in known:
                # One that is known and not served was taken away by whoever runs the server.
                await self._add(api)
        for service in list(self._fleet.services):
            if service.api.name not in {api.name for api in spec.apis}:
                self._log.say("info", f"{service.api.name} is gone from the configuration: it is served no more", api=service.api.name)
                self._coming.pop(service.api.name, None)
                self._fleet.remove(service)
        self._order()
        self._tell_jobs(before, spec, changed)
        await self._reroute(self._as_served(spec), training=_training_changed(before, spec, changed, self._reading.files))
        self._deployed = spec

    def _renew(self, api: ServedApi, names: str) -> None:
        self._log.say("info", f"{names} changed: {api.name} gets new workers, the old ones serve meanwhile", api=api.name)
        self._fleet.give_up(api.name)
        self._coming[api.name] = _Coming(api)
        self._start(self._replace(self._coming[api.name]))

    async def _replace(self, coming: _Coming) -> None:
        name = coming.api.name
        self._setting_up.append(name)
        try:
            new = await self._in_turn(coming)
        except SupersededError:
            return
        except NotReadyError as error:
            message = f"{name} is not reloaded, its old workers serve on: {error}"
            self._log.say("error", message, alarm=f"{name} is not reloaded: {error.brief}", api=name)
            return
        except Exception as error:  # noqa: BLE001 - as in _surely
            self._log.say("error", f"{name} is not reloaded, its old workers serve on: {error!r}", api=name)
            return
        finally:
            self._setting_up.remove(name)
            self._look_at_data(name)
            if self._coming.get(name) is coming:
                del self._coming[name]
        await self._show(new, coming.api)

    async def _in_turn(self, coming: _Coming) -> PredictionService:
        async with self._line:
            if self._coming.get(coming.api.name) is not coming:
                raise SupersededError
            replacing = asyncio.ensure_future(self._fleet.replace(coming.api))
            await asyncio.wait((replacing,), timeout=_TURN_SECONDS)
        return await replacing

    async def _show(self, new: PredictionService, api: ServedApi) -> None:
        """Let the routes be those of an API that has new workers."""
        async with self._fleet.turn:
            if self._fleet.find(api.name) is new:
                new.api = api
                self._order()
                await self._reroute(self._as_served(self._reading.spec), training=False)
        if not can_serve(new):
            await self._report(new)
            return
        seconds = f", ready in {new.pool.setup.seconds:.1f} s" if new.pool.setup.seconds is not None else ""
        self._log.say("info", f"{api.name} is served by new workers{seconds}", api=api.name)

    async def _add(self, api: ServedApi) -> None:
        self._log.say("info", f"{api.name} is new", api=api.name)
        service = self._fleet.make(api)
        self._fleet.services.append(service)
        try:
            await service.start()
        except LadingError as error:
            self._log.say("error", f"{api.name} cannot be served: {error}", api=api.name)
            return
        self._start(self._set_up(service))
        self._start(self._report(service))

    async def _set_up(self, service: PredictionService) -> None:
        """Follow the first setup of a service."""
        name = service.api.name
        self._setting_up.append(name)
        await service.pool.wait_settled()
        self._setting_up.remove(name)
        self._look_at_data(name)

    def _order(self) -> None:
        order = {api.name: number for number, api in enumerate(self._reading.spec.apis)}
        self._fleet.services.sort(key=lambda service: order.get(service.api.name, len(order)))

    def _as_served(self, spec: ServiceSpec) -> ServiceSpec:
        """The spec with each API as it is served: one that could not be reloaded is as it was."""
        return replace(spec, apis=tuple(service.api for service in self._fleet.services))

    def _tell_jobs(self, before: ServiceSpec, spec: ServiceSpec, changed: set[str]) -> None:
        earlier = {api.name: api for api in before.job_apis}
        for api in spec.job_apis:
            if earlier.get(api.name) != api or changed & self._used(api.name):
                self._log.say("info", f"{api.name} has changed: its next job runs what there is now", api=api.name)


def _made_otherwise(old: ServedApi, new: ServedApi) -> bool:
    """Whether another API needs other workers; another endpoint does not."""
    return replace(old, endpoint=new.endpoint) != new


def _training_changed(before: ServiceSpec, spec: ServiceSpec, changed: set[str], files: Mapping[str, frozenset[str]]) -> bool:
    if spec.training is None or before.training != spec.training:
        return before.training != spec.training
    return bool(changed & files.get(spec.training.name, frozenset()))


def _folders(paths: Iterable[str]) -> list[str]:
    """The folders to watch: those of files, and those that are named themselves; where they are there."""
    places = {place if place.is_dir() else place.parent for place in map(Path, paths)}
    return [str(place) for place in places if place.is_dir()]

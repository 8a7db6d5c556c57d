"""What takes the place of what in a running server: real workers, the service in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from lading.client import Client
from lading.model.events import Event
from lading.model.problems import LadingError
from lading.model.service import ServedApi, WorkerSpec
from lading.service.calls import Call, Status
from lading.service.fleet import Fleet, SupersededError
from lading.service.log import ServiceLog
from lading.service.prediction import PredictionService
from tests.jobs import support as cortex
from tests.service.support import STANDIN, is_alive, worker
from tests.service.test_descendants import wait_until


def served(root: Path, name: str = "model", **config) -> ServedApi:
    return ServedApi(name=name, worker=msgspec.convert(worker(root, **config), WorkerSpec))


def log_into(said: list[Event]) -> ServiceLog:
    def hear(event: Event) -> None:
        said.append(event)

    return ServiceLog(hear)


def fleet_with(log: ServiceLog, **options: float) -> Fleet:
    return Fleet([], lambda api: PredictionService(api, worker_main=STANDIN, log=log), **options)


@contextlib.asynccontextmanager
async def fleet_of(*apis: ServedApi, said: list[Event] | None = None, **options: float) -> AsyncIterator[Fleet]:
    """A fleet whose services have begun their setup. ``said`` gets what it tells."""
    fleet = fleet_with(log_into([] if said is None else said), **options)
    try:
        for api in apis:
            fleet.services.append(fleet.make(api))
            await fleet.services[-1].start()
        yield fleet
    finally:
        await fleet.close()
        for service in fleet.services:
            await service.stop()


def begun(service: PredictionService, **given) -> Call:
    call = service.new_call(json.dumps(given).encode())
    service.begin(call)
    return call


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a test
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type] # a coroutine function


def test_what_others_take_the_place_of_may_finish_and_what_is_taken_away_has_its_time(tmp_path):
    async def test() -> None:
        api = served(tmp_path)
        async with fleet_of(api, drain_seconds=0.3) as fleet:
            old = fleet.services[0]
            await old.pool.wait_settled()
            long = begun(old, do="until", file=str(tmp_path / "go"))
            new = await fleet.replace(api)
            assert fleet.retiring == [old]
            assert new.find(long.id) is long
            await asyncio.sleep(0.6)  # longer than what is taken away has
            (tmp_path / "go").touch()
            assert (await long.answer).status is Status.SUCCEEDED
            await until(lambda: not fleet.retiring)
            assert new.find(long.id) is long
            removed = begun(new, do="sleep", seconds=30)
            fleet.remove(new)
            answer = await asyncio.wait_for(removed.answer, 20)
            assert (answer.status, fleet.services) == (Status.FAILED, [])

    run(test)


@pytest.mark.parametrize("steps", range(4))
def test_what_is_taken_away_just_before_the_end_has_ended_with_it(tmp_path, steps):
    async def test() -> None:
        async with fleet_of(served(tmp_path)) as fleet:
            service = fleet.services[0]
            await service.pool.wait_settled()
            (one,) = service.pool.workers
            fleet.remove(service)
            for _ in range(steps):
                await asyncio.sleep(0)
            await fleet.close()
            assert not is_alive(one.child.pid)
            assert one.gone.is_set()

    run(test)


def test_a_setup_that_hangs_is_told_and_gives_way_to_a_later_one(tmp_path):
    async def test() -> None:
        said: list[Event] = []
        api, hanging = served(tmp_path), served(tmp_path, setup_sleep=600)
        async with fleet_of(api, said=said, tell_seconds=0.2) as fleet:
            old = fleet.services[0]
            await old.pool.wait_settled()
            hung = asyncio.create_task(fleet.replace(hanging))
            await until(lambda: any("model: the new workers are still setting up after 0.4 s" in event.message for event in said))
            async with asyncio.timeout(20), fleet.turn:
                assert fleet.services == [old]
            new = await fleet.replace(api)
            assert fleet.services == [new]
            with pytest.raises(SupersededError):
                await hung
            again = asyncio.create_task(fleet.replace(hanging))
            await asyncio.sleep(0.1)
            fleet.remove(new)
            with pytest.raises(SupersededError):
                await again

    run(test)


HANGS = """
    import os, time

    class PythonPredictor:
        def __init__(self, config):
            while os.path.exists("hang-%s" % config["name"]):
                time.sleep(0.05)

        def predict(self, payload):
            return "here"
"""


def test_what_is_asked_for_while_a_refresh_hangs_is_done_and_a_signal_ends_the_server(tmp_path):
    names = ("one", "two")
    apis = [cortex.api(tmp_path, name, "RealtimeAPI", HANGS, config={"name": name}) for name in names]
    with cortex.running(tmp_path, apis=apis) as server, ThreadPoolExecutor() as threads:
        server.wait_for("READY")
        client = Client(server.url, token=json.loads((tmp_path / "jobs" / "server.json").read_text())["token"])
        for name in names:
            (tmp_path / f"hang-{name}").touch()
        hanging = {name: threads.submit(client.refresh, name) for name in names}
        wait_until(lambda: len(server.workers()) == 4, server.talk)  # the old ones, and the new ones that hang
        assert client.delete_api("one")["message"] == "deleted one"
        with pytest.raises(LadingError, match="its new workers were given up before they were ready"):
            hanging["one"].result(30)
        assert not hanging["two"].done()
        began = time.monotonic()
        server.process.terminate()
        with pytest.raises(LadingError, match="its new workers were given up before they were ready"):
            hanging["two"].result(20)
        assert server.process.wait(60) == 0
        assert time.monotonic() - began < 20  # for predictions that run it would be 30 s

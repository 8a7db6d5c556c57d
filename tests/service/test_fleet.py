"""What takes the place of what in a running server: real workers, the service in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from lading.model.service import ServedApi, WorkerSpec
from lading.service.calls import Call, Status
from lading.service.fleet import Fleet
from lading.service.prediction import PredictionService
from tests.service.support import STANDIN, worker


def served(root: Path, name: str = "model", **config) -> ServedApi:
    return ServedApi(name=name, worker=msgspec.convert(worker(root, **config), WorkerSpec))


def service_of(api: ServedApi) -> PredictionService:
    return PredictionService(api, worker_main=STANDIN)


@contextlib.asynccontextmanager
async def fleet_of(*apis: ServedApi, **options: float) -> AsyncIterator[Fleet]:
    """A fleet whose services have begun their setup."""
    fleet = Fleet([], service_of, **options)
    try:
        for api in apis:
            fleet.services.append(service_of(api))
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


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
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
            long = begun(old, do="sleep", seconds=1.5)
            new = await fleet.replace(old, api)
            assert fleet.retiring == [old]
            assert new.find(long.id) is long
            assert (await long.answer).status is Status.SUCCEEDED
            await until(lambda: not fleet.retiring)
            assert new.find(long.id) is long
            removed = begun(new, do="sleep", seconds=30)
            fleet.remove(new)
            answer = await asyncio.wait_for(removed.answer, 10)
            assert (answer.status, fleet.services) == (Status.FAILED, [])

    run(test)

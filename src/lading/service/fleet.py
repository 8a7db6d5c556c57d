"""The predictors of a running server: new workers are started beside the old ones, take their place, and the old ones finish and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lading.model.problems import LadingError
from lading.model.service import ServedApi
from lading.model.tasks import to_its_end
from lading.service.pool import Health, WorkerPool
from lading.service.prediction import PredictionService
from lading.service.worker import SetupFailed

_POLL_SECONDS = 0.05


class NotReadyError(Exception):
    """New workers cannot serve; the message is for the user, with the traceback of the model's own code. ``brief`` has no word of the model's."""

    def __init__(self, message: str, brief: str) -> None:
        super().__init__(message)
        self.brief = brief


class SupersededError(NotReadyError):
    """New workers were given up before they were ready: later ones were asked for, or the API is served no more."""

    def __init__(self) -> None:
        message = "its new workers were given up before they were ready"
        super().__init__(message, message)


class Fleet:
    """See the module. ``services`` is the server's own list, which is changed in place; ``make`` makes a service of an API.

    Whoever changes what is served holds ``turn`` meanwhile, and not while workers are set up, which may take for ever. ``on_replaced`` is
    called with the old and the new service when one takes the place of another, before the old one stops taking predictions. Times are
    in seconds; every ``tell_seconds`` the user hears of a setup that is not over.
    """

    def __init__(
        self,
        services: list[PredictionService],
        make: Callable[[ServedApi], PredictionService],
        *,
        drain_seconds: float = 30.0,
        tell_seconds: float = 30.0,
    ) -> None:
        self.services, self.make = services, make
        self.turn = asyncio.Lock()
        self.on_replaced: list[Callable[[PredictionService, PredictionService], None]] = []
        self._drain_seconds, self._tell_seconds = drain_seconds, tell_seconds
        self._coming: dict[str, asyncio.Event] = {}
        self._replacing: set[asyncio.Task[Any]] = set()
        self._retiring: dict[asyncio.Task[None], PredictionService] = {}

    @property
    def retiring(self) -> list[PredictionService]:
        """The services that nobody asks any more, and that have still to finish what they began."""
        return list(self._retiring.values())

    def find(self, name: str) -> PredictionService | None:
        """The service of an API."""
        return next((service for service in self.services if service.api.name == name), None)

    async def replace(self, api: ServedApi) -> PredictionService:
        """Serve an API by new workers. The old ones serve until these are ready, and finish what they have begun.

        Raises:
            NotReadyError: if the setup of the new ones fails and the old ones can serve on; nothing has changed then.
            SupersededError: if these are not wanted any more; see `give_up`.
        """
        self.give_up(api.name)
        given_up = self._coming[api.name] = asyncio.Event()
        new, task = self.make(api), asyncio.current_task()
        assert task is not None
        self._replacing.add(task)
        try:
            await self._settle(new, given_up)
            async with self.turn:
                self._take_place(new, given_up)
        except BaseException:
            await to_its_end(new.stop())
            raise
        finally:
            self._replacing.discard(task)
            if self._coming.get(api.name) is given_up:
                del self._coming[api.name]
        return new

    def give_up(self, name: str) -> None:
        """Want the workers no more that are to take the place of an API's."""
        coming = self._coming.pop(name, None)
        if coming is not None:
            coming.set()

    async def _settle(self, new: PredictionService, given_up: asyncio.Event) -> None:
        try:
            await new.start()
        except LadingError as error:
            raise NotReadyError(str(error), str(error)) from error
        ends = [asyncio.ensure_future(new.pool.wait_settled()), asyncio.ensure_future(given_up.wait())]
        seconds, name = 0.0, new.api.name
        try:
            while not (await asyncio.wait(ends, timeout=self._tell_seconds, return_when=asyncio.FIRST_COMPLETED))[0]:
                seconds += self._tell_seconds
                new.log.say("info", f"{name}: the new workers are still setting up after {seconds:g} s", api=name)
        finally:
            for end in ends:
                end.cancel()

    def _take_place(self, new: PredictionService, given_up: asyncio.Event) -> None:
        old = self.find(new.api.name)
        if old is None or given_up.is_set():
            raise SupersededError
        if new.pool.health() is Health.SETUP_FAILED and can_serve(old):
            raise NotReadyError(failure_text(new.pool), failure_brief(new.pool))
        self.services[self.services.index(old)] = new
        new.succeed(old)
        for told in self.on_replaced:
            told(old, new)
        self.retire(old)

    def remove(self, service: PredictionService) -> None:
        """Serve an API no more. What it has begun may finish while there is time."""
        self.give_up(service.api.name)
        self.services.remove(service)
        self._begin_retiring(service, self._drain_seconds)

    def retire(self, service: PredictionService) -> None:
        """Let a service that another has taken the place of finish what it has, however long that takes, and end it."""
        self._begin_retiring(service, None)

    def _begin_retiring(self, service: PredictionService, seconds: float | None) -> None:
        task = asyncio.get_running_loop().create_task(self._retire(service, seconds))
        self._retiring[task] = service
        task.add_done_callback(self._retiring.pop)

    async def _retire(self, service: PredictionService, seconds: float | None) -> None:
        service.draining = True
        try:
            if not await _finished(service, self._drain_seconds) and seconds is None:
                count, name = len(service.in_flight), service.api.name
                what = "1 prediction of its old workers still runs" if count == 1 else f"{count} predictions of its old workers still run"
                service.log.say("info", f"{name}: {what}, and may finish", api=name)
                await _finished(service, None)
        finally:
            await to_its_end(service.stop())

    async def close(self) -> None:
        """End at once what was retired and still works, and what is not ready yet."""
        working: list[Any] = [*self._retiring, *self._replacing]
        retired = self.retiring
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        # One that was canceled before it began has stopped nothing.
        await asyncio.gather(*(service.stop() for service in retired), return_exceptions=True)


async def _finished(service: PredictionService, seconds: float | None) -> bool:
    """Wait until a service has finished what it has, for so many seconds at most; whether it has."""
    loop = asyncio.get_running_loop()
    until = None if seconds is None else loop.time() + seconds
    while service.in_flight and (until is None or loop.time() < until):  # noqa: ASYNC110 - only while it ends
        await asyncio.sleep(_POLL_SECONDS)
    return not service.in_flight


def can_serve(service: PredictionService) -> bool:
    """Whether a service takes predictions, or will again."""
    return service.pool.ever_ready and service.pool.defunct is None


def failure_text(pool: WorkerPool, then: str = "") -> str:
    """What went wrong in setup: the error, its line, ``then`` what follows from it, and below what the model printed."""
    failure = pool.setup.failure
    if failure is None:
        return f"setup failed{then}"
    return f"{_failed(failure, failure.error)}{then}\n{pool.setup.logs}".rstrip()


def failure_brief(pool: WorkerPool) -> str:
    """What went wrong in setup, without a word of the model's: the kind of error and its place."""
    failure = pool.setup.failure
    if failure is None:
        return "setup failed"
    return _failed(failure, failure.kind or failure.error)  # without a kind the error is in our own words


def _failed(failure: SetupFailed, error: str) -> str:
    place = f" ({failure.file}:{failure.line})" if failure.file else ""
    return f"{failure.phase} failed: {error}{place}"

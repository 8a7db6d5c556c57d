"""One prediction without a server: `lading predict`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lading.model.events import Event, Phase, Reporter, silent
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.project import Style
from lading.model.service import ServedApi
from lading.service.calls import Call, CallEvent, EventKind, Result, Status, nest
from lading.service.log import ServiceLog
from lading.service.pool import RefusedError, Setup
from lading.service.prediction import PredictionService
from lading.service.process import Child, spawn


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished prediction for somebody who wants to read it. ``body`` is a Cortex-style answer as it came, else None."""

    result: Result
    cortex: bool = False

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.result.status is Status.SUCCEEDED and (self.result.http_status or 200) < 400

    @property
    def body(self) -> bytes | None:
        """The answer's body, Cortex style."""
        return self.result.output if self.cortex else None

    @property
    def output(self) -> Any:
        """The output as data, Cog style; a Cortex-style body as data if it is JSON, else as text."""
        try:
            return json.loads(self.result.output) if self.result.output else None
        except ValueError:
            return self.result.output.decode("utf-8", "replace")

    @property
    def error(self) -> str | None:
        """What went wrong, in one line; None if nothing did."""
        result = self.result
        if self.ok:
            return None
        if result.status is Status.INVALID:
            return "; ".join(_misfit(item) for item in json.loads(result.detail))
        if result.status is Status.CANCELED:
            return result.error or "it was canceled"
        if result.http_status is not None:
            return f"status {result.http_status}: {result.output[:1000].decode('utf-8', 'replace')}"
        return result.error

    @property
    def logs(self) -> str:
        """What the model printed during the prediction."""
        return self.result.logs

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data, in the shape of Cog's answers."""
        metrics = nest(self.result.metrics)
        if self.result.predict_time is not None:
            metrics["predict_time"] = self.result.predict_time
        record = {
            "status": "succeeded" if self.ok else "failed" if self.result.status is Status.SUCCEEDED else str(self.result.status),
            "output": self.output,
            "error": self.error,
            "logs": self.logs,
            "metrics": metrics,
        }
        return {key: value for key, value in record.items() if value is not None or key == "output"}


def _misfit(item: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in item.get("loc", ())[2:])
    return f"{place}: {item.get('msg')}" if place else str(item.get("msg"))


def predict_once(
    api: ServedApi,
    body: Any,
    reporter: Reporter = silent,
    *,
    setup_timeout: float | None = None,
    predict_timeout: float | None = None,
    on_chunk: Callable[[bytes], None] | None = None,
    context: Mapping[str, str] | None = None,
    worker_main: str | None = None,
) -> Outcome:
    """Start one worker, make one prediction, end the worker. Nothing is left running, whatever happens.

    ``body`` is the input (Cog style: a dict) or the payload (Cortex style); bytes are passed on as they are. ``on_chunk`` gets each
    piece of a piecewise output as JSON, when it comes. The model sees ``context`` by ``current_scope()``. Times are in seconds.

    Raises:
        LadingError: if setup fails (exit code MODEL, with the user's traceback), or the worker cannot be started.
        KeyboardInterrupt: if SIGINT or SIGTERM arrives.
    """
    # Started from here, the caller's thread: the worker would end with the thread that started it.
    child = spawn(api.worker, worker_main)
    log = ServiceLog(reporter)
    try:
        with _terminable():
            service = PredictionService(api, log=log, setup_timeout=setup_timeout, predict_timeout=predict_timeout)
            return asyncio.run(_once(service, child, lambda: _call(service, body, context or {}), on_chunk))
    finally:
        log.close()
        if child.process.returncode is None:
            child.kill()
            child.wait()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end us as Ctrl-C does, so that the worker is ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _once(
    service: PredictionService,
    child: Child,
    make: Callable[[], Call],
    on_chunk: Callable[[bytes], None] | None,
) -> Outcome:
    api, log = service.api, service.log
    try:
        log.report(Event(step="Setting up", phase=Phase.STARTED, message=api.name))
        await service.start([child])
        await service.pool.wait_settled()
        _check_setup(api, service.pool.setup)
        log.report(Event(step="Setting up", phase=Phase.FINISHED, message=f"{api.name} is ready"))
        call = make()
        if on_chunk is not None:
            call.watchers.append(_chunks_to(on_chunk))
        return Outcome(await service.submit(call), cortex=api.worker.style == Style.CORTEX)
    except RefusedError as error:
        raise LadingError(Problem(rule="prediction-refused", what=error.message, code=ExitCode.MODEL)) from error
    finally:
        await service.stop()


def _chunks_to(on_chunk: Callable[[bytes], None]) -> Callable[[CallEvent], None]:
    def watch(event: CallEvent) -> None:
        if event.kind is EventKind.OUTPUT:
            on_chunk(event.data)

    return watch


def _call(service: PredictionService, body: Any, context: Mapping[str, str]) -> Call:
    payload = bytes(body) if isinstance(body, bytes | bytearray) else json.dumps(body).encode()
    if service.api.worker.style != Style.CORTEX:
        return service.new_call(payload, input_=payload, context=json.dumps(dict(context)).encode() if context else b"")
    kind = "application/octet-stream" if isinstance(body, bytes | bytearray) else "application/json"
    head = {"method": "POST", "path": "/predict", "query": "", "headers": [["content-type", kind]], "content_type": kind}
    return service.new_call(payload, head=json.dumps(head).encode())


def _check_setup(api: ServedApi, setup: Setup) -> None:
    failure = setup.failure
    if failure is None:
        return
    doing = "could not be imported" if failure.phase == "import" else "failed in its setup"
    raise LadingError(
        Problem(
            rule="setup-failed",
            what=f"The predictor {doing}: {failure.error}",
            origin=Origin(failure.file, failure.line) if failure.file else Origin(api.worker.file),
            why="The model's own code, or what it needs, is not in order; its log is below.",
            instead="Correct the code, or add what is missing to the dependencies.",
            code=ExitCode.MODEL,
            detail=setup.logs or None,
        )
    )

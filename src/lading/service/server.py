"""``lading serve``: from a `ServiceSpec` to a listening server, and back to nothing.

The order matters: first the port (nothing is started for a port that is taken), then the workers (the model begins to load), then
everything that is slow to import.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.model.events import Event, Phase, Reporter
from lading.model.problems import ExitCode
from lading.model.project import ProjectKind
from lading.model.service import ServedApi, ServiceSpec
from lading.service.listening import address_of, bind
from lading.service.process import Child, spawn

if TYPE_CHECKING:
    import asyncio

    from lading.service.app import App
    from lading.service.control import Control
    from lading.service.error_reports import ErrorReports
    from lading.service.grpc_server import GrpcServer
    from lading.service.jobs_http import Jobs
    from lading.service.prediction import PredictionService
    from lading.service.reload import Source
    from lading.service.tracing import Tracing

_READY_FILE = Path("/var/run/cog/ready")


def serve(
    spec: ServiceSpec,
    reporter: Reporter,
    *,
    allow_shutdown: bool | None = None,
    worker_main: str | None = None,
    source: Source | None = None,
) -> int:
    """Serve until a signal says to stop; returns the exit status.

    SIGTERM and SIGINT let running predictions finish, for at most ``spec.drain_seconds`` seconds; a second one ends at once.
    ``worker_main`` is another worker program than Lading's own. ``allow_shutdown``: whether ``POST /shutdown`` ends the server; None: as
    its kind does, which Cog's has and Cortex's has not. ``source`` tells of the project's changes, and they are followed while serving.

    Raises:
        LadingError: if the port cannot be used, or the model's process cannot be started.
    """
    allow_shutdown = spec.kind is not ProjectKind.CORTEX if allow_shutdown is None else allow_shutdown
    with contextlib.ExitStack() as listening:
        listeners = [listening.enter_context(bind(spec.host, spec.port))]
        if spec.playground_port is not None:
            listeners.append(listening.enter_context(bind(spec.host, spec.playground_port, "--playground-port")))
        return _serve(spec, reporter, listeners, allow_shutdown=allow_shutdown, worker_main=worker_main, source=source)


def _serve(
    spec: ServiceSpec,
    reporter: Reporter,
    listeners: Sequence[socket.socket],
    *,
    allow_shutdown: bool,
    worker_main: str | None,
    source: Source | None,
) -> int:
    children: list[list[Child]] = []
    try:
        for api in spec.apis:
            children.append([])
            for _ in range(max(1, api.processes)):
                children[-1].append(spawn(api.worker, worker_main))
        return _run(spec, reporter, listeners, children, allow_shutdown=allow_shutdown, worker_main=worker_main, source=source)
    finally:
        for child in (child for group in children for child in group):
            if child.process.returncode is None:
                child.kill()
                child.wait()


def _run(
    spec: ServiceSpec,
    reporter: Reporter,
    listeners: Sequence[socket.socket],
    children: Sequence[Sequence[Child]],
    *,
    allow_shutdown: bool,
    worker_main: str | None,
    source: Source | None,
) -> int:
    # Imported when the workers run already: 100 ms that do not delay the model.
    import asyncio  # noqa: PLC0415

    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415

        factory = uvloop.new_event_loop
    server = _Server(spec, reporter, listeners, allow_shutdown=allow_shutdown, worker_main=worker_main, source=source)
    with asyncio.Runner(loop_factory=factory) as runner, _own_signals(server):
        return runner.run(server.run(children))


def _tell_kubernetes() -> None:
    """As Cog: the file that a probe of a pod may look for."""
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        with contextlib.suppress(OSError):
            _READY_FILE.parent.mkdir(parents=True, exist_ok=True)
            _READY_FILE.touch()


@contextlib.contextmanager
def _own_signals(server: _Server) -> Any:
    """SIGINT and SIGTERM go to the server; in a thread that is not the main one, signals are somebody else's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, server.on_signal)
    if server.spec.ignore_sigterm:
        signal.signal(signal.SIGTERM, lambda *_: None)  # not SIG_IGN, which workers would inherit
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server:
    """One run of the server."""

    def __init__(
        self,
        spec: ServiceSpec,
        reporter: Reporter,
        listeners: Sequence[socket.socket],
        *,
        allow_shutdown: bool,
        worker_main: str | None,
        source: Source | None = None,
    ) -> None:
        from lading.service.counters import Counters  # noqa: PLC0415 - after the workers
        from lading.service.fleet import Fleet  # noqa: PLC0415
        from lading.service.log import ServiceLog  # noqa: PLC0415
        from lading.service.variables import of_server  # noqa: PLC0415

        self.spec, self.listener, self.listeners = spec, listeners[0], listeners
        self.allow_shutdown, self.worker_main = allow_shutdown, worker_main
        self.variables = of_server(spec.apis, os.environ)
        self.log = ServiceLog.from_environment(reporter, self.variables)
        self.counters = Counters()
        self.services: list[PredictionService] = []
        self.fleet = Fleet(self.services, self._service, drain_seconds=spec.drain_seconds)
        self.source = source
        self.dropped: set[str] = set()
        self.webhooks: Any = None
        self.tracing: Tracing | None = None
        self.error_reports: ErrorReports | None = None
        self.training: PredictionService | None = None
        self.jobs: Jobs | None = None
        self.control: Control | None = None
        self.grpc: GrpcServer | None = None
        self.signals = 0
        self.last_signal: int | None = None
        self.http: Any = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stop_asked: asyncio.Event | None = None

    def on_signal(self, number: int, _frame: object) -> None:
        """A signal: stop gently; a second one: at once."""
        self.signals += 1
        self.last_signal = number
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Stop gently; called again: at once."""
        if self.stop_asked is None:
            return
        if self.stop_asked.is_set() and self.signals > 1:
            for service in self._all:
                service.pool.kill()
                service.fail_all("the server was stopped")
            if self.http is not None:
                self.http.force_exit = True
        self.stop_asked.set()

    async def run(self, children: Sequence[Sequence[Child]]) -> int:
        """Serve until asked to stop; returns the exit status."""
        import asyncio  # noqa: PLC0415 - after the workers

        self.loop = asyncio.get_running_loop()
        self.stop_asked = asyncio.Event()
        if self.signals:
            self.stop_asked.set()
        try:
            await self._start(children)
            return await self._serve()
        finally:
            if self.grpc is not None:
                await self.grpc.stop(0.0)
            if self.control is not None:
                await self.control.close()
            await self.fleet.close()
            if self.jobs is not None:
                await self.jobs.stop()
            for service in self._all:
                await service.stop()
            self.log.close()
            for sending in (self.tracing, self.error_reports):
                if sending is not None:
                    sending.close()

    @property
    def _all(self) -> list[PredictionService]:
        """Every service, that of trainings included, and those that finish what they began before others took their place."""
        return [*self.services, *([self.training] if self.training else []), *self.fleet.retiring]

    async def _start(self, children: Sequence[Sequence[Child]]) -> None:
        for api, started in zip(self.spec.apis, children, strict=True):
            service = self._service(api)
            self.services.append(service)
            self.log.report(Event(step="Setting up", phase=Phase.STARTED, message=api.name))
            await service.start(started)
        await self._start_jobs()
        if self.spec.training is not None:
            self.training = self._service(self.spec.training)

    def _asynchronous(self) -> list[PredictionService]:
        return [service for service in self.services if service.api.worker.cortex.get("kind") == "AsyncAPI"]

    async def _start_jobs(self) -> None:
        later = self._asynchronous()
        if not later and not self.spec.job_apis:
            return
        from lading.service.jobs_http import Jobs  # noqa: PLC0415 - few servers have jobs

        root = Path((self.spec.job_apis or self.spec.apis)[0].worker.root)
        self.jobs = Jobs(
            self.spec.job_apis,
            later,
            Path(self.spec.jobs_folder),
            root=root,
            log=self.log,
            counters=self.counters,
            worker_main=self.worker_main,
            project=self.spec.title,
            most=self.spec.job_workers,
            lease_seconds=self.spec.job_lease_seconds,
        )
        self.fleet.on_replaced.append(self.jobs.hand_over)
        await self.jobs.start()

    def _service(self, api: ServedApi) -> PredictionService:
        from lading.service.prediction import PredictionService  # noqa: PLC0415 - after the workers

        return PredictionService(
            api,
            max_queue=self.spec.max_queue,
            setup_timeout=self.spec.setup_timeout,
            predict_timeout=self.spec.predict_timeout,
            worker_main=self.worker_main,
            log=self.log,
            counters=self.counters,
        )

    async def _serve(self) -> int:
        import asyncio  # noqa: PLC0415 - after the workers

        from lading.service.http_server import make_server  # noqa: PLC0415
        from lading.service.webhooks import Webhooks  # noqa: PLC0415

        self.webhooks = Webhooks(self.log, self.variables)
        self._open_telemetry()
        app = self._application()
        self.fleet.on_replaced.append(app.hand_over)
        self._open_control(app)
        await self._open_grpc(app)
        self.http = make_server(app, self.spec.drain_seconds + 5, self.spec.patience)
        serving = asyncio.create_task(self.http.serve(sockets=list(self.listeners)))
        reports = [asyncio.create_task(self._report_setup(service)) for service in self.services]
        if self.source is not None:
            reports.append(asyncio.create_task(self._follow(self.source, app)))
        self._announce()
        assert self.stop_asked is not None
        stopping = asyncio.create_task(self.stop_asked.wait())
        await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
        for task in (*reports, stopping):
            task.cancel()
        await self._drain(serving, self.webhooks)
        return self._status()

    def _open_telemetry(self) -> None:
        """What is sent elsewhere about predictions and errors, where it is asked for."""
        from lading.service.error_reports import start_error_reports  # noqa: PLC0415 - after the workers
        from lading.service.tracing import start_tracing  # noqa: PLC0415

        self.error_reports = start_error_reports(self.variables, self.log)
        self.tracing = start_tracing(self.variables, self.log)

    def _application(self) -> App:
        from lading.service.app import create_app  # noqa: PLC0415 - after the workers

        return create_app(
            self.spec,
            self.services,
            counters=self.counters,
            webhooks=self.webhooks,
            log=self.log,
            shutdown=self.stop if self.allow_shutdown else None,
            training=self.training,
            jobs=self.jobs,
            tracing=self.tracing,
        )

    def _open_control(self, app: App) -> None:
        if self.spec.kind is not ProjectKind.CORTEX or not self.spec.jobs_folder:
            return
        from lading.service.control import Control  # noqa: PLC0415 - after the workers

        async def drop(name: str) -> None:
            await self._drop(name, app)

        self.control = Control(Path(self.spec.jobs_folder), self.fleet, self.log, lambda: self.spec, drop)
        self.control.attach(app)
        self.control.open(self._address().replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"))

    async def _drop(self, name: str, app: App) -> None:
        """Stop serving an API or a splitter, until the server starts again."""
        self.dropped.add(name)
        self.spec = self._without_dropped(self.spec)
        service = self.fleet.find(name)
        if service is not None:
            self.fleet.remove(service)
        self._reroute(app)
        if self.jobs is not None:
            await self.jobs.end(name)

    def _without_dropped(self, spec: ServiceSpec) -> ServiceSpec:
        return spec.only(lambda name: name not in self.dropped)

    def _reroute(self, app: App) -> None:
        app.become(self._application())
        if self.control is not None:
            self.control.attach(app)

    async def _open_grpc(self, app: App) -> None:
        """Take gRPC's connections as soon as an API is called by it."""
        if self.grpc is not None or not any(service.api.worker.cortex.get("grpc") for service in self.services):
            return
        from lading.service.grpc_server import GrpcServer  # noqa: PLC0415 - an extra, which few servers need

        self.grpc = GrpcServer(app)
        await self.grpc.start()

    async def _follow(self, source: Source, app: App) -> None:
        """Serve the project as it is, whenever its files change."""
        from lading.service.reload import Reloader  # noqa: PLC0415 - where it was asked for

        async def reroute(spec: ServiceSpec, *, training: bool) -> None:
            self.spec = self._without_dropped(spec)
            if training:
                self._renew_training()
            if self.jobs is None:
                await self._start_jobs()
            else:
                self.jobs.follow(self.spec.job_apis, self._asynchronous())
            self._reroute(app)
            await self._open_grpc(app)

        await Reloader(source, self.fleet, self.log, self.spec, reroute=reroute, report=self._report_setup).run()

    def _renew_training(self) -> None:
        """The next training runs what there is now; one that runs goes on."""
        old, self.training = self.training, self._service(self.spec.training) if self.spec.training else None
        if old is not None:
            if self.training is not None:
                self.training.succeed(old)
                name = self.training.api.name
                self.log.say("info", f"{name} has changed: the next training runs what there is now", api=name)
            self.fleet.retire(old)

    def _address(self) -> str:
        return address_of(self.listener)

    def _announce(self) -> None:
        self.log.report(Event(step="Serving", phase=Phase.FINISHED, message=f"{self.spec.title} on {self._address()}"))
        for page in self.listeners[1:]:
            self.log.report(Event(step="Serving", phase=Phase.FINISHED, message=f"a page to try it on: {address_of(page)}/"))

    async def _report_setup(self, service: PredictionService) -> None:
        """Say once how setup went, with the user's own traceback."""
        from lading.service.fleet import failure_brief, failure_text  # noqa: PLC0415 - after the workers

        await service.pool.wait_settled()
        if service.draining:
            return  # it was ended before it was ready
        setup, name = service.pool.setup, service.api.name
        if self.tracing is not None:
            self.tracing.set_up(setup)
        if setup.failure is None:
            seconds = f" in {setup.seconds:.1f} s" if setup.seconds is not None else ""
            self.log.report(Event(step="Setting up", phase=Phase.FINISHED, message=f"{name} is ready{seconds}"))
            if all(one.pool.ever_ready for one in self.services):
                _tell_kubernetes()
            return
        message = f"{name}: {failure_text(service.pool, '. The server stays up; /health-check tells the same.')}"
        self.log.report(Event(step="Setting up", phase=Phase.FAILED, message=message), alarm=f"{name}: {failure_brief(service.pool)}")

    async def _drain(self, serving: asyncio.Task[None], webhooks: Any) -> None:
        """Stop accepting, let running predictions finish while there is time, then end them with an answer."""
        import asyncio  # noqa: PLC0415 - after the workers

        running = sum(len(service.in_flight) for service in self._all)
        if running:
            self.log.say("info", f"stopping: {running} predictions may finish within {self.spec.drain_seconds:g} s")
        for service in self._all:
            service.draining = True
        for service in self.services:
            self.fleet.give_up(service.api.name)  # who has asked for it waits for an answer
        self.http.should_exit = True
        loop = asyncio.get_running_loop()
        until = loop.time() + self.spec.drain_seconds
        while any(service.in_flight for service in self._all) and loop.time() < until:  # noqa: ASYNC110 - only while stopping
            await asyncio.sleep(0.02)
        for service in self._all:
            service.fail_all("the server was stopped before the prediction was done")
            service.pool.stopping = True
        if self.grpc is not None:
            await self.grpc.stop(1.0)
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await webhooks.drain(min(5.0, until - loop.time()) if self.signals < 2 else 0.0)

    def _status(self) -> int:
        if self.last_signal == signal.SIGINT:
            return int(ExitCode.INTERRUPTED)
        failed = any(service.pool.setup.status == "failed" for service in self.services)
        return int(ExitCode.MODEL if failed else ExitCode.OK)

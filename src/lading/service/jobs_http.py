"""Cortex's HTTP API of jobs: BatchAPI and TaskAPI take submissions, AsyncAPI requests; the answers come when they are asked for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import msgspec

from lading.jobs.engine import CrewLostError, JobEngine, Shift
from lading.jobs.opening import open_store
from lading.jobs.postgres import PostgresJobStore
from lading.jobs.shared import SHARED_LEASE_SECONDS, SharedEngine
from lading.jobs.store import Item, ItemState, Job, JobStatus, StoreLostError, new_id
from lading.jobs.submission import Submission, SubmissionError, batches_of, files_of, read_batch, read_task
from lading.model.cortex import merged
from lading.model.service import ServedApi
from lading.service.asgi import HONORS_KEYS, TEXT, ClientGoneError, Request, TooLargeError
from lading.service.counters import Counters
from lading.service.crews import JobCrew, JobLog, ServiceCrew, endpoints_of, iso, job_spec, job_status, seat_states
from lading.service.log import ServiceLog
from lading.service.prediction import PredictionService

MAX_SUBMISSION = 4 << 30
"""The largest submission, in bytes; it lies on disk, not in memory. (Cortex: 10 MiB.)"""
KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the result of an asynchronous request can be asked for."""
_FORGET_SECONDS = 3600.0
_CORS = [(b"access-control-allow-origin", b"*")]
_METHODS = b"GET, POST, DELETE, OPTIONS"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,200}")
_encode = msgspec.json.Encoder().encode


class Jobs:
    """The jobs of one server. ``folder`` holds the store, submissions that are still to be read, and the logs of jobs.

    Where ``LADING_JOBS`` in ``environ`` is a database, it holds all but the logs, and several servers share the work: see
    `lading.jobs.shared`. ``project`` is what sets this project's jobs apart there, ``most`` how many workers jobs may have here.
    """

    def __init__(
        self,
        apis: Sequence[ServedApi],
        asynchronous: Sequence[PredictionService],
        folder: Path,
        *,
        root: Path,
        log: ServiceLog,
        counters: Counters,
        worker_main: str | None = None,
        project: str = "",
        environ: Mapping[str, str] = os.environ,
        most: int | None = None,
        lease_seconds: float = SHARED_LEASE_SECONDS,
    ) -> None:
        self.apis = {api.name: api for api in apis}
        self.endpoints = endpoints_of(apis)
        self.folder, self.root = folder, root
        self._log, self._counters, self._main = log, counters, worker_main
        self.store = open_store(folder, project, environ)
        self.engine = self._engine(most, lease_seconds)
        self._crews: dict[str, JobCrew] = {}
        self.asynchronous = {service.api.name: service for service in asynchronous}
        self._shifts: dict[str, Shift] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def _engine(self, most: int | None, lease_seconds: float) -> JobEngine:
        if not isinstance(self.store, PostgresJobStore):
            return JobEngine(self.store, self._crew, self._items, self._told)
        return SharedEngine(
            self.store,
            self._part_of_crew,
            self._items,
            self._told,
            say=lambda text: self._log.say("warning", text),
            most=most,
            lease_seconds=lease_seconds,
        )

    async def start(self) -> None:
        """Go on with what the last server left."""
        (self.folder / "submissions").mkdir(parents=True, exist_ok=True, mode=0o700)
        if isinstance(self.store, PostgresJobStore):
            self._log.say("info", f"jobs are kept in {self.store.name}")
        count = await self.engine.resume(self.apis)
        if count:
            self._log.say("info", f"going on with {count} {'jobs' if count > 1 else 'job'}")
        for name in self.asynchronous:
            self._tasks.append(asyncio.create_task(self._serve_async(name)))
        self._tasks.append(asyncio.create_task(self._forget()))

    async def _forget(self) -> None:
        """Drop the results of asynchronous requests that nobody has asked for in time."""
        while True:
            for name in list(self.asynchronous):
                await self.engine.surely(self.store.forget, f"async-{name}", time.time() - KEPT_SECONDS)
            await asyncio.sleep(_FORGET_SECONDS)

    async def stop(self) -> None:
        """End the work; what is not done stays in the store."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.engine.close()
        self.store.close()

    def _crew(self, job: Job) -> JobCrew:
        self._crews[job.id] = self._part_of_crew(job, job.workers)
        return self._crews[job.id]

    def _part_of_crew(self, job: Job, workers: int) -> JobCrew:
        log, main = JobLog(self.log_path(job)), self._main
        return JobCrew(self.apis[job.api], job, workers=workers, log=self._log, job_log=log, counters=self._counters, worker_main=main)

    def log_path(self, job: Job) -> Path:
        """Where a job's log is."""
        return self.folder / "logs" / job.api / f"{job.id}.log"

    def _items(self, job: Job) -> Iterator[Item]:
        if job.kind == "TaskAPI":
            yield Item(number=0, payload=json.dumps(dict(job.submission["task_config"])).encode())
            return
        path = self.submission_path(job.id)
        if isinstance(self.store, PostgresJobStore) and not path.exists():
            # Another server took it.
            with path.open("wb") as stream:
                stream.writelines(self.store.submission(job.id))
        yield from batches_of(Submission(fields=job.submission), path, self.root)
        if isinstance(self.store, PostgresJobStore):
            path.unlink(missing_ok=True)

    def submission_path(self, job: str) -> Path:
        """Where a submission lies until its items are in the store."""
        return self.folder / "submissions" / f"{job}.json"

    def _told(self, job: Job, text: str) -> None:
        self._crews.pop(job.id, None)
        self.submission_path(job.id).unlink(missing_ok=True)
        self._log.say("info", f"job {job.id} of {job.api} {text}", api=job.api)

    def status(self, job: Job) -> dict[str, object]:
        """What a client is told of a job."""
        crew = self._crews.get(job.id)
        states = crew.states() if crew else None
        if isinstance(self.engine, SharedEngine) and job.status is JobStatus.RUNNING:
            states = seat_states(self.engine.held.get(job.id, 0), job.workers)
        return job_status(job, states, self.endpoints.get(job.api, ""))

    async def keep_submission(self, job: str) -> None:
        """Let every server read what a client sent; it holds when this returns."""
        if isinstance(self.store, PostgresJobStore):
            await self.engine.in_store(self.store.keep_submission, job, self.submission_path(job))

    # Asynchronous requests: a job for each API that never ends

    async def _serve_async(self, name: str) -> None:
        job = Job(id=f"async-{name}", api=name, kind="AsyncAPI", status=JobStatus.RUNNING, started=time.time())
        await self.engine.surely(self.store.create, job)
        while True:
            changed = self._changed[name] = asyncio.Event()
            service = self.asynchronous[name]
            crew = ServiceCrew(service, own=False)
            try:
                await crew.start()
                self._shifts[name] = Shift(self.engine, job, crew, "predict", forever=True)
                await self._shifts[name].work_off()
            except CrewLostError as lost:
                if not service.draining:
                    self._log.say("error", f"{name} works no more requests off: {lost}", api=name)
            # Until its API is started anew; what comes in meanwhile is kept.
            await changed.wait()

    def hand_over(self, _old: PredictionService, new: PredictionService) -> None:
        """Let another service work the requests of an AsyncAPI off."""
        name = new.api.name
        if name in self.asynchronous:
            self.asynchronous[name] = new
            if name in self._changed:
                self._changed[name].set()
            shift = self._shifts.get(name)
            if shift is not None:
                shift.crew = ServiceCrew(new, own=False)

    def follow(self, apis: Sequence[ServedApi], asynchronous: Sequence[PredictionService]) -> None:
        """Take the APIs as they are now. Jobs that run go on, those of an API that is gone too; new ones run the new code."""
        self.apis.update({api.name: api for api in apis})
        self.endpoints.update(endpoints_of(apis))
        for service in asynchronous:
            known = self.asynchronous.get(service.api.name)
            if known is None:
                self.asynchronous[service.api.name] = service
                self._tasks.append(asyncio.create_task(self._serve_async(service.api.name)))
            elif known is not service:
                self.hand_over(known, service)  # it was gone, and has come back

    async def end(self, api: str) -> None:
        """Stop every job of an API that is not served any more. An AsyncAPI's requests wait until it is served again."""
        unfinished: Sequence[Job] = await self.engine.surely(self.store.jobs, api, limit=1_000_000, unfinished=True)
        for job in unfinished:
            if job.kind != "AsyncAPI":
                await self.engine.stop(job.id)
                self.submission_path(job.id).unlink(missing_ok=True)

    async def enqueue_async(self, name: str, key: str, body: bytes, content_type: str) -> None:
        """Keep a request; it holds when this returns."""
        await self.engine.in_store(self.store.append, f"async-{name}", key, body, content_type)
        shift = self._shifts.get(name)
        if shift is not None:
            shift.wake()


class JobRoutes:
    """The routes of one BatchAPI or TaskAPI."""

    def __init__(self, jobs: Jobs, api: ServedApi) -> None:
        self.jobs, self.api = jobs, api
        self.kind = str(api.worker.cortex["kind"])

    async def endpoint(self, request: Request) -> None:
        """The API's endpoint, every method."""
        request.api = self.api.name
        query = {name: values[-1] for name, values in parse_qs(request.query.decode("latin-1")).items()}
        handlers = {"POST": self._submit, "GET": self._status, "DELETE": self._stop}
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if request.method == "OPTIONS":
            await preflight(request, HONORS_KEYS)
        elif handler is None:
            await request.respond(405, b"Method Not Allowed", None, [(b"allow", _METHODS)])
        else:
            try:
                await handler(request, query)
            except SubmissionError as error:
                await request.respond(400, _encode({"kind": error.kind, "message": str(error)}), headers=_CORS)
            except StoreLostError:
                await out_of_reach(request)
            except ClientGoneError:
                return

    async def _submit(self, request: Request, query: dict[str, str]) -> None:
        path = self.jobs.submission_path(new_id())
        kept = False
        try:
            await spool(request, path)
            key, name = request.headers.get(b"idempotency-key"), path.stem
            if key:
                name, there = await self._submitted(key)
                if there is not None:
                    await request.respond(200, _encode(job_spec(there)), headers=_CORS)
                    return
            read = read_task if self.kind == "TaskAPI" else read_batch
            submission = await asyncio.to_thread(read, path)
            if query.get("dryRun", query.get("dry_run")) == "true":
                await self._dry_run(request, submission)
                return
            await asyncio.to_thread(self._check_files, submission)
            path = path.replace(self.jobs.submission_path(name))
            job = self._job(name, submission)
            await self.jobs.keep_submission(job.id)
            await self.jobs.engine.in_store(self.jobs.store.create, job)
            kept = True
            self.jobs.engine.begin(job)
            await request.respond(200, _encode(job_spec(job)), headers=_CORS)
        finally:
            if not kept:
                path.unlink(missing_ok=True)

    async def _submitted(self, key: bytes) -> tuple[str, Job | None]:
        """The id of the job that a client names by a key of its own, and that job, if it was submitted before and not stopped since."""
        name = ""
        while True:
            name = hashlib.sha256(b"\0".join((self.api.name.encode(), name.encode(), key))).hexdigest()[:20]
            job: Job | None = await self.jobs.engine.in_store(self.jobs.store.job, name)
            if job is None or job.status is not JobStatus.STOPPED:
                return name, job

    def _check_files(self, submission: Submission) -> None:
        """Say now, and not in the job's state, that there are no files."""
        if self.kind == "BatchAPI":
            files_of(submission, self.jobs.root)

    def _job(self, name: str, submission: Submission) -> Job:
        fields = dict(submission.fields)
        total = 0
        if self.kind == "TaskAPI":
            fields["task_config"] = merged(self.api.worker.config, submission.config)
            total = 1
        elif "item_list" in fields:
            given = fields["item_list"]
            total = -(-given["items"] // given["batch_size"])
        return Job(
            id=name,
            api=self.api.name,
            kind=self.kind,
            workers=submission.workers,
            timeout=submission.timeout,
            attempts=submission.attempts or 1,
            config=submission.config,
            submission=fields,
            started=time.time(),
            total=total,
        )

    async def _dry_run(self, request: Request, submission: Submission) -> None:
        files = await asyncio.to_thread(files_of, submission, self.jobs.root) if self.kind == "BatchAPI" else None
        lines = [*(files or ()), "validations passed"]
        await request.respond(200, ("\n".join(lines) + "\n").encode(), TEXT, _CORS)

    async def _status(self, request: Request, query: dict[str, str]) -> None:
        name = query.get("jobID", query.get("job_id"))
        if name is None:
            found = await self.jobs.engine.in_store(self.jobs.store.jobs, self.api.name)
            await request.respond(200, _encode({"jobs": [self.jobs.status(job)["job_status"] for job in found]}), headers=_CORS)
            return
        job = await self._job_of(name)
        if query.get("deadLetters") == "true":
            await self._dead_letters(request, job)
            return
        await request.respond(200, _encode(self.jobs.status(job)), headers=_CORS)

    async def _dead_letters(self, request: Request, job: Job) -> None:
        """The batches that failed, one JSON object a line."""
        await request.start_stream(b"application/x-ndjson", _CORS)
        after = -1
        while found := await self.jobs.engine.in_store(self.jobs.store.items, job.id, ItemState.FAILED, after=after):
            lines = [_encode({"batch_id": str(one.number), "error": one.error, "payload": msgspec.Raw(one.payload)}) for one in found]
            await request.write(b"\n".join(lines) + b"\n")
            after = found[-1].number
        await request.end_stream()

    async def _stop(self, request: Request, query: dict[str, str]) -> None:
        job = await self._job_of(query.get("jobID", query.get("job_id", "")))
        if not await self.jobs.engine.stop(job.id):
            raise SubmissionError(f"job {job.id} is not running", "job.not_running")
        self.jobs.submission_path(job.id).unlink(missing_ok=True)
        await request.respond(200, _encode({"message": f"stopped job {job.id}"}), headers=_CORS)

    async def _job_of(self, name: str) -> Job:
        job: Job | None = await self.jobs.engine.in_store(self.jobs.store.job, name)
        if job is None or job.api != self.api.name:
            raise SubmissionError(f"unable to find job {name} of {self.api.name}" if name else "jobID must be given", "job.not_found")
        return job


class AsyncRoutes:
    """The routes of one AsyncAPI."""

    def __init__(self, jobs: Jobs, service: PredictionService, max_body: int) -> None:
        self.jobs, self.service, self.max_body = jobs, service, max_body

    async def endpoint(self, request: Request) -> None:
        """Take a request: answered with its id once it is kept."""
        name = request.api = self.service.api.name
        if request.method == "OPTIONS":
            await preflight(request)
            return
        if request.method != "POST":
            await request.respond(405, b"Method Not Allowed", None, [(b"allow", b"POST, OPTIONS")])
            return
        content_type = request.headers.get(b"content-type")
        if content_type is None:
            await request.respond(400, _encode({"error": "the Content-Type header must be given"}), headers=_CORS)
            return
        try:
            body = await request.body(self.max_body)
        except ClientGoneError:
            return
        given = request.headers.get(b"x-request-id", b"").decode("latin-1")
        key = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        try:
            await self.jobs.enqueue_async(name, key, body, content_type.decode("latin-1"))
        except StoreLostError:
            await out_of_reach(request)
            return
        await request.respond(200, _encode({"id": key}), headers=_CORS)

    async def one(self, request: Request, key: str) -> None:
        """What became of a request."""
        name = request.api = self.service.api.name
        if request.method not in ("GET", "HEAD"):
            await request.respond(405, b"Method Not Allowed", None, [(b"allow", b"GET")])
            return
        try:
            kept = await self.jobs.engine.in_store(self.jobs.store.item, f"async-{name}", key)
        except StoreLostError:
            await out_of_reach(request)
            return
        if kept is None:
            await request.respond(404, _encode({"error": f"there is no request {key} of {name}"}), headers=_CORS)
            return
        answer: dict[str, object] = {"id": key, "status": str(kept.state)}
        if kept.state is ItemState.SUCCEEDED:
            answer["result"] = msgspec.Raw(kept.result or b"null")
        if kept.error is not None:
            answer["error"] = kept.error
        if kept.ended is not None:
            answer["timestamp"] = iso(kept.ended)
        await request.respond(200, _encode(answer), headers=_CORS)


async def out_of_reach(request: Request) -> None:
    """The store does not answer now."""
    body = {"kind": "jobs.out_of_reach", "message": "the store of jobs is out of reach; try again later"}
    await request.respond(503, _encode(body), headers=[*_CORS, (b"retry-after", b"2")])


async def preflight(request: Request, *extra: tuple[bytes, bytes]) -> None:
    """Answer a browser's question whether another site's page may ask."""
    asked = request.headers.get(b"access-control-request-headers", b"*")
    allowed = [(b"access-control-allow-methods", _METHODS), (b"access-control-allow-headers", asked)]
    await request.respond(204, headers=[*_CORS, *allowed, (b"allow", _METHODS), *extra])


async def spool(request: Request, path: Path, limit: int = MAX_SUBMISSION) -> None:
    """Write a request's body to a file, piece by piece.

    Raises:
        TooLargeError: if it is over ``limit`` bytes.
        ClientGoneError: if the client hangs up.
    """
    size = 0
    with path.open("wb") as stream:
        while True:
            message = await request.receive()
            if message["type"] != "http.request":
                raise ClientGoneError
            piece = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise TooLargeError(limit)
            stream.write(piece)
            if not message.get("more_body"):
                break
        stream.flush()
        await asyncio.to_thread(os.fsync, stream.fileno())

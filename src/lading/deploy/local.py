"""This machine as an engine: one server in the background, as ``lading serve`` in the foreground, with the revisions that it was.

A deployment is a folder in Lading's store: its revisions (which bundle each is, and its assignment), its log, and the server's process.
There is no supervisor above the server: it respawns its workers, and nobody respawns it when it is killed or the machine restarts.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from lading.deploy import bundle as bundles
from lading.deploy.engine import (
    STEP,
    ApiStatus,
    Deployment,
    Endpoint,
    Place,
    Revision,
    State,
    Status,
    not_deployed,
    port_of,
)
from lading.deploy.local_process import Kept, ask, is_alive, start, start_time, stop, url_of, write_private
from lading.deploy.node import Assignment
from lading.environments.home import require_writable
from lading.jobs.opening import VARIABLE, is_database
from lading.model.events import Event, Phase, Reporter
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.service import ServiceSpec

_KEPT = 10
"""Revisions that are kept."""
_PORT = 5000
_POLL_SECONDS = 0.1
_WORDS_SECONDS = 3.0
_BACK_SECONDS = 120.0
_READY = ("READY", "BUSY")
_TAIL = 15
"""Lines of the log that a failure shows."""


def connect(place: Place, environ: Mapping[str, str]) -> LocalEngine:
    """See `lading.deploy.engine.EngineModule`.

    Raises:
        LadingError: if an address is given: there is one machine.
    """
    if place.address is not None:
        raise LadingError(
            Problem(
                rule="usage",
                what=f'"{place.address}" is no place on this machine.',
                origin=Origin("--to"),
                instead="Write --to local, with --port where another port than 5000 is wanted; PROJECT stands before --to.",
            )
        )
    return LocalEngine(place, environ)


class LocalEngine:
    """See `lading.deploy.engine.Engine`."""

    def __init__(self, place: Place, environ: Mapping[str, str]) -> None:
        self.place, self._environ = place, environ

    def render(self, deployment: Deployment) -> tuple[Mapping[str, Any], ...]:
        """See `lading.deploy.engine.Engine`."""
        assert deployment.bundled is not None
        variables: dict[str, Any] = {**deployment.variables, **_secrets(deployment)}
        host, port = _address(deployment.options)
        return ({"bundle": deployment.bundled.bundle.digest, "host": host, "port": port, "variables": variables},)

    def apply(self, deployment: Deployment, reporter: Reporter) -> Revision:
        """See `lading.deploy.engine.Engine`.

        Raises:
            LadingError: if the port is taken, or an environment cannot be made; what was served before is still served then.
        """
        bundled = deployment.bundled
        assert bundled is not None
        host, port = _address(deployment.options)
        with self._changing(deployment.name):
            state = self._read(deployment.name)
            running = state is not None and is_alive(state)
            if not (running and state is not None and _listens(state, host, port)):
                _check_free(host, port)
            reporter(Event(step=STEP, phase=Phase.STARTED, message=f"{deployment.name} on this machine"))
            with tempfile.TemporaryFile() as archive:
                bundles.pack(bundled, archive)
                archive.seek(0)
                found, root = bundles.unpack(archive, self._environ)
            with _held(root):
                bundles.materialise(found, root, self._environ, reporter)
                return self._begin(deployment.name, state or Kept(), self._assignment(deployment, found.digest))

    def _assignment(self, deployment: Deployment, digest: str) -> Assignment:
        host, port = _address(deployment.options)
        secrets = {name: secret.reveal() for name, secret in _secrets(deployment).items()}
        variables = {**deployment.variables, **secrets}
        jobs = self._jobs_folder(deployment, variables.get(VARIABLE, ""))
        return Assignment(digest=digest, host=host, port=port, jobs_folder=str(jobs), variables=variables)

    def _jobs_folder(self, deployment: Deployment, named: str) -> Path:
        """Where jobs are kept, or their logs alone if what is named is a database; the project's own place if nothing is."""
        if named and not is_database(named):
            return Path(named).absolute()  # later verbs may come from another folder
        return Path(deployment.options.get("jobs_folder") or self._folder(deployment.name) / "jobs")

    def wait(self, revision: Revision, reporter: Reporter, timeout: float) -> Status:
        """See `lading.deploy.engine.Engine`."""
        until = time.monotonic() + timeout
        while True:
            state = self._require(revision.name)
            _require_current(state, revision)
            assignment = state.assignments[revision.number]
            if not is_alive(state):
                self._give_up(revision, reporter, "its server ended", ExitCode.MODEL)
            answer = ask(assignment, "/health-check")
            health = str((answer or {}).get("status", ""))
            if health in _READY:
                self._note_live(revision.name)
                reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"{revision.name} is served on {url_of(assignment)}"))
                return self.status(revision.name)
            if health in ("SETUP_FAILED", "DEFUNCT"):
                self._give_up(revision, reporter, "its setup failed", ExitCode.MODEL)
            if time.monotonic() > until:
                self._give_up(revision, reporter, f"it was not ready within {timeout:g} s", ExitCode.DEPLOY)
            time.sleep(_POLL_SECONDS)

    def _give_up(self, revision: Revision, reporter: Reporter, why: str, code: ExitCode) -> NoReturn:
        """Serve what was served before, if anything was, and say what went wrong."""
        reporter(Event(step=STEP, phase=Phase.FAILED))
        tail = self._last_words(revision.name)
        with self._changing(revision.name):
            state = self._require(revision.name)
            _require_current(state, revision)
            stop(state)
            before = max((number for number in state.live if number < revision.number), default=None)
            if before is not None:
                self._begin_again(revision.name, state, before)
            else:
                self._write(revision.name, replace(state, pid=0, started=""))
        back = "" if before is None else self._back(revision.name, before)
        raise LadingError(
            Problem(
                rule="deployment-failed",
                what=f"{revision.name} is not served: {why}.{back}",
                instead=f"Correct it, and deploy again; `lading logs --to local --name {revision.name}` shows all that it said.",
                code=code,
                detail=tail or None,
            )
        )

    def _last_words(self, name: str) -> str:
        """The end of the log; the server answers that its setup failed a moment before it writes why."""
        until = time.monotonic() + _WORDS_SECONDS
        while True:
            text = self._log_path(name).read_text(encoding="utf-8", errors="replace")
            if "failed" in text or "error" in text or time.monotonic() > until:
                return "\n".join(text.splitlines()[-_TAIL:])
            time.sleep(_POLL_SECONDS)

    def _back(self, name: str, number: int) -> str:
        """What is served after a failure, in a sentence, once it is."""
        until = time.monotonic() + _BACK_SECONDS
        while is_alive(state := self._require(name)) and time.monotonic() < until:
            if _is_ready(state):
                return f" Revision {number} is served again."
            time.sleep(_POLL_SECONDS)
        return f" Revision {number} was started again, and is not ready yet."

    def status(self, name: str) -> Status:
        """See `lading.deploy.engine.Engine`."""
        state = self._read(name)
        if state is None or not state.revisions:
            return Status(name=name, place=self.place, state=State.ABSENT)
        assignment = state.assignments[state.current.number]
        service = self._service(assignment)
        if not is_alive(state):
            return Status(name=name, place=self.place, state=State.STOPPED, revisions=state.revisions)
        answer = ask(assignment, "/health-check") or {}
        if state.current.number not in state.live and answer.get("status") in _READY:
            self._note_live(name)
        apis = tuple(_api_status(api, answer, assignment) for api in service.apis)
        apis += tuple(_job_api_status(api) for api in service.job_apis)
        states = {one.state for one in apis}
        state_of_all = next((one for one in (State.FAILED, State.DEGRADED, State.UPDATING) if one in states), State.LIVE)
        return Status(
            name=name,
            place=self.place,
            state=state_of_all,
            apis=apis,
            revisions=state.revisions,
            endpoints=_endpoints(service, assignment),
        )

    def scale(self, name: str, api: str, replicas: int, reporter: Reporter) -> Status:
        """See `lading.deploy.engine.Engine`: replicas are processes here, and the server starts anew.

        Raises:
            LadingError: if there is no such deployment or API, or the number is zero.
        """
        with self._changing(name):
            revision = self._begin(name, self._require(name), self._scaled(name, api, replicas))
        return self.wait(revision, reporter, 600.0)

    def _scaled(self, name: str, api: str, replicas: int) -> Assignment:
        """What is served, with another number of processes of an API."""
        state = self._require(name)
        assignment = state.assignments[state.current.number]
        known = [one.name for one in self._service(assignment).apis]
        if api not in known or replicas < 1:
            what = (
                f"{name} has no API {api} that can be scaled." if api not in known else "A server has one process of each model at least."
            )
            instead = f"It has {', '.join(known) or 'none'}." if api not in known else f"`lading delete --to local --name {name}` stops it."
            raise LadingError(Problem(rule="cannot-scale", what=what, instead=instead, code=ExitCode.DEPLOY))
        return replace(assignment, processes={**assignment.processes, api: replicas})

    def rollback(self, name: str, number: int | None, reporter: Reporter) -> Revision:
        """See `lading.deploy.engine.Engine`.

        Raises:
            LadingError: if there is no such revision.
        """
        with self._changing(name):
            state = self._noted(self._require(name))
            others = [one.number for one in state.revisions if not one.current]
            live = [one for one in others if one in state.live]
            wanted = max(live, default=None) if number is None else number
            if wanted is None or wanted not in others:
                alone = f"{name} has {'no other revision that was ever ready' if others else 'one revision alone'}."
                what = f"{name} has no revision {number} to go back to." if number else alone
                instead = f"It has {', '.join(map(str, others))}." if others else "Deploy another one."
                raise LadingError(Problem(rule="revision-unknown", what=what, instead=instead, code=ExitCode.DEPLOY))
            reporter(Event(step=STEP, phase=Phase.STARTED, message=f"back to revision {wanted}"))
            return self._begin(name, state, state.assignments[wanted])

    def delete(self, name: str, api: str | None, reporter: Reporter) -> None:
        """See `lading.deploy.engine.Engine`; the jobs and the environments stay.

        Raises:
            LadingError: if one API alone is named: one server serves all of them.
        """
        if api is not None:
            what = f"One server of this machine serves all of {name}."
            instead = f"`lading delete {api}` stops serving this API until the server starts again."
            raise LadingError(Problem(rule="cannot-delete-api", what=what, instead=instead, code=ExitCode.DEPLOY))
        with self._changing(name):
            state = self._require(name)
            stop(state)
            for path in (self._state_path(name), self._assignment_path(name), self._log_path(name)):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._folder(name).rmdir()
        self._prune(one.digest for one in state.assignments.values())
        reporter(Event(step="Deleting", phase=Phase.FINISHED, message=name))

    def logs(self, name: str, api: str | None, *, follow: bool) -> Iterator[str]:  # noqa: ARG002 -- one server has one log
        """See `lading.deploy.engine.Engine`; all APIs write into one log."""
        self._require(name)
        with self._log_path(name).open(encoding="utf-8", errors="replace") as stream:
            rest = ""
            while True:
                *lines, rest = (rest + stream.read()).split("\n")
                yield from lines
                if not follow or not is_alive(self._require(name)):
                    break
                time.sleep(_POLL_SECONDS)
        if rest:
            yield rest

    # The server

    def _begin(self, name: str, state: Kept, assignment: Assignment) -> Revision:
        state = self._noted(state)
        number = max((one.number for one in state.revisions), default=0) + 1
        created = datetime.now(UTC).isoformat(timespec="seconds")
        revision = Revision(name=name, number=number, digest=assignment.digest, created=created)
        kept = [replace(one, current=False) for one in state.revisions][-_KEPT + 1 :]
        last = max(state.live, default=None)  # never too old: it is what a failure goes back to
        kept = [replace(one, current=False) for one in state.revisions if one.number == last and one.number < kept[0].number] + kept
        assignments = {one.number: state.assignments[one.number] for one in kept} | {number: assignment}
        self._start(name, replace(state, revisions=(*kept, revision), assignments=assignments, live=_left(state, assignments)))
        self._prune(one.digest for one in state.assignments.values())
        return revision

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """The sole right to change a deployment; the system gives it back when a process ends.

        Raises:
            LadingError: if another process has it.
        """
        from lading.environments.claims import try_claim  # noqa: PLC0415 -- POSIX alone has locks

        with try_claim(require_writable(self._environ), f"deployment-{name}") as ours:
            if not ours:
                what = f"Another process is changing {name} on this machine now."
                instead = "Try again when that is over."
                raise LadingError(Problem(rule="deployment-changing", what=what, instead=instead, code=ExitCode.DEPLOY))
            yield

    def _noted(self, state: Kept) -> Kept:
        """A state in which the current revision counts as one that was ready, if it is."""
        if state.pid and state.current.number not in state.live and is_alive(state) and _is_ready(state):
            return replace(state, live=(*state.live, state.current.number))
        return state

    def _note_live(self, name: str) -> None:
        """`_noted`, kept; unless somebody is changing the deployment, who will see for himself."""
        with contextlib.suppress(LadingError), self._changing(name):
            state = self._require(name)
            self._write(name, self._noted(state))

    def _prune(self, digests: Iterable[str]) -> None:
        """Remove bundles that nothing needs any more."""
        from lading.deploy.bundle_prune import prune_bundles  # noqa: PLC0415 -- POSIX alone has locks

        prune_bundles(only=digests, environ=self._environ)

    def _begin_again(self, name: str, state: Kept, number: int) -> None:
        """Make an older revision the current one, without the newer ones."""
        kept = tuple(replace(one, current=one.number == number) for one in state.revisions if one.number <= number)
        assignments = {one.number: state.assignments[one.number] for one in kept}
        self._start(name, replace(state, revisions=kept, assignments=assignments, live=_left(state, assignments)))
        self._prune(one.digest for one in state.assignments.values())

    def _start(self, name: str, state: Kept) -> None:
        stop(state)
        assignment = state.assignments[state.current.number]
        write_private(self._assignment_path(name), msgspec.json.encode(assignment))
        pid = start(self._assignment_path(name), self._log_path(name), self._environ)
        self._write(name, replace(state, pid=pid, started=start_time(pid)))

    def _service(self, assignment: Assignment) -> ServiceSpec:
        return bundles.require_unpacked(assignment.digest, self._environ)[0].service

    # Its files

    def _folder(self, name: str) -> Path:
        return Path(require_writable(self._environ)) / "deployments" / "local" / name

    def _state_path(self, name: str) -> Path:
        return self._folder(name) / "state.json"

    def _assignment_path(self, name: str) -> Path:
        return self._folder(name) / "assignment.json"

    def _log_path(self, name: str) -> Path:
        return self._folder(name) / "log"

    def _read(self, name: str) -> Kept | None:
        try:
            return msgspec.json.decode(self._state_path(name).read_bytes(), type=Kept)
        except (OSError, msgspec.MsgspecError):
            return None

    def _require(self, name: str) -> Kept:
        state = self._read(name)
        if state is None or not state.revisions:
            raise not_deployed(name, self.place)
        return state

    def _write(self, name: str, state: Kept) -> None:
        write_private(self._state_path(name), msgspec.json.encode(state))


def _held(root: Path) -> contextlib.AbstractContextManager[None]:
    from lading.deploy.bundle_prune import hold_bundle  # noqa: PLC0415 -- POSIX alone has locks

    return hold_bundle(root)


def _left(state: Kept, assignments: Mapping[int, Assignment]) -> tuple[int, ...]:
    return tuple(number for number in state.live if number in assignments)


def _is_ready(state: Kept) -> bool:
    return str((ask(state.assignments[state.current.number], "/health-check") or {}).get("status", "")) in _READY


def _require_current(state: Kept, revision: Revision) -> None:
    number = state.current.number
    if number != revision.number:
        raise LadingError(
            Problem(
                rule="deployment-superseded",
                what=f"Revision {revision.number} of {revision.name} is waited for no more: revision {number} took its place.",
                instead="Look at `lading status`, and deploy again if yours is the one that should be served.",
                code=ExitCode.DEPLOY,
            )
        )


def _secrets(deployment: Deployment) -> dict[str, Any]:
    bundled = deployment.bundled
    assert bundled is not None
    return {**bundled.secrets, **deployment.secrets}


def _address(options: Mapping[str, Any]) -> tuple[str, int]:
    return str(options.get("host") or "127.0.0.1"), port_of(options, "--port", _PORT)


def _check_free(host: str, port: int) -> None:
    """Say that a port is taken while what was served before is still served.

    Raises:
        LadingError: if it cannot be listened on.
    """
    from lading.service.listening import bind  # noqa: PLC0415 -- the server's own check and words

    bind(host, port).close()


def _listens(state: Kept, host: str, port: int) -> bool:
    """Whether the port is the one that this deployment's own server has."""
    assignment = state.assignments[state.current.number]
    return (assignment.host, assignment.port) == (host, port)


def _api_status(api: Any, health: Mapping[str, Any], assignment: Assignment) -> ApiStatus:
    own = health.get("apis", {}).get(api.name, health)
    word = str(own.get("status", ""))
    states = {"READY": State.LIVE, "BUSY": State.LIVE, "STARTING": State.UPDATING, "": State.UPDATING, "UNHEALTHY": State.DEGRADED}
    state = states.get(word, State.FAILED)
    wanted = assignment.processes.get(api.name, max(1, api.processes))
    ready = wanted if state is State.LIVE else 0
    kind = str(api.worker.cortex.get("kind") or "RealtimeAPI")
    messages = () if state in (State.LIVE, State.UPDATING) else (word.lower().replace("_", " "),)
    return ApiStatus(name=api.name, kind=kind, state=state, wanted=wanted, ready=ready, updated=wanted, messages=messages)


def _job_api_status(api: Any) -> ApiStatus:
    """Workers of jobs come with each job."""
    return ApiStatus(name=api.name, kind=str(api.worker.cortex["kind"]), state=State.LIVE, wanted=0, ready=0, updated=0)


def _endpoints(service: ServiceSpec, assignment: Assignment) -> tuple[Endpoint, ...]:
    url = url_of(assignment)
    found = []
    for api in (*service.apis, *service.job_apis):
        place = "/predictions" if api.worker.style != "cortex" else "/" + (api.endpoint or api.name).strip("/")
        found.append(Endpoint(api=api.name, url=url + place, reach="machine"))
    found += [Endpoint(api=one.name, url=url + one.endpoint, reach="machine") for one in service.splitters]
    return tuple(found)

"""A client of a running ``lading serve``, with the method names of Cortex's own.

::

    import lading.client
    client = lading.client.client()          # the server of the project in this folder
    job = client.submit_job("many", workers=2, item_list={"items": [1, 2, 3], "batch_size": 1})
    client.get_job("many", job["job_id"])["job_status"]["status"]

Standard library only, but for APIs that are called by gRPC (``lading[grpc]``). It is for the machine that the server runs on; over the network, use the server's HTTP API.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

_POLL_SECONDS = 0.2
_WITH_JOBS = ("BatchAPI", "TaskAPI")


def client(directory: str | Path = ".", url: str | None = None) -> Client:
    """A client of the server of a project's folder, or at an address.

    Raises:
        LadingError: if no server of the project runs.
    """
    from lading.pipeline import jobs_folder  # noqa: PLC0415 -- the pipeline is slow to import for who only has an address

    folder = jobs_folder(Path(directory).resolve(), os.environ)
    try:
        note = json.loads((folder / "server.json").read_text())
    except (OSError, ValueError):
        note = {}
    address = url or os.environ.get("LADING_URL") or note.get("url")
    if not address:
        raise LadingError(_not_running(str(directory)))
    return Client(address, token=note.get("token", "") if address == note.get("url") else "", folder=folder)


class Client:
    """See the module. Every method raises `LadingError` where the server refuses or cannot be reached."""

    def __init__(self, url: str, *, token: str = "", folder: Path | None = None) -> None:
        self.url, self._token, self._folder = url.rstrip("/"), token, folder

    def list_apis(self) -> list[dict[str, Any]]:
        """Every API: its ``name``, ``kind``, ``endpoint`` and ``status``."""
        told = self._ask("GET", "/")
        places = told.get("apis", {})
        health = self._ask("GET", "/health-check") if places else {}
        return [self._described(name, place, told, health) for name, place in places.items()]

    def get_api(self, api_name: str) -> dict[str, Any]:
        """One API; for those with jobs also its newest ``jobs``."""
        told = self._ask("GET", "/")
        place = _place_in(told, api_name)
        described = self._described(api_name, place, told, self._ask("GET", "/health-check"))
        answer = self._ask("GET", place, plain=True)
        return {**described, "jobs": answer["jobs"]} if isinstance(answer, dict) and "jobs" in answer else described

    def _described(self, name: str, place: str, told: Mapping[str, Any], health: Mapping[str, Any]) -> dict[str, Any]:
        own = health.get("apis", {}).get(name, health)
        kind = told.get("kinds", {}).get(name, "")
        return {"name": name, "kind": kind, "endpoint": f"{self.url}{place}", "status": str(own.get("status", "")).lower()}

    def get_job(self, api_name: str, job_id: str) -> dict[str, Any]:
        """A job, as ``{api_spec, job_status, endpoint}``."""
        found: dict[str, Any] = self._ask("GET", f"{self._place(api_name, with_jobs=True)}?jobID={urllib.parse.quote(job_id)}")
        return found

    def submit_job(self, api_name: str, *, dry_run: bool = False, **submission: Any) -> Any:
        """Start a job with the fields of Cortex's submission; the text of the dry run with ``dry_run``."""
        return self.submit_body(api_name, json.dumps(submission).encode(), dry_run=dry_run)

    def submit_body(self, api_name: str, body: bytes, *, dry_run: bool = False) -> Any:
        """Start a job with a submission that is JSON already."""
        query = "?dryRun=true" if dry_run else ""
        return self._ask("POST", self._place(api_name, with_jobs=True) + query, body, plain=dry_run)

    def stop_job(self, api_name: str, job_id: str, keep_cache: bool = False) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - Cortex's
        """Stop a job."""
        stopped: dict[str, Any] = self._ask("DELETE", f"{self._place(api_name, with_jobs=True)}?jobID={urllib.parse.quote(job_id)}")
        return stopped

    def predict(self, api_name: str, payload: Any) -> Any:
        """Ask a RealtimeAPI (or a TrafficSplitter), or hand a request to an AsyncAPI.

        Where an API is called by gRPC, the payload is the message by the names of its fields, and so is the answer.
        """
        told = self._ask("GET", "/")
        place = _place_in(told, api_name)
        if place in told.get("grpc", {}).values():
            from lading.grpc_client import call  # noqa: PLC0415 - few APIs are

            return call(self.url, place, payload)
        return self._ask("POST", place, json.dumps(payload).encode(), plain=True)

    def refresh(self, api_name: str, force: bool = False) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - Cortex's
        """Start an API's workers anew, without a gap."""
        done: dict[str, Any] = self._ask("POST", f"/-/apis/{urllib.parse.quote(api_name)}")
        return done

    def delete_api(self, api_name: str, keep_cache: bool = False) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - Cortex's
        """Stop serving an API, until the server is started again."""
        done: dict[str, Any] = self._ask("DELETE", f"/-/apis/{urllib.parse.quote(api_name)}")
        return done

    def create_api(self, api_spec: Mapping[str, Any], **_options: Any) -> None:
        """Refused: a project is served from its folder.

        Raises:
            LadingError: always.
        """
        what = f"{api_spec.get('name', 'An API')} cannot be created by the client."
        instead = "Write it to cortex.yaml, and run `lading serve`."
        raise LadingError(Problem(rule="client-cannot-deploy", what=what, instead=instead))

    patch = create_api

    def stream_api_logs(self, api_name: str, *, follow: bool = True) -> Iterator[str]:
        """What an API's predictor printed, line by line; then what it prints."""
        self._place(api_name)
        yield from _lines(self._logs() / api_name / "api.log", follow=follow, over=lambda: False)

    def stream_job_logs(self, api_name: str, job_id: str, *, follow: bool = True) -> Iterator[str]:
        """What the workers of a job printed, line by line, until it is over."""
        self.get_job(api_name, job_id)
        path = self._logs() / api_name / f"{Path(job_id).name}.log"
        yield from _lines(path, follow=follow, over=lambda: not self.running(api_name, job_id))

    def running(self, api_name: str, job_id: str) -> bool:
        """Whether a job is not over."""
        return self.get_job(api_name, job_id)["job_status"]["status"] in ("status_enqueuing", "status_running")

    def _logs(self) -> Path:
        if self._folder is None:
            raise LadingError(Problem(rule="logs-elsewhere", what="Logs are read on the server's machine.", instead="Run this there."))
        return self._folder / "logs"

    def _place(self, name: str, *, with_jobs: bool = False) -> str:
        return _place_in(self._ask("GET", "/"), name, with_jobs=with_jobs)

    def _ask(self, method: str, place: str, body: bytes | None = None, *, plain: bool = False) -> Any:
        """Send a request; the answer as data, or as text where it is no JSON and may be ``plain``."""
        headers = {"content-type": "application/json"}
        if place.startswith("/-/"):
            headers["authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self.url + place, data=body, method=method, headers=headers)  # noqa: S310 - the user's own address
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise LadingError(_refused(error.code, error.read())) from error
        except (OSError, ValueError) as error:
            raise LadingError(_unreachable(self.url, getattr(error, "reason", error))) from error
        try:
            return json.loads(content)
        except ValueError:
            if plain:
                return content.decode("utf-8", "replace")
            raise LadingError(_unreachable(self.url, "it answers something else")) from None


def _place_in(told: Mapping[str, Any], name: str, *, with_jobs: bool = False) -> str:
    """An API's path by what the server tells of itself."""
    places: dict[str, str] = told.get("apis", {})
    kinds: dict[str, str] = told.get("kinds", {})
    if name not in places:
        there = ", ".join(places) or "none"
        raise LadingError(Problem(rule="api-unknown", what=f"There is no API {name}.", instead=f"The server has: {there}."))
    if with_jobs and kinds.get(name, "BatchAPI") not in _WITH_JOBS:
        there = ", ".join(one for one, kind in kinds.items() if kind in _WITH_JOBS)
        instead = f"APIs with jobs: {there}." if there else f"Ask it with `lading predict {name} sample.json`."
        raise LadingError(Problem(rule="api-without-jobs", what=f"{name} is a {kinds[name]}, and has no jobs.", instead=instead))
    return places[name]


def _lines(path: Path, *, follow: bool, over: Any) -> Iterator[str]:
    position, rest = 0, ""
    while True:
        last = over() if follow else True
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as stream:
                if path.stat().st_size < position:
                    position = 0  # it was begun anew
                stream.seek(position)
                *lines, rest = (rest + stream.read()).split("\n")
                position = stream.tell()
            yield from lines
        if last:
            if rest:
                yield rest
            return
        time.sleep(_POLL_SECONDS)


def _not_running(directory: str) -> Problem:
    return Problem(
        rule="server-not-running",
        what="No server of this project runs.",
        origin=Origin(directory),
        instead="Start it with `lading serve`, or name its address with --url.",
        code=ExitCode.NETWORK,
    )


def _unreachable(url: str, reason: object) -> Problem:
    return Problem(
        rule="server-unreachable",
        what=f"The server at {url} cannot be asked: {reason}.",
        instead="Start it with `lading serve`, or correct --url.",
        code=ExitCode.NETWORK,
    )


def _refused(status: int, body: bytes) -> Problem:
    try:
        said = json.loads(body)
        text = said.get("message") or said.get("error") or str(said)
    except (ValueError, AttributeError):
        text = body[:1000].decode("utf-8", "replace")
    code = ExitCode.MODEL if status >= 500 else ExitCode.USAGE
    return Problem(rule="server-refused", what=f"The server answers {status}: {text}", code=code)

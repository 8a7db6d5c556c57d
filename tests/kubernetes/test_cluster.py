"""Our own images in the pods of a real cluster: served, updated and killed under load, taken back, and run as jobs."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import httpx
import pytest

from lading import pipeline
from lading.deploy.bundle import portable
from lading.deploy.engine import Deployment
from lading.images.front import pins
from lading.model.events import silent
from lading.model.problems import LadingError
from tests.deploy import conformance
from tests.images.support import Command, make_base, write
from tests.kubernetes.conftest import OfThisVersion, objects_of
from tests.support.index import LocalIndex
from tests.support.installed import repack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PER_SECOND = 60
JOBS = {
    "cortex.yaml": "- name: nightly\n  kind: TaskAPI\n  definition: {path: task.py}\n",
    "requirements.txt": "",
    "task.py": "class Task:\n    def __call__(self, config):\n        print('began')\n        if config.get('fail'):\n            raise ValueError('no rows')\n",
}
TASK = (JOBS, "nightly")
BATCH = (conformance.CORTEX, "many")
BROKEN = conformance.PROJECT["predict.py"].replace('self.version = "v1"', "raise ValueError('no weights')")


@pytest.fixture(scope="session")
def loaded(load_command: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Deployment]:
    """Build a project's image and take it into the nodes; the deployment of it, for a name."""
    folder = tmp_path_factory.mktemp("images")
    base = make_base(folder / "base")
    built: dict[str, tuple[str, Any]] = {}

    def made(name: str, files: dict[str, str], **more: Any) -> Deployment:
        key = json.dumps(files, sort_keys=True)
        if key not in built:
            tag = f"lading-test:v{len(built) + 1}"
            project, archive = write(folder / f"project-{len(built)}", files), folder / f"image-{len(built)}.tar"
            with LocalIndex() as index:
                for package in pins():
                    index.publish(repack(package))
                command = Command(folder / "home", index.url, folder)
                command("build", project, "-t", tag, "--base", base, "-o", f"docker-archive:{archive}")
            loading = shlex.split(load_command.replace("{}", str(archive)))
            subprocess.run(loading, check=True, capture_output=True)
            built[key] = (tag, portable(pipeline.read(pipeline.Options(directory=project))))
        tag, service = built[key]
        options = {"image_pull_policy": "Never", "service_type": "NodePort", **more}
        return Deployment(name=name, service=service, image=tag, options=options)

    return made


@dataclass
class Load:
    """Requests at a steady rate; what came of them."""

    url: str
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    def one(self) -> None:
        body = json.dumps({"input": {"text": "x", "seconds": 0.02}}).encode()
        request = urllib.request.Request(
            f"{self.url}/predictions/{uuid.uuid4().hex}", body, {"content-type": "application/json"}, method="PUT"
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                self.versions.add(json.loads(answer.read())["output"].split()[0])
                self.answered += 1
        except (OSError, ValueError, KeyError) as error:
            self.lost.append(str(error))


@contextmanager
def under_load(url: str) -> Iterator[Load]:
    """Send `PER_SECOND` requests each second while the block runs."""
    load, stop, threads = Load(url), threading.Event(), []
    interval = 1 / PER_SECOND

    def send() -> None:
        due = time.monotonic()
        while not stop.is_set():
            thread = threading.Thread(target=load.one)
            thread.start()
            threads.append(thread)
            due += interval
            time.sleep(max(0.0, due - time.monotonic()))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield load
    finally:
        stop.set()
        sender.join()
        for thread in threads:
            thread.join()
        sys.stderr.write(f"lost {len(load.lost)} of {load.answered + len(load.lost)}: {sorted(set(load.lost))}\n")


def url_of(engine: OfThisVersion, name: str, node: str, api: str = "") -> str:
    """The address of a deployment, or of one of its APIs, once the node's proxy has heard of its pods, which takes a moment."""
    workload = f"{name}-{api}" if api else name
    (service,) = (one for one in objects_of(engine.cluster, "Service", name) if one["metadata"]["name"] == workload)
    port = service["spec"]["ports"][0]["nodePort"]
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((node, port), timeout=5).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return f"http://{node}:{port}"


def deploy(engine: OfThisVersion, deployment: Deployment) -> None:
    engine.wait(engine.apply(deployment, silent), silent, 300)


def test_clients_find_what_they_may_rely_on(engine: OfThisVersion, name: str, node: str, loaded: Callable[..., Deployment]) -> None:
    deploy(engine, loaded(name, conformance.PROJECT))
    conformance.check(url_of(engine, name, node))
    assert any("Serving" in line for line in engine.logs(name, None, follow=False))


def test_a_rolling_update_under_load_loses_nothing(engine: OfThisVersion, name: str, node: str, loaded: Callable[..., Deployment]) -> None:
    deploy(engine, loaded(name, conformance.PROJECT, replicas="2"))
    newer = {**conformance.PROJECT, "predict.py": conformance.PROJECT["predict.py"].replace('"v1"', '"v2"')}
    with under_load(url_of(engine, name, node)) as load:
        time.sleep(2)
        deploy(engine, loaded(name, newer, replicas="2"))
        time.sleep(8)
    assert load.lost == [], f"{len(load.lost)} of {load.answered + len(load.lost)}"
    assert load.versions == {"v1", "v2"}


def test_a_pod_that_is_deleted_at_once_costs_little(engine: OfThisVersion, name: str, node: str, loaded: Callable[..., Deployment]) -> None:
    deploy(engine, loaded(name, conformance.PROJECT, replicas="2"))
    with under_load(url_of(engine, name, node)) as load:
        time.sleep(2)
        pod = objects_of(engine.cluster, "Pod", name)[0]["metadata"]["name"]
        engine.cluster.ask("DELETE", engine.cluster.path("Pod", pod), {"gracePeriodSeconds": "0"})
        time.sleep(8)
    assert load.answered > 5 * PER_SECOND
    assert len(load.lost) < 2 * PER_SECOND, "more than two seconds of requests"


def test_a_model_that_does_not_load_is_taken_back(engine: OfThisVersion, name: str, node: str, loaded: Callable[..., Deployment]) -> None:
    deploy(engine, loaded(name, conformance.PROJECT))
    broken = loaded(name, {**conformance.PROJECT, "predict.py": BROKEN})
    with pytest.raises(LadingError) as caught:
        engine.wait(engine.apply(broken, silent), silent, 30)
    assert "no weights" in str(caught.value.problems[0].detail)
    conformance.check(url_of(engine, name, node))


def test_a_splitter_shares_requests_out_as_on_every_engine(
    engine: OfThisVersion, name: str, node: str, loaded: Callable[..., Deployment]
) -> None:
    """In one pod, as its counts hold for each pod: a Service would spread connections over several."""
    deploy(engine, loaded(name, conformance.SPLIT))
    conformance.check_split(url_of(engine, name, node))


def test_clients_of_cortex_find_what_they_may_rely_on(
    engine: OfThisVersion, name: str, node: str, loaded: Callable[..., Deployment]
) -> None:
    """All of it, but not at one address: each API has a Service of its own, and no other API answers there."""
    deploy(engine, loaded(name, conformance.CORTEX))
    places = {api: url_of(engine, name, node, api) for api in ("now", "later", "many")}
    conformance.check_cortex(places["now"], places["later"], places["many"])
    answers = {
        (api, other): httpx.post(f"{url}/{other}", json={}, timeout=30).status_code for api, url in places.items() for other in places
    }
    assert {pair for pair, status in answers.items() if status == 404} == set(permutations(places, 2))


def batch(*items: int) -> dict[str, Any]:
    return {"workers": 1, "item_list": {"items": list(items), "batch_size": 1}}


@pytest.mark.parametrize(
    ("api", "submission", "condition"),
    [
        (TASK, {"config": {}}, "Complete"),
        (TASK, {"config": {"fail": True}}, "Failed"),
        (BATCH, batch(1, 2), "Complete"),
        (BATCH, batch(1, 13), "Failed"),
    ],
)
def test_jobs_end_as_their_work_does(
    api: tuple[dict[str, str], str],
    submission: dict[str, Any],
    condition: str,
    engine: OfThisVersion,
    name: str,
    loaded: Callable[..., Deployment],
    tmp_path: Path,
) -> None:
    files, asked = api
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(submission))
    deploy(engine, loaded(name, files, job=[f"{asked}={path}"]))
    until = time.monotonic() + 180
    found: list[str] = []
    while condition not in found and time.monotonic() < until:
        (job,) = objects_of(engine.cluster, "Job", name)
        found = [one["type"] for one in (job.get("status") or {}).get("conditions") or ()]
        time.sleep(0.5)
    assert found == [condition]

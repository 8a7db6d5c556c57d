"""A cluster of three hosts under load, of which one after the other fails: no request that may be repeated is lost, and no item of a job.

The suite takes some minutes: `.ci/test --all` runs it, as root.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lading.environments.interpreters import find_interpreters
from tests.ray import hosts
from tests.ray.cluster import LADING, Load
from tests.ray.test_one_host import CORTEX, project
from tests.support import postgres
from tests.support.command import write_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PORT = 6379
HTTP = 8000
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", "--object-store-memory", str(80 << 20)]
RAY += ["--include-log-monitor", "false", "--num-gpus", "0"]
LIGHT = {
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_open_telemetry": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
}
"""What keeps Ray's own processes small: three hosts share a machine."""


class Three:
    """A head without work of its own, two workers, Redis behind the head, and a gateway in front of all."""

    def __init__(self, network: hosts.Network, environ: dict[str, str]) -> None:
        self.network = network
        self.head, self.one, self.two = (network.host(name) for name in ("h", "a", "b"))
        (network.folder / "token").write_text(uuid.uuid4().hex * 2)
        self.environ = {
            **environ,
            **LIGHT,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(network.folder / "token"),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
            "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S": "120",
        }
        self.head_environ = {**self.environ, "RAY_REDIS_ADDRESS": f"{network.address}:{PORT}"}

    def of(self, host: hosts.Host) -> dict[str, str]:
        """A host's variables: it has a store of its own."""
        environ = self.head_environ if host is self.head else self.environ
        return {**environ, "LADING_HOME": str(host.folder / "lading"), "HOME": str(host.folder)}

    def start_head(self) -> None:
        where = ["--head", "--node-ip-address", self.head.address, "--port", str(PORT), "--num-cpus", "0", "--include-dashboard", "false"]
        self._start({self.head: [*RAY, *where]})

    def start_workers(self, *which: hosts.Host) -> None:
        address = ["--address", f"{self.head.address}:{PORT}", "--num-cpus", "1"]
        self._start({host: [*RAY, *address, "--node-ip-address", host.address] for host in which})

    def _start(self, commands: dict[hosts.Host, list[str]]) -> None:
        """Start hosts at the same time. On a busy machine Ray gives up the start of a node after 30 seconds, so it is tried again."""
        late = dict(commands)
        for last in (False, False, True):
            for host, command in late.items():
                host.start([*command, "--temp-dir", str(host.folder / "r")], self.of(host))
            for host in list(late):
                try:
                    host.wait_for("Ray runtime started")
                except AssertionError:
                    if last:
                        raise
                    host.kill()
                else:
                    del late[host]

    def lading(self, *words: str | Path, code: int | None = 0) -> Any:
        """Run ``lading WORDS --json`` on the head."""
        ran = self.head.run([*LADING, *map(str, words), "--json"], self.of(self.head))
        assert code is None or ran.returncode == code, ran.stdout + ran.stderr
        return json.loads(ran.stdout)

    def deploy(self, folder: Path, name: str, *words: str) -> Any:
        return self.lading("deploy", folder, "--to", "ray", f"{self.head.address}:{PORT}", "--name", name, *words)

    def scale(self, name: str, api: str, count: int) -> Any:
        return self.lading("scale", api, str(count), "--to", "ray", f"{self.head.address}:{PORT}", "--name", name)

    def replicas(self, name: str) -> dict[hosts.Host, list[int]]:
        """The process ids of a deployment's replicas by the host that they are on; a host that is cut off still runs its own."""
        found: dict[hosts.Host, list[int]] = {}
        for host in (self.one, self.two):
            assert host.process is not None
            pids = _descendants(host.process.pid) if host.process.poll() is None else []
            found[host] = [pid for pid in pids if f"ServeReplica:{name}." in _command(pid)]
        return found

    def settled(self, name: str, count: int, seconds: float = 180) -> dict[hosts.Host, list[int]]:
        """Wait until so many replicas are there, and the cluster says that they are ready; by host."""
        until = time.monotonic() + seconds
        status: Any = {}
        while True:
            found = self.replicas(name)
            if sum(map(len, found.values())) == count:
                status = self.lading("status", "--to", "ray", f"{self.head.address}:{PORT}", "--name", name, code=None)
                ready = [api["replicas"]["ready"] for api in status.get("apis", [])]
                if (status.get("state"), ready) == ("live", [count]) and self.replicas(name) == found:
                    return found
            assert time.monotonic() < until, (status, {host.name: pids for host, pids in found.items()})
            time.sleep(0.5)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    queue = [pid]
    while queue:
        with contextlib.suppress(OSError):
            children = [int(word) for word in Path(f"/proc/{queue[0]}/task/{queue[0]}/children").read_text().split()]
            found += children
            queue += children
        queue.pop(0)
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    reason = hosts.missing()
    if reason is not None:
        pytest.skip(reason)
    environ = {**os.environ, "PYENV_ROOT": os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv")}
    with hosts.Network() as network:
        redis = ["redis-server", "--bind", network.address, "--port", str(PORT), "--save", "", "--protected-mode", "no"]
        with subprocess.Popen(redis, stdout=subprocess.DEVNULL, cwd=network.folder) as store:
            made = Three(network, environ)
            try:
                made.start_head()
                made.start_workers(made.one, made.two)
                yield made
            finally:
                store.kill()  # first: nothing waits for it then, whatever happens to the hosts


@pytest.fixture(scope="module")
def pythons(three: Three) -> list[str]:
    """The Pythons here, the oldest first."""
    minors = {one.minor for one in find_interpreters(three.environ) if one.implementation == "cpython"}
    return sorted(minors, key=lambda minor: tuple(map(int, minor.split("."))))


@pytest.fixture(scope="module")
def python(pythons: list[str]) -> str:
    """The oldest Python here."""
    return pythons[0]


@pytest.fixture(scope="module")
def gateway(three: Three, python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway before four replicas of an old Python's model."""
    three.deploy(project(tmp_path_factory.mktemp("old"), python), "old")
    status = three.scale("old", "predict", 4)
    assert status["apis"][0]["replicas"]["ready"] == 4
    urls = [f"http://{host.address}:{HTTP}/old" for host in (three.one, three.two, three.head)]
    command = [*LADING, "gateway", *urls, "-p", "0", "--patience", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found
        yield found[0]
        process.terminate()


@pytest.fixture
def load(gateway: str, python: str) -> Iterator[Load]:
    """Idempotent requests, eight a second; a request is lost that has not its own answer within 125 seconds."""

    def send(number: int) -> str | None:
        name = f"{uuid.uuid4()}"
        answer = client.put(f"/predictions/{name}", json={"input": {"text": str(number), "sleep": 0.05}})
        good = answer.status_code == 200 and str(answer.json()["output"]).split()[1:] == [str(number), "on", python]
        return None if good else f"{answer.status_code} {answer.text}"

    wide = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    with httpx.Client(base_url=gateway, timeout=125, limits=wide) as client, Load(send, rate=8).running() as running:
        time.sleep(3)
        yield running
        while running.sent < 100:
            time.sleep(0.1)
    sys.stdout.write(f"{running.good} answered, {len(running.bad)} lost\n")
    assert running.bad == []
    assert running.good == running.sent


def test_a_model_of_another_python_runs_beside_it(three, gateway, pythons, tmp_path):
    three.deploy(project(tmp_path, pythons[-1]), "new")
    for host in (three.one, three.two, three.head):
        answer = httpx.post(f"http://{host.address}:{HTTP}/new/predictions", json={"input": {"text": "x"}}, timeout=20)
        assert answer.json()["output"] == f"says x on {pythons[-1]}"
    three.lading("delete", "--to", "ray", f"{three.head.address}:{PORT}", "--name", "new")


def test_a_replica_is_killed(three, load):
    before = three.settled("old", 4)
    assert all(before.values()), "both hosts have some"
    victim = before[three.one][0]
    os.kill(victim, 9)
    time.sleep(10)
    assert victim not in three.settled("old", 4)[three.one]


def test_it_is_updated(three, load, python, tmp_path):
    three.deploy(project(tmp_path, python, word="sings"), "old")
    three.settled("old", 4)


def _busiest(three: Three, name: str, count: int) -> hosts.Host:
    """The host that most replicas are on."""
    before = three.settled(name, count)
    return max(before, key=lambda host: len(before[host]))


def test_a_host_is_killed(three, load):
    victim = _busiest(three, "old", 4)
    victim.kill()
    time.sleep(20)
    three.start_workers(victim)
    three.settled("old", 4)


def test_a_link_is_cut(three, load):
    victim = _busiest(three, "old", 4)
    victim.cut()
    time.sleep(25)
    victim.mend()
    victim.kill()  # a node that the cluster gave up has to be started anew
    three.start_workers(victim)
    three.settled("old", 4)


def test_the_head_is_killed_and_comes_back(three, load):
    three.settled("old", 4)
    three.head.kill()
    time.sleep(8)
    three.start_head()
    three.settled("old", 4)
    time.sleep(5)


def test_a_job_loses_nothing_when_a_host_is_killed(three, gateway, tmp_path):
    reason = postgres.missing()
    if reason is not None:
        pytest.skip(reason)
    items = 3000
    folder = write_files(tmp_path, {**CORTEX, "cortex.yaml": CORTEX["cortex.yaml"].split("- name: many")[1].join(["- name: many", ""])})
    with postgres.Postgres(three.network.address) as server:
        three.deploy(folder, "jobs", "--secret-env", f"LADING_JOBS={server.database()}")
        three.scale("jobs", "many", 4)
        victim = _busiest(three, "jobs", 4)
        url = f"http://{three.head.address}:{HTTP}/jobs/many"
        body = {"workers": 4, "item_list": {"items": list(range(items)), "batch_size": 1}}
        job = httpx.post(url, json=body, timeout=20).json()["job_id"]

        def status() -> Any:
            while True:
                with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):  # what was asked of the host that is killed
                    return httpx.get(url, params={"jobID": job}, timeout=20).json()["job_status"]
                assert time.monotonic() < until
                time.sleep(0.2)

        until = time.monotonic() + 150

        while (done := status()["batch_metrics"]["succeeded"]) < items // 5:
            time.sleep(0.1)
        assert done < items - 100, "it is killed in the middle of the job"
        victim.kill()
        while status()["status"] == "status_running":
            time.sleep(0.5)
        over = status()
        assert over["status"] == "status_completed_with_failures"
        assert (over["batch_metrics"]["succeeded"], over["batch_metrics"]["failed"]) == (items - 1, 1)
        assert over["batches_in_queue"] == 0

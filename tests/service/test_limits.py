"""What a worker may use: control groups of both kinds, processors, GPUs, shared memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lading.cli.images import container_limits
from lading.model.cluster import ClusterSettings, Compute, Limits
from lading.model.project import ProjectKind
from lading.model.service import ServedApi, ServiceSpec, WorkerSpec
from lading.service.limits import CPU, MEMORY, Hierarchies, LimitGroup, _words, keep_to_processors
from lading.service.process import environment_of
from lading.service.resources import share_gpus, told, without_limits
from tests.worker.test_whole_server import predict, serving

EATER = """
    import os, time

    class Predictor:
        def predict(self, do: str, megabytes: int = 0) -> str:
            if do == "burn":
                began, used = time.time(), time.process_time()
                while time.time() - began < 1.0:
                    pass
                return str((time.process_time() - used) / (time.time() - began))
            eaten = bytearray(megabytes << 20)
            eaten[::4096] = b"x" * len(eaten[::4096])
            return "ate"
"""


def tree(root: Path, *, given_on: str = "cpu memory", own: str = "/user.slice/app.slice/run-1.scope") -> Hierarchies:
    """A unified hierarchy as systemd makes it: the folder above the process's own gives controllers on."""
    mount = root / "cgroup"
    folder = mount / own.lstrip("/")
    folder.mkdir(parents=True)
    for place in (folder, folder.parent, folder.parent.parent, mount):
        (place / "cgroup.procs").touch()
        (place / "cgroup.subtree_control").write_text(given_on if place == folder.parent else "")
    proc = root / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(f"0::{own}\n")
    (proc / "mountinfo").write_text(f"30 23 0:26 / {mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n")
    return Hierarchies.read(proc)


def older(root: Path) -> Hierarchies:
    """The older hierarchies, one for each controller, as seen in a container."""
    for name in ("memory", "cpu,cpuacct"):
        (root / name / "pod").mkdir(parents=True)
        (root / name / "pod" / "cgroup.procs").touch()
    proc = root / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text("5:memory:/docker/abc/pod\n3:cpu,cpuacct:/docker/abc/pod\n1:name=systemd:/x\n0::/\n")
    lines = [
        f"31 23 0:27 /docker/abc {root / 'memory'} rw - cgroup cgroup rw,memory",
        f"32 23 0:28 /docker/abc {root / 'cpu,cpuacct'} rw - cgroup cgroup rw,cpu,cpuacct",
    ]
    (proc / "mountinfo").write_text("\n".join(lines) + "\n")
    return Hierarchies.read(proc)


def test_the_unified_hierarchy_is_used_where_a_folder_above_gives_controllers_on(tmp_path):
    found = tree(tmp_path)
    group = LimitGroup.make("mark", 4711, Limits(cpu=1.5, memory=200 << 20), found)
    assert group.limited == {CPU, MEMORY}
    made = tmp_path / "cgroup/user.slice/app.slice/lading-mark"
    written = {name: (made / name).read_text() for name in ("cgroup.procs", "cpu.max", "memory.max")}
    assert written == {"cgroup.procs": "4711", "cpu.max": "150000 100000", "memory.max": str(200 << 20)}
    assert group.used_up() is None
    (made / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert group.used_up() == 200 << 20


def test_a_limit_on_the_server_itself_is_not_left(tmp_path):
    found = tree(tmp_path)
    own = tmp_path / "cgroup/user.slice/app.slice/run-1.scope"
    (own / "memory.max").write_text("max\n")
    (own / "cpu.max").write_text("max 100000\n")
    assert MEMORY in found.places_for([MEMORY])
    (own / "memory.max").write_text("4294967296\n")
    assert found.places_for([MEMORY]) == {}


def test_one_folder_that_gives_all_goes_before_a_nearer_one_that_gives_a_part(tmp_path):
    found = tree(tmp_path)  # app.slice gives both on
    own = tmp_path / "cgroup/user.slice/app.slice/run-1.scope"
    (own / "cgroup.subtree_control").write_text("cpu")
    group = LimitGroup.make("mark", 4711, Limits(cpu=1.5, memory=200 << 20), found)
    assert group.limited == {CPU, MEMORY}
    assert list(tmp_path.rglob("lading-*")) == [own.parent / "lading-mark"]


def test_memory_is_limited_alone_where_no_folder_gives_all(tmp_path):
    found = tree(tmp_path, given_on="memory")
    (tmp_path / "cgroup/user.slice/app.slice/run-1.scope/cgroup.subtree_control").write_text("cpu")
    group = LimitGroup.make("mark", 4711, Limits(cpu=1.5, memory=200 << 20), found)
    assert group.limited == {MEMORY}
    assert [path.parent.name for path in tmp_path.rglob("lading-*")] == ["app.slice"]
    rules = {one.rule: one.asked for one in told(spec(served("a", cpu=1000.0, memory=2 << 30, written=("cpu", "mem"))), found)}
    assert rules == {"compute-limited": "a: compute: mem 2 GiB", "compute-not-limited": "a: compute: cpu 1000"}


def test_a_limit_that_cannot_be_set_is_known(tmp_path):
    found = tree(tmp_path)
    (tmp_path / "cgroup/user.slice/app.slice/lading-mark/memory.max").mkdir(parents=True)
    group = LimitGroup.make("mark", 4711, Limits(cpu=1.5, memory=200 << 20), found)
    assert group.limited == {CPU}
    assert "Is a directory" in group.failed[MEMORY]


def test_a_limit_that_the_system_refuses_is_told(tmp_path):
    real(CPU)
    with serving(tmp_path, EATER, limits=Limits(cpu=1e12)) as server:
        server.wait_for_talk("model runs without the limit of compute.cpu (")
        assert predict(server, do="eat").json()["status"] == "succeeded"


def test_nothing_is_limited_where_nothing_gives_controllers_on(tmp_path):
    found = tree(tmp_path, given_on="pids")
    assert found.places_for([MEMORY]) == {}
    assert LimitGroup.make("mark", 4711, Limits(memory=1 << 30), found).limited == set()
    assert not list(tmp_path.rglob("lading-*"))


def test_the_older_hierarchies_have_a_folder_for_each_controller(tmp_path):
    group = LimitGroup.make("mark", 4711, Limits(cpu=0.2, memory=20 << 20), older(tmp_path))
    assert group.limited == {CPU, MEMORY}
    assert (tmp_path / "memory/pod/lading-mark/memory.limit_in_bytes").read_text() == str(20 << 20)
    assert (tmp_path / "cpu,cpuacct/pod/lading-mark/cpu.cfs_quota_us").read_text() == "20000"


def real(controller: str) -> None:
    if controller not in Hierarchies.read().places_for([controller]):
        pytest.skip(f"this machine lets us make no control group for {controller}")


def groups_of(pids: list[int]) -> set[Path]:
    """The groups that were made for these workers; other servers have groups there, too."""
    found = {group for place in Hierarchies.read().places_for([MEMORY, CPU]).values() for group in place.folder.glob("lading-*")}
    return {group for group in found if set(map(str, pids)) & set(_words(group / "cgroup.procs"))}


def test_a_worker_that_uses_up_its_memory_is_told_from_one_that_crashes(tmp_path):
    real(MEMORY)
    with serving(tmp_path, EATER, limits=Limits(memory=150 << 20)) as server:
        made = groups_of(server.workers())
        assert len(made) == 1
        assert predict(server, do="eat", megabytes=40).json()["status"] == "succeeded"
        answer = predict(server, do="eat", megabytes=400).json()
        assert "it ran out of memory; its limit (compute.mem) is 150 MiB" in answer["error"]
        until = time.monotonic() + 60
        while predict(server, do="eat", megabytes=40).json().get("status") != "succeeded":
            assert time.monotonic() < until
        made |= groups_of(server.workers())
        assert len(made) == 2
    assert [group for group in made if group.exists()] == []


def test_a_worker_gets_no_more_processor_time_than_it_may_use(tmp_path):
    real(CPU)
    with serving(tmp_path, EATER, limits=Limits(cpu=0.3)) as server:
        used = float(predict(server, do="burn").json()["output"])
    assert used < 0.45  # the first period of 100 ms may be used whole


def test_processors_stand_in_for_a_limit():
    there = os.sched_getaffinity(0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert keep_to_processors(process.pid, len(there), 0) is False
        if len(there) > 1:
            assert keep_to_processors(process.pid, 0.5, 3) is True
            assert len(os.sched_getaffinity(process.pid)) == 1
        process.communicate(b"\n")


def served(name: str, processes: int = 1, env: dict[str, str] | None = None, **compute) -> ServedApi:
    cluster = ClusterSettings(compute=Compute(**compute))
    worker = WorkerSpec(python="python", root="/", style="cortex", file="p.py", object="P", env=env or {})
    worker = replace(worker, limits=cluster.compute.limits(processes))
    return ServedApi(name=name, worker=worker, cluster=cluster, processes=processes)


def spec(*apis: ServedApi) -> ServiceSpec:
    return ServiceSpec(kind=ProjectKind.CORTEX, title="x", apis=apis)


def test_only_what_is_written_limits_and_processes_share_it():
    assert served("a").worker.limits == Limits()
    both = served("a", 2, cpu=3.0, memory=4 << 30, written=("cpu", "mem"))
    assert both.worker.limits == Limits(cpu=1.5, memory=2 << 30)
    assert environment_of(both.worker, {})["OMP_NUM_THREADS"] == "2"
    assert environment_of(both.worker, {"OMP_NUM_THREADS": "7"})["OMP_NUM_THREADS"] == "7"
    (free,) = without_limits(spec(both)).apis
    assert free.worker.limits == Limits()
    assert told(without_limits(spec(both))) == []


def test_what_is_limited_and_what_is_not_is_told(tmp_path):
    api = served("a", cpu=1000.0, memory=2 << 30, written=("cpu", "mem"))
    (held,) = told(spec(api), tree(tmp_path))
    assert (held.rule, held.asked) == ("compute-limited", "a: compute: mem 2 GiB, cpu 1000")
    (free,) = told(spec(api), Hierarchies(None, None, {}))
    assert (free.rule, free.chose) == ("compute-not-limited", "no limit")
    wants = replace(api, cluster=ClusterSettings(compute=Compute(shared_memory=1 << 20)), worker=replace(api.worker, limits=Limits()))
    assert [one.rule for one in told(spec(wants), shared=tmp_path)] == ["shm-size"]
    (missing,) = told(spec(wants), shared=tmp_path / "none")
    assert missing.chose == "no /dev/shm"


def test_gpus_are_shared_out():
    apis = [served("a", gpu=1, written=("gpu",)), served("b", gpu=2, written=("gpu",)), served("c"), served("d", gpu=4, written=("gpu",))]
    own = served("e", env={"CUDA_VISIBLE_DEVICES": "7"}, gpu=1, written=("gpu",))
    shared = share_gpus(spec(*apis, own), {}, lambda: 3)
    assert [api.worker.env.get("CUDA_VISIBLE_DEVICES") for api in shared.apis] == ["0", "1,2", None, "0,1,2", "7"]
    assert [one.kind.value for one in told(shared, Hierarchies(None, None, {}))] == ["chosen", "chosen", "advice", "chosen"]
    named = share_gpus(spec(*apis), {"CUDA_VISIBLE_DEVICES": "GPU-x"}, lambda: 3)
    assert named.apis[1].worker.env["CUDA_VISIBLE_DEVICES"] == "GPU-x"
    assert share_gpus(spec(*apis), {}, lambda: 0).apis == tuple(apis)


def test_a_container_gets_the_limits_of_all_its_apis():
    import json

    from lading.service.container import _with_environment, as_json

    def limits(*apis: ServedApi) -> dict[str, Any]:
        return container_limits({"run.lading.service": json.dumps(as_json(spec(*apis)))})

    a = served("a", cpu=0.5, memory=1 << 30, shared_memory=64 << 20, written=("cpu", "mem"))
    b = served("b", cpu=0.25, memory=2 << 30, written=("cpu", "mem"))
    assert limits(a, b) == {"cpus": 0.75, "memory": (3 << 30) + (256 << 20), "shared_memory": 64 << 20}
    assert [api.worker.limits for api in _with_environment(spec(a, b), {}).apis] == [Limits(), Limits()]  # the container's own hold
    assert limits(a, served("c")) == {"shared_memory": 64 << 20}
    from lading.images.engines import Engine
    from lading.images.running import RunOptions, _engine_flags

    flags = _engine_flags(Engine(name="podman", path="podman"), RunOptions(**limits(a, b)), 5000)
    assert " --cpus 0.75 --memory 3489660928 --shm-size 67108864" in " ".join(flags)
    assert "--memory" not in _engine_flags(Engine(name="podman", path="podman"), RunOptions(), 5000)
    assert container_limits({}) == container_limits({"run.lading.service": "no JSON"}) == {}

"""The server or its workers are killed (SIGKILL) in the middle of everything: each request ends once, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.service.support import Server, is_alive
from tests.service.test_descendants import daemons, wait_until
from tests.worker.test_whole_server import serving

_SECONDS = str(600_000 + os.getpid())  # as in `daemons`
_CODE = """
    import os, subprocess, time
    from cog import Path

    class Predictor:
        def setup(self):
            subprocess.Popen(["sleep", "SECONDS"])

        def predict(self, do: str, n: int, file: Path = None) -> int:
            if do == "child":
                subprocess.Popen(["sleep", "SECONDS"])
            if do == "session":
                subprocess.Popen(["sleep", "SECONDS"], start_new_session=True)
            if do == "sleep":
                time.sleep(0.02)
            return n
""".replace("SECONDS", _SECONDS)


class Client(threading.Thread):
    """Asks again and again until its server is gone; ``wrong`` is what was neither the right answer nor told as an end."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(daemon=True)
        self.url, self.number = server.url, number
        self.ended = threading.Event()
        self.good = self.told = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        random_ = random.Random(self.number)
        with httpx.Client(base_url=self.url, timeout=30, verify=False) as client:
            for n in range(100_000):
                do = random_.choice(
                    ["echo", "echo", "sleep", "sleep", "file", "child", "session"] if n % 10 == 0 else ["echo", "sleep", "file"]
                )
                given = {"do": do, "n": n, **({"file": "data:text/plain,x"} if do == "file" else {})}
                try:
                    self._check(client.post("/predictions", json={"input": given}), n)
                except httpx.TransportError:
                    return
                if self.ended.is_set():
                    return

    def _check(self, answer: httpx.Response, n: int) -> None:
        body = answer.json()
        if answer.status_code == 200 and body.get("output") == n:
            self.good += 1
        elif answer.status_code in (200, 503) and ("SIGKILL" in str(body.get("error")) or body["status"] == "failed"):
            self.told += 1
        else:
            self.wrong.append(answer.text[:300])


def _one_round(folder: Path, seed: int) -> int:
    """Load, a few killed workers, then the server itself is killed; returns how many good answers there were."""
    random_, before = random.Random(seed), daemons()
    with serving(folder, _CODE, env={"TMPDIR": str(folder)}) as server:
        clients = [Client(server, number) for number in range(6)]
        for client in clients:
            client.start()
        wait_until(lambda: any(client.good for client in clients))
        workers = set(server.workers())
        for _ in range(random_.randrange(3)):
            time.sleep(random_.random() / 2)
            workers |= set(server.workers())
            victims = [pid for pid in server.workers() if is_alive(pid)]
            if victims:
                os.kill(random_.choice(victims), signal.SIGKILL)
        time.sleep(random_.random() / 2)
        workers |= set(server.workers())
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(60)
        for client in clients:
            client.join(60)
            assert not client.is_alive(), "a request got no answer, and no end"
        assert [wrong for client in clients for wrong in client.wrong] == []
        wait_until(lambda: not daemons() - before, f"left running: {daemons() - before}")
        wait_until(lambda: not any(map(is_alive, workers)), workers)
        wait_until(lambda: not list(folder.glob("lading-*")), list(folder.glob("lading-*")))
        with socket.create_server(("127.0.0.1", server.port)):
            pass  # its port is free
    return sum(client.good for client in clients)


def test_a_killed_server_leaves_nothing(tmp_path):
    assert _one_round(tmp_path, seed=2) > 0


_GUARDED = """
import os, sys, time
from pathlib import Path
from lading.service.guard import GUARD

def readers():
    pipe = os.readlink(f"/proc/self/fd/{GUARD._pipe}")
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and os.readlink(entry / "fd/0") == pipe:
                yield int(entry.name)
        except OSError:
            continue

def guard():
    # Not its first process, which we have started, and which ends as soon as it has begun.
    while True:
        found, children = set(readers()), set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
        if found and not found & children:
            return found
        time.sleep(0.01)

for name in sys.argv[1:-1]:
    GUARD.folder(name)
print(*guard(), flush=True)
input()
GUARD.folder(sys.argv[-1])
GUARD.forget(sys.argv[1])
print(*guard(), flush=True)
input()
"""


def test_a_killed_guard_is_started_again_and_told_all(tmp_path):
    if not Path("/proc/self/fd/0").exists():
        pytest.skip("this system does not show what processes have open")
    folders = [tmp_path / name for name in ("forgotten", "before", "after")]
    for folder in folders:
        folder.mkdir()
    command = [sys.executable, "-c", _GUARDED, *map(str, folders)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        first = _guards(process)
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, first)))
        _next(process)
        assert not _guards(process) & first
        process.kill()
    wait_until(lambda: [folder.name for folder in folders if folder.exists()] == ["forgotten"], list(tmp_path.iterdir()))


def _guards(process: subprocess.Popen[str]) -> set[int]:
    assert process.stdout is not None
    found = set(map(int, process.stdout.readline().split()))
    assert found
    return found


def _next(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
def test_killed_again_and_again(tmp_path):
    seeds = range(100, 120)
    good = 0
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        good += _one_round(folder, seed)
    assert good > len(seeds)

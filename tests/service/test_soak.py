"""Three minutes of everything at once: every request gets exactly one answer, and nothing is left behind.

The number of requests is bounded, and so is the time: whichever comes first ends it.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.service.support import Server
from tests.worker.test_whole_server import serving

_SECONDS = float(os.environ.get("LADING_SOAK_SECONDS", "180"))
_MOST = 60_000
_CLIENTS = 16
_CODE = """
    import os
    import subprocess
    import time
    from typing import Any, Iterator
    from cog import BasePredictor, Path, streaming

    class Predictor(BasePredictor):
        def setup(self):
            self.kept = None

        @streaming
        def predict(self, do: str, seconds: float = 0.0, size: int = 0, file: Path = None, n: int = 0) -> Any:
            if do == "echo":
                return n
            if do == "sleep":
                print("asleep", n)
                time.sleep(seconds)
                return n
            if do == "big":
                return "x" * size
            if do == "raise":
                raise ValueError(str(n))
            if do == "crash":
                subprocess.Popen(["sleep", "1000"], start_new_session=True)
                os._exit(7)
            if do == "file":
                place = Path("out-%d.bin" % os.getpid())
                place.write_bytes(file.read_bytes()[::-1])
                return place
            if do == "many":
                return pieces(n)

    def pieces(n):
        for index in range(5):
            print("piece", index)
            yield {"n": n, "index": index}
"""


class Client(threading.Thread):
    """Asks one thing after the other, and checks each answer. ``seen`` counts what it did, ``wrong`` what was not as it should be."""

    def __init__(self, server: Server, number: int, until: float) -> None:
        super().__init__(daemon=True)
        self.server, self.number, self.until = server, number, until
        self.random = random.Random(number)
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.client = httpx.Client(base_url=server.url, timeout=60)

    def run(self) -> None:
        acts = [self.echo] * 10 + [
            self.sleep,
            self.big,
            self.fail,
            self.file,
            self.stream,
            self.later,
            self.cancel,
            self.leave,
            self.invalid,
        ]
        try:
            while time.monotonic() < self.until and self.seen.total() < _MOST // _CLIENTS:
                act = self.crash if self.random.random() < 0.002 else self.random.choice(acts)
                act(self.random.randrange(1 << 30))
                self.seen[act.__name__] += 1
        except Exception as error:  # noqa: BLE001 - told at the end
            self.wrong.append(repr(error))
        finally:
            self.client.close()

    def check(self, what: str, *, fits: bool, got: object) -> None:
        if not fits:
            self.wrong.append(f"{what}: {got}"[:500])

    def ask(self, **given) -> httpx.Response:
        return self.client.post("/predictions", json={"input": given})

    def settled(self, answer: httpx.Response, what: str, output: object) -> None:
        """An answer is right, or it is one whose worker was ended by another's crash, and says so."""
        body = answer.json()
        ended = body.get("status") == "failed" and "the model's process ended with exit code 7" in str(body.get("error"))
        self.check(what, fits=answer.status_code == 200 and (ended or body.get("output") == output), got=answer.text)

    def echo(self, n: int) -> None:
        self.settled(self.ask(do="echo", n=n), "echo", n)

    def sleep(self, n: int) -> None:
        self.settled(self.ask(do="sleep", n=n, seconds=self.random.random() / 20), "sleep", n)

    def big(self, n: int) -> None:
        size = n % 2_000_000
        self.settled(self.ask(do="big", size=size), "big", "x" * size)

    def fail(self, n: int) -> None:
        body = self.ask(do="raise", n=n).json()
        self.check("raise", fits=body["status"] == "failed" and (body["error"] == str(n) or "exit code 7" in body["error"]), got=body)

    def invalid(self, n: int) -> None:
        answer = self.ask(do="echo", n="no")
        ended = answer.status_code == 200 and "exit code 7" in str(answer.json().get("error"))
        self.check("invalid", fits=ended or answer.status_code == 422, got=(n, answer.text))

    def file(self, n: int) -> None:
        url = f"data:text/plain,{n}"
        answer = self.ask(do="file", file=url)
        body = answer.json()
        fits = str(body.get("output", "")).startswith("data:application/octet-stream;base64,") or "exit code 7" in str(body.get("error"))
        self.check("file", fits=answer.status_code == 200 and fits, got=answer.text)

    def stream(self, n: int) -> None:
        names: list[str] = []
        with self.client.stream(
            "POST", "/predictions", json={"input": {"do": "many", "n": n}}, headers={"accept": "text/event-stream"}
        ) as answer:
            names += [line[7:] for line in answer.iter_lines() if line.startswith("event: ")]
        self.check("stream", fits=names[-1:] == ["completed"] and names.count("completed") == 1, got=names)

    def later(self, n: int) -> None:
        id_ = f"later-{self.number}-{n}"
        asked = self.client.put(f"/predictions/{id_}", json={"input": {"do": "echo", "n": n}}, headers={"prefer": "respond-async"})
        self.check("later", fits=asked.status_code in (200, 202), got=asked.text)
        self.settled_later(id_, ("succeeded", "failed"))

    def settled_later(self, id_: str, statuses: tuple[str, ...]) -> None:
        until = time.monotonic() + 60
        while True:
            answer = self.client.get(f"/predictions/{id_}")
            if answer.status_code == 404:
                return  # kept for a while only, and there are many
            if answer.json()["status"] in statuses:
                return
            if time.monotonic() > until:
                self.wrong.append(f"{id_} is {answer.text}"[:300])
                return
            time.sleep(0.01)

    def cancel(self, n: int) -> None:
        id_ = f"cancel-{self.number}-{n}"
        self.client.put(f"/predictions/{id_}", json={"input": {"do": "sleep", "seconds": 5, "n": n}}, headers={"prefer": "respond-async"})
        time.sleep(self.random.random() / 50)
        answer = self.client.post(f"/predictions/{id_}/cancel")
        self.check("cancel", fits=answer.status_code in (200, 404), got=answer.text)
        self.settled_later(id_, ("canceled", "failed"))

    def leave(self, n: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        body = json.dumps({"input": {"do": "sleep", "seconds": 5, "n": n}})
        connection.request("POST", "/predictions", body, {"content-type": "application/json"})
        time.sleep(self.random.random() / 10)
        connection.close()

    def crash(self, n: int) -> None:
        body = self.ask(do="crash", n=n).json()
        self.check("crash", fits=body["status"] == "failed" and "exit code 7" in body["error"], got=body)
        self.echo(n)


def memory(pid: int) -> int:
    """Bytes that a process has to itself."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def sleepers() -> set[int]:
    """What crashed models have left running."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == b"sleep\x001000\x00":
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def quiet(server: Server) -> None:
    """Wait until nothing runs and nothing waits."""
    until = time.monotonic() + 60
    while True:
        metrics = server.client.get("/metrics").text
        numbers = [
            float(line.split()[-1])
            for line in metrics.splitlines()
            if line.startswith(("lading_queue_length{", "lading_predictions_running{"))
        ]
        if not any(numbers) and server.health()["status"] == "READY":
            return
        assert time.monotonic() < until, metrics
        time.sleep(0.1)


def load(server: Server, seconds: float) -> tuple[Counter[str], list[str]]:
    until = time.monotonic() + seconds
    clients = [Client(server, number, until) for number in range(_CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(seconds + 120)
        assert not client.is_alive(), "a request got no answer"
    seen: Counter[str] = sum((client.seen for client in clients), Counter())
    return seen, [wrong for client in clients for wrong in client.wrong]


@pytest.mark.slow
@pytest.mark.timeout(_SECONDS * 2 + 300)
def test_under_load_with_cancels_crashes_and_disconnects_nothing_is_lost_or_left(tmp_path):
    before = sleepers()
    with serving(tmp_path, _CODE, env={"TMPDIR": str(tmp_path)}) as server:
        _seen, wrong = load(server, min(20.0, _SECONDS / 4))
        assert wrong == []
        quiet(server)
        pid = server.process.pid
        at_first = memory(pid), descriptors(pid), threads(pid)
        seen, wrong = load(server, _SECONDS)
        assert wrong == []
        assert all(seen[name] for name in ("echo", "cancel", "leave", "later", "stream")), seen
        quiet(server)
        at_last = memory(pid), descriptors(pid), threads(pid)
        told = (dict(seen), at_first, at_last)
        assert at_last[0] - at_first[0] < 64 * 1024 * 1024, told
        assert at_last[1] - at_first[1] <= 4, told
        assert at_last[2] - at_first[2] <= 12, told  # a pool of threads that grows to its bound
        assert len(server.workers()) == 1
        assert sleepers() == before
        workers = server.workers()
        assert server.stop() == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert not list(tmp_path.glob("lading-*"))

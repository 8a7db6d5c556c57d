"""Starting and stopping the server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.service.support import Server, api, command, free_port, is_alive, running, worker


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_stopping_leaves_no_process_and_no_folder_behind(tmp_path, number: int, status: int):
    with running(tmp_path) as server:
        scratch = Path(server.predict("head").json()["output"]["scratch"]).parent
        assert scratch.is_dir()
        workers = server.workers()
        assert workers
        assert server.stop(number) == status
        assert not any(is_alive(pid) for pid in workers)
        assert not scratch.exists()


def test_stopping_lets_a_running_prediction_finish(tmp_path):
    with running(tmp_path) as server:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.predict("until", file=str(tmp_path / "go"))))
        thread.start()
        wait_until_busy(server)
        server.process.terminate()
        server.wait_for_talk("1 predictions may finish")
        (tmp_path / "go").touch()
        assert server.process.wait(60) == 0
        thread.join()
        assert (answers[0].status_code, answers[0].json()["output"]) == (200, "slept")


def test_a_prediction_that_outlasts_the_drain_still_gets_an_answer(tmp_path):
    with running(tmp_path, drain_seconds=0.3) as server:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.predict("hang")))
        thread.start()
        wait_until_busy(server)
        workers = server.workers()
        assert server.stop() == 0
        thread.join()
        assert answers[0].json()["status"] == "canceled"
        assert "stopped" in answers[0].json()["error"]
        assert not any(is_alive(pid) for pid in workers)


def test_a_second_signal_ends_at_once(tmp_path):
    with running(tmp_path, drain_seconds=60) as server:
        server.predict("hang", headers={"prefer": "respond-async"})
        workers = server.workers()
        server.process.send_signal(signal.SIGINT)
        server.wait_for_talk("1 predictions may finish within 60 s")
        assert server.process.poll() is None
        assert server.stop(signal.SIGINT) == 130
        assert not any(is_alive(pid) for pid in workers)


def test_stopping_during_setup_ends_the_setup(tmp_path):
    with running(tmp_path, api(tmp_path, setup="hangs"), ready=False) as server:
        (worker_pid,) = server.workers()
        assert server.stop() == 0
        assert not is_alive(worker_pid)


def test_a_port_in_use_is_told_before_anything_is_started(tmp_path):
    marker = tmp_path / "started"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            command(tmp_path, [api(tmp_path, marker=str(marker))], port), capture_output=True, text=True, timeout=30, check=False
        )
    (problem,) = json.loads(done.stdout)
    assert done.returncode == 2
    assert problem["rule"] == "port-in-use"
    assert str(port) in problem["what"]
    assert "-p" in problem["instead"]
    assert not marker.exists()


def test_a_host_that_is_not_ours_is_told(tmp_path):
    arguments = command(tmp_path, [api(tmp_path)], free_port(), host="203.0.113.1")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
    (problem,) = json.loads(done.stdout)
    assert (done.returncode, problem["rule"]) == (2, "host-unknown")


def test_a_missing_interpreter_is_told_with_the_way_out(tmp_path):
    broken = {**api(tmp_path), "worker": {**worker(tmp_path), "python": str(tmp_path / "gone" / "python")}}
    done = subprocess.run(command(tmp_path, [broken], free_port()), capture_output=True, text=True, timeout=30, check=False)
    (problem,) = json.loads(done.stdout)
    assert (done.returncode, problem["rule"]) == (2, "worker-not-started")
    assert "lading install" in problem["instead"]
    assert "Traceback" not in done.stderr


def test_shutdown_by_http_only_when_it_is_allowed(tmp_path):
    with running(tmp_path, extra={"allow_shutdown": True}) as server:
        assert server.client.get("/").json()["shutdown_url"] == "/shutdown"
        assert server.client.post("/shutdown").json() == {}
        assert server.process.wait(60) == 0


def test_the_server_killed_without_warning_takes_its_workers_along(tmp_path):
    with running(tmp_path) as server:
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        until = time.monotonic() + 60
        while any(is_alive(pid) for pid in workers):
            assert time.monotonic() < until
            time.sleep(0.01)


def test_idle_connections_do_not_hold_up_the_stop(tmp_path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url) as client:
        client.get("/livez")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 20  # an answer would be waited for for 35 s


def test_port_0_takes_a_free_port_and_names_it(tmp_path):
    with subprocess.Popen(command(tmp_path, [api(tmp_path)], 0), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = next(line.split()[-1] for line in process.stderr if line.startswith("Serving|finished"))
        assert httpx.get(f"{url}/livez").json() == {"live": True}
        process.terminate()
        assert process.wait(60) == 0


def test_a_log_that_nobody_reads_does_not_stop_the_serving(tmp_path):
    port = free_port()
    with subprocess.Popen(command(tmp_path, [api(tmp_path)], port), stderr=subprocess.PIPE) as process:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            until = time.monotonic() + 60
            while not answers(client):
                assert time.monotonic() < until
                time.sleep(0.01)
            loud = {"input": {"do": "say", "text": f"{'x' * 99}\n" * 5000}}  # far more than a pipe holds
            for _ in range(3):
                assert len(client.post("/predictions", json=loud).json()["logs"]) == 500_000
        process.terminate()
        assert process.wait(60) == 0


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until_busy(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        until = time.monotonic() + 60
        while client.get("/health-check").json()["status"] != "BUSY":
            assert time.monotonic() < until, server.talk
            time.sleep(0.01)

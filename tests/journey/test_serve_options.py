"""`lading serve` and its options and variables, as a user meets them."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.service.support import children_of, free_port

PROJECT = {
    "cog.yaml": 'build:\n  python_version: "3.11"\npredict: predict.py:Predictor\n',
    "predict.py": """\
import os
import threading
import time
from cog import BasePredictor, Input, Path

class Predictor(BasePredictor):
    def setup(self):
        time.sleep(float(os.environ.get("SETUP", "0")))
        self.running, self.most, self.lock = 0, 0, threading.Lock()
        self.three = threading.Barrier(3)

    def predict(self, do: str = "pid", seconds: float = 0.3, file: Path = None) -> str:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        if do == "sleep":
            time.sleep(seconds)
        if do == "meet":
            self.three.wait(25)
        with self.lock:
            self.running -= 1
        return {"pid": str(os.getpid()), "most": str(self.most)}.get(do, file.read_text() if file else do)
""",
}
FILES = {
    **PROJECT,
    "predict.py": "from cog import BasePredictor, Path\n\nclass Predictor(BasePredictor):\n    def predict(self) -> Path:\n        Path('x.txt').write_text('x')\n        return Path('x.txt')\n",
}


class Site(ThreadingHTTPServer):
    """Gives a text, and takes files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.put: list[tuple[str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"text")

    def do_PUT(self) -> None:
        self.server.put.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Location", "https://cdn.example/x.txt?sig=1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def site():
    with Site() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def ask(service, **given):
    return service.client.post("/predictions", json={"input": given})


def three_at_once(service) -> None:
    threads = [threading.Thread(target=ask, args=(service,), kwargs={"do": "meet"}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_workers_and_limits_are_what_the_options_say(project, served):
    with served(project(PROJECT), "--workers", "2", "--max-queue", "1", "--max-body", "20k") as service:
        assert len(children_of(service.process.pid)) == 2
        assert ask(service, do="x" * 30_000).status_code == 413
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(ask(service, do="sleep").status_code)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {200, 503} == set(statuses)


@pytest.mark.parametrize(("words", "variables"), [(["--threads", "3"], {}), ([], {"COG_MAX_CONCURRENCY": "3"})])
def test_threads_share_a_process(project, served, words: list[str], variables: dict[str, str]):
    with served(project(PROJECT), *words, **variables) as service:
        three_at_once(service)
        assert ask(service, do="most").json()["output"] == "3"
        assert len(children_of(service.process.pid)) == 1


def test_cogs_setup_timeout_holds_unless_the_option_says_otherwise(project, served):
    with served(project(PROJECT), ready=False, COG_SETUP_TIMEOUT="0.5", SETUP="30") as service:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                health = service.client.get("/health-check").json()
                if health["status"] == "SETUP_FAILED":
                    break
            assert time.monotonic() < until
            time.sleep(0.05)
        assert "setup did not finish within 0.5 s" in health["setup"]["error"]


def test_variables_of_the_server_may_stand_where_the_models_do(project, served):
    """In Cog's images there is one environment: what `environment` and `-e` set reaches the server, and `-e` wins."""
    configured = {**PROJECT, "cog.yaml": PROJECT["cog.yaml"] + "environment:\n  - COG_MAX_CONCURRENCY=1\n  - LOG_FORMAT=json\n"}
    with served(project(configured), "-e", "COG_MAX_CONCURRENCY=3") as service:
        three_at_once(service)
        assert ask(service, do="most").json()["output"] == "3"
        assert all(json.loads(line)["level"] for line in service.log.splitlines() if line.startswith("{"))
        service.wait_for_log('"message": "my-model on')


def test_cogs_variable_names_the_training_of_a_folder_without_configuration(project, served, lading):
    files = {"predict.py": PROJECT["predict.py"], "fit.py": "from cog import Path\n\ndef fit(n: int) -> int:\n    return n + 1\n"}
    with served(project(files), "-f", "predict.py:Predictor", COG_TRAIN_TYPE_STUB="fit.py:fit") as service:
        assert service.client.post("/trainings", json={"input": {"n": 1}}).json()["output"] == 2
    told = lading("train", "-f", "predict.py:Predictor", project(files), "-i", "n=1", COG_TRAIN_TYPE_STUB="gone.py:fit")
    assert told.code == 2
    assert "COG_TRAIN_TYPE_STUB: The predictor file gone.py is not in the project." in told.err


def test_the_page_to_try_it_on_has_a_port_of_its_own_and_browsers_are_shown_it(project, served):
    port = free_port()
    with served(project(PROJECT), "--playground-port", str(port)) as service:
        service.wait_for_log(f"a page to try it on: http://127.0.0.1:{port}/")
        page = httpx.get(f"http://127.0.0.1:{port}/", headers={"accept": "text/html,*/*;q=0.8"}, follow_redirects=True)
        assert (page.status_code, page.url.path, "Try it" in page.text) == (200, "/docs", True)
        assert httpx.post(f"http://127.0.0.1:{port}/predictions", json={"input": {"do": "x"}}).json()["output"] == "x"
        assert service.client.get("/").json()["docs_url"] == "/docs"


def test_inputs_by_url_are_public_unless_allowed(project, served, lading, site):
    folder = project(PROJECT)
    with served(folder) as service:
        refused = ask(service, do="read", file=site.url)
        assert refused.status_code == 422
        assert "127.0.0.1 is no public address; allow it with LADING_DOWNLOAD_ALLOW" in refused.json()["detail"][0]["msg"]
    with served(folder, "--allow-downloads", "127.0.0.0/8") as service:
        assert ask(service, do="read", file=site.url).json()["output"] == "text"
    assert lading("predict", folder, "-i", "do=read", "-i", f"file={site.url}").out == "text\n"


def test_files_of_outputs_go_to_the_upload_url(project, served, site):
    with served(project(FILES), "--upload-url", f"{site.url}/outputs") as service:
        assert ask(service).json()["output"] == "https://cdn.example/x.txt"
    assert site.put == [("/outputs/x.txt", b"x")]


def test_shutdown_ends_the_server_and_sigterm_may_be_told_not_to(project, served):
    with served(project(PROJECT), "--await-explicit-shutdown") as service:
        service.process.terminate()
        time.sleep(0.3)
        assert ask(service).status_code == 200
        assert service.client.post("/shutdown").status_code == 200
        assert service.process.wait(60) == 0


def test_a_pod_gets_the_file_that_its_probe_looks_for(project, served):
    ready = Path("/var/run/cog/ready")
    try:
        ready.parent.mkdir(exist_ok=True)
        ready.unlink(missing_ok=True)
    except OSError as error:
        pytest.skip(f"this user may not write {ready.parent}: {error.strerror}")
    with served(project(PROJECT), KUBERNETES_SERVICE_HOST="10.0.0.1"):
        until = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < until
            time.sleep(0.02)
    ready.unlink()


def test_cogs_variable_names_the_predictor_of_a_folder_without_configuration(project, served):
    other = {"models/first.py": PROJECT["predict.py"], "second.py": PROJECT["predict.py"]}
    with served(project(other), COG_PREDICT_TYPE_STUB="models/first.py:Predictor") as service:
        assert ask(service).status_code == 200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], '"0" is no whole number from 1 on'),
        (["--threads", "x"], '"x" is no whole number from 1 on'),
        (["--max-body", "5T"], '"5T" is no size; write 500M or 2G'),
        (["--playground-port", "70000"], "--playground-port: The port is not a number from 0 to 65535."),
        (["--upload-url", "s3://x"], '"s3://x" is no http:// or https:// URL'),
    ],
)
def test_options_that_make_no_sense_are_named(project, lading, words: list[str], said: str):
    told = lading("serve", project(PROJECT), *words)
    assert told.code == 2
    assert said in told.err

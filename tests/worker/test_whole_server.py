"""The front and a real worker together: from an HTTP request to the model and back."""

from __future__ import annotations

import base64
import signal
import threading
import time
import zlib
from pathlib import Path
from struct import pack

import httpx
import msgspec

from tests.service import support
from tests.worker.harness import eventually, make_spec

_BLUR = '''
    """Blurs a picture, with the standard library alone."""

    import struct
    import tempfile
    import zlib

    from cog import BasePredictor, Input, Path


    class Predictor(BasePredictor):
        def setup(self) -> None:
            print("ready to blur")

        def predict(self, image: Path, radius: int = Input(default=1, ge=1, le=9)) -> Path:
            """Box-blur one row of grey pixels."""
            row = read_row(image.read_bytes())
            print("blurring", image.name, len(row))
            blurred = bytes(mean(row[max(0, i - radius) : i + radius + 1]) for i in range(len(row)))
            target = Path(tempfile.mkdtemp()) / "blurred.png"
            target.write_bytes(png(blurred))
            return target


    def mean(values):
        return sum(values) // len(values)


    def read_row(png):
        size = struct.unpack(">I", png[33:37])[0]
        return zlib.decompress(png[41 : 41 + size])[1:]


    def png(row):
        header = struct.pack(">IIBBBBB", len(row), 1, 8, 0, 0, 0, 0)
        parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\\x00" + row)), (b"IEND", b"")]
        return b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
        )
'''
_DIFFICULT = """
    import os
    import subprocess
    import sys
    import time
    from typing import Iterator

    class Predictor:
        def predict(self, do: str) -> str:
            if do == "crash":
                print("about to crash", flush=True)
                os.kill(os.getpid(), 11)
            if do == "exit":
                sys.exit(3)
            if do == "raise":
                raise ValueError("no good")
            if do == "native":
                print("python")
                subprocess.run(["sh", "-c", "echo native"])
            if do == "sleep":
                print("sleeping", flush=True)
                time.sleep(60)
            if do == "child":
                return str(subprocess.Popen(["sleep", "600"]).pid)
            return str(os.getpid())
"""


def png(row: bytes) -> bytes:
    header = pack(">IIBBBBB", len(row), 1, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    chunks = (pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def serving(root: Path, code: str, **options):
    spec = make_spec(root, code, **options)
    api = {"name": "model", "worker": msgspec.to_builtins(spec), "processes": 1, "endpoint": None}
    return support.running(root, api, extra={"worker_main": None})


def data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def predict(server: support.Server, **inputs) -> httpx.Response:
    return server.client.post("/predictions", json={"input": inputs})


def test_a_picture_in_and_a_picture_out(tmp_path):
    with serving(tmp_path, _BLUR) as server:
        assert "ready to blur" in server.health()["setup"]["logs"]
        answer = predict(server, image=data_url(png(bytes([0, 0, 90, 0, 0])), "image/png")).json()
        assert answer["status"] == "succeeded"
        assert answer["output"] == data_url(png(bytes([0, 30, 30, 30, 0])), "image/png")
        assert answer["logs"] == "blurring file.png 5\n"
        assert answer["metrics"]["predict_time"] > 0
        refused = predict(server, image="/etc/passwd", radius=10)
        assert refused.status_code == 422
        assert [item["loc"][-1] for item in refused.json()["detail"]] == ["image", "radius"]


def test_what_a_model_does_to_itself_is_told_and_mended(tmp_path):
    with serving(tmp_path, _DIFFICULT) as server:
        first = predict(server, do="pid").json()["output"]
        crashed = predict(server, do="crash").json()
        assert crashed["status"] == "failed"
        assert "SIGSEGV" in crashed["error"]
        assert "about to crash" in crashed["logs"]
        assert "in predict" in crashed["logs"], "the crash names the line of Python"
        server.wait_for("READY")
        second = predict(server, do="pid").json()["output"]
        assert second != first
        assert "exit code 3" in predict(server, do="exit").json()["error"]
        server.wait_for("READY")
        failed = predict(server, do="raise").json()
        assert (failed["status"], failed["error"]) == ("failed", "no good")
        assert failed["logs"].endswith("ValueError: no good\n")
        assert sorted(predict(server, do="native").json()["logs"].split()) == ["native", "python"]


def test_cancel_stops_a_sleeping_prediction_without_ending_its_process(tmp_path):
    with serving(tmp_path, _DIFFICULT) as server:
        before = predict(server, do="pid").json()["output"]
        answers = []
        request = threading.Thread(
            target=lambda: answers.append(httpx.put(f"{server.url}/predictions/x", json={"input": {"do": "sleep"}}, timeout=30).json())
        )
        request.start()
        server.wait_for("BUSY")
        time.sleep(0.1)
        assert server.client.post("/predictions/x/cancel").status_code == 200
        request.join(60)
        assert answers[0]["status"] == "canceled"
        assert predict(server, do="pid").json()["output"] == before


def test_nothing_is_left_when_the_server_stops(tmp_path):
    with serving(tmp_path, _DIFFICULT) as server:
        child = int(predict(server, do="child").json()["output"])
        workers = server.workers()
        assert server.stop(signal.SIGTERM) == 0
        assert not any(support.is_alive(pid) for pid in workers)
        eventually(lambda: not support.is_alive(child))


def test_exit_handlers_run_when_the_server_stops_and_do_not_hold_it(tmp_path):
    code = """
        import atexit
        import time

        class Predictor:
            def setup(self):
                atexit.register(time.sleep, 600)
                atexit.register(lambda: open("handled", "w").close())

            def predict(self) -> str:
                return ""
    """
    with serving(tmp_path, code) as server:
        workers = server.workers()
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 30
        assert not any(support.is_alive(pid) for pid in workers)
    assert (tmp_path / "handled").exists()


def test_downloaded_weights_are_removed_at_the_end(tmp_path):
    code = """
        from cog import BasePredictor, Path

        class Predictor(BasePredictor):
            def setup(self, weights: Path):
                self.weights = weights

            def predict(self) -> str:
                return f"{self.weights} {self.weights.read_text()}"
    """
    with serving(tmp_path, code, env={"COG_WEIGHTS": "data:text/plain,heavy"}) as server:
        path, content = predict(server).json()["output"].split()
        assert content == "heavy"
        assert Path(path).exists()
        assert server.stop(signal.SIGTERM) == 0
    assert not Path(path).exists()


def test_no_call_is_lost_among_many(tmp_path):
    code = """
        class Predictor:
            def predict(self, n: int) -> int:
                print(n)
                return n
    """
    with serving(tmp_path, code, threads=3) as server:
        wrong = []

        def ask(first: int) -> None:
            with httpx.Client(base_url=server.url, timeout=30) as client:
                for n in range(first, first + 50):
                    answer = client.post("/predictions", json={"input": {"n": n}}).json()
                    if (answer["output"], answer["logs"]) != (n, f"{n}\n"):
                        wrong.append(answer)

        threads = [threading.Thread(target=ask, args=(1000 * number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_secrets_of_an_input_reach_the_model_and_nobody_else(tmp_path):
    code = """
        from typing import List, Optional
        from cog import BasePredictor, Secret

        class Predictor(BasePredictor):
            def predict(self, name: str, key: Secret, more: List[Secret] = None, none: Optional[Secret] = None) -> int:
                return len(key.get_secret_value()) + sum(len(one.get_secret_value()) for one in more or [])
    """
    with serving(tmp_path, code) as server:
        given = {"name": "Ada", "key": "hunter2", "more": ["hunter3"], "none": None}
        assert server.client.put("/predictions/one", json={"input": given}).json()["output"] == 14
        shown = server.client.get("/predictions/one")
        assert shown.json()["input"] == {"name": "Ada", "key": "**********", "more": "**********", "none": None}
        assert "hunter" not in shown.text + server.client.get("/predictions").text + server.talk
        assert server.client.post("/predictions", json={"input": 5}).status_code == 422

"""Cog's style of predictor, driven as Cog drives it."""

from __future__ import annotations

import base64
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.worker.harness import eventually, running


def test_inputs_arrive_as_they_are_declared(tmp_path):
    code = """
        from enum import Enum
        from typing import Any, Dict, List, Optional

        from cog import BasePredictor, Input, Path, Secret

        class Size(str, Enum):
            SMALL = "s"
            LARGE = "l"

        class Predictor(BasePredictor):
            def predict(
                self,
                size: Size,
                scale: float = Input(default=3),
                names: List[str] = Input(default=["a"]),
                note: Optional[str] = None,
                token: Secret = Input(default=None),
                own: int = 4,
            ) -> str:
                names.append("b")
                return repr([size is Size.LARGE, scale, names, note, token, own])
    """
    with running(tmp_path, code) as worker:
        for _ in range(2):
            assert worker.predict(size="l").output == "[True, 3.0, ['a', 'b'], None, None, 4]"
        given = worker.predict(size="l", scale=2, names=["x"], note="n", token="t0ken", own=5.0)
        assert "2.0, ['x', 'b'], 'n', " in given.output
        assert "t0ken" not in given.output
        unknown = worker.predict(size="l", sise="s")
        assert unknown.status == "succeeded"
        assert unknown.logs == [("stderr", "The predictor has no input 'sise'; it was left out.\n")]


def test_a_file_in_and_a_file_out_and_nothing_left(tmp_path):
    code = """
        import os
        import tempfile

        from cog import BasePredictor, File, Path

        class Predictor(BasePredictor):
            def predict(self, document: Path, again: File = None) -> Path:
                print(document.name, type(document).__module__)
                assert document.exists()
                made = Path(tempfile.mkdtemp()) / "out.txt"
                made.write_text(document.read_text().upper() + (again.read().decode() if again else ""))
                return made
    """
    with running(tmp_path, code) as worker, serving(b"fetched") as url:
        data = "data:text/plain;base64," + base64.b64encode("grüße".encode()).decode()
        answer = worker.predict(document=data, again="data:,more")
        assert answer.output == "data:text/plain;base64," + base64.b64encode("GRÜSSEmore".encode()).decode()
        assert answer.text == "file.txt cog.types\n"
        fetched = worker.predict(document=url + "/some%20name.txt", again=url + "/x")
        assert base64.b64decode(fetched.output.partition(",")[2]) == b"FETCHEDfetched"
        assert fetched.text.startswith("some name.txt ")
        eventually(lambda: list(worker.scratch.iterdir()) == [])
        for refused in ("/etc/passwd", "file:///etc/passwd", url + "/missing"):
            invalid = worker.predict(document=refused)
            assert invalid.head["detail"][0]["loc"] == ["body", "input", "document"]
        eventually(lambda: list(worker.scratch.iterdir()) == [])  # after the answer: who waits for it need not wait for the disk


def serving(content: bytes):
    return _Serving(content)


class _Serving:
    def __init__(self, content: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                missing = self.path == "/missing"
                self.send_response(404 if missing else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        Thread(target=self.server.serve_forever).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_what_cannot_be_written_is_named_with_its_place(tmp_path):
    code = """
        from typing import Any

        class Thing:
            pass

        class Predictor:
            def predict(self, deep: bool) -> Any:
                value = {"items": [1, Thing()]}
                if deep:
                    value = []
                    for _ in range(100_000):
                        value = [value]
                return value
    """
    with running(tmp_path, code) as worker:
        answer = worker.predict(deep=False)
        assert answer.status == "failed"
        assert answer.error is not None
        assert "output.items[1]: predict.Thing cannot be written as JSON" in answer.error.replace("output['items']", "output.items")
        assert answer.text.count("\n") == 1
        assert "nested too deeply" in str(worker.predict(deep=True).error)
        assert worker.predict(deep=False).status == "failed"


@pytest.mark.parametrize(
    ("annotation", "body"),
    [
        ("Iterator[str]", "yield 'a'; print('between'); yield 'b'"),
        ("Iterator[str]", "print('between'); return iter(['a', 'b'])"),
        ("Iterator[str]", "print('between'); return ['a', 'b']"),
        ("ConcatenateIterator[str]", "yield 'a'; print('between'); yield 'b'"),
    ],
)
def test_pieces_are_sent_as_they_come(tmp_path, annotation, body):
    code = f"""
        from typing import Iterator

        from cog import BasePredictor, ConcatenateIterator

        class Predictor(BasePredictor):
            def predict(self) -> {annotation}:
                {body}
    """
    with running(tmp_path, code) as worker:
        answer = worker.predict()
        assert (answer.chunks, answer.output, answer.text) == (["a", "b"], ["a", "b"], "between\n")


@pytest.mark.parametrize("annotation", ["AsyncIterator[str]", "AsyncConcatenateIterator[str]"])
def test_asynchronous_pieces_are_sent_as_they_come(tmp_path, annotation):
    code = f"""
        import asyncio
        from typing import AsyncIterator

        from cog import AsyncConcatenateIterator, BasePredictor, current_scope

        class Predictor(BasePredictor):
            async def predict(self, steps: int) -> {annotation}:
                for step in range(steps):
                    print("step", step)
                    current_scope().record_metric("steps", 1, mode="incr")
                    yield str(step)
                    await asyncio.sleep(0.01)
                raise ValueError("enough")
    """
    with running(tmp_path, code, threads=2) as worker:
        worker.send(steps=3, slot=0)
        worker.send(steps=2, slot=1)
        for slot, steps in ((0, 3), (1, 2)):
            answer = worker.answer(slot)
            assert answer is not None
            assert answer.chunks == [str(step) for step in range(steps)]
            assert (answer.status, answer.error) == ("failed", "enough")
            assert answer.text.startswith("".join(f"step {step}\n" for step in range(steps)) + "Traceback")
            assert answer.metrics == [{"name": "steps", "value": 1, "mode": "incr"}] * steps


def test_a_generator_that_fails_halfway_keeps_its_pieces(tmp_path):
    code = """
        from typing import Iterator

        class Predictor:
            def predict(self) -> Iterator[int]:
                yield 1
                raise ValueError("halfway")
    """
    with running(tmp_path, code) as worker:
        answer = worker.predict()
        assert (answer.chunks, answer.status, answer.error) == ([1], "failed", "halfway")
        assert answer.head["predict_time"] > 0


@pytest.mark.parametrize(
    ("annotation", "environment", "folder", "seen"),
    [
        ("str", "https://example.invalid/w", False, "str https://example.invalid/w"),
        ("Path", "data:text/plain,heavy", False, "heavy"),
        ("File", "data:text/plain,heavy", False, "heavy"),
        ("Path", None, True, "weights"),
        ("Path", None, False, "None"),
    ],
)
def test_weights(tmp_path, annotation, environment, folder, seen):
    code = f"""
        from cog import BasePredictor, File, Path

        class Predictor(BasePredictor):
            def setup(self, weights: {annotation} = None):
                if isinstance(weights, str):
                    self.seen = "str " + weights
                elif hasattr(weights, "read"):
                    self.seen = weights.read().decode()
                elif weights is None:
                    self.seen = "None"
                else:
                    self.seen = weights.read_text() if weights.is_file() else weights.name

            def predict(self) -> str:
                return self.seen
    """
    if folder:
        (tmp_path / "weights").mkdir()
    with running(tmp_path, code, env={"COG_WEIGHTS": environment} if environment else {}) as worker:
        assert worker.predict().output == seen


def test_asynchronous_setup_of_a_synchronous_predictor(tmp_path):
    code = """
        import asyncio

        class Predictor:
            async def setup(self):
                await asyncio.sleep(0.01)
                self.word = "ready"

            def predict(self) -> str:
                return self.word
    """
    with running(tmp_path, code) as worker:
        assert worker.predict().output == "ready"


def test_setup_and_predict_share_a_loop_even_after_asyncio_run(tmp_path):
    code = """
        import asyncio

        class Predictor:
            def setup(self):
                asyncio.run(asyncio.sleep(0))
                self.lock = asyncio.Lock()

            async def predict(self) -> str:
                async with self.lock:
                    await asyncio.sleep(0.05)
                return "done"
    """
    with running(tmp_path, code, threads=2) as worker:
        for slot in range(2):
            worker.send(slot=slot)
        answers = [worker.answer(slot) for slot in range(2)]
        assert [answer.output for answer in answers if answer] == ["done", "done"]
        worker.send()
        assert worker.slots[0].socket.fileno() >= 0
        worker.control.send(3, 0, {})
        last = worker.answer()
        assert last is None or last.output == "done"
        assert worker.end() == 0


def test_an_asynchronous_prediction_that_runs_is_finished_before_the_end(tmp_path):
    code = """
        import asyncio

        class Predictor:
            async def predict(self) -> str:
                print("begun", flush=True)
                await asyncio.sleep(0.2)
                return "done"
    """
    with running(tmp_path, code) as worker:
        worker.send()
        worker.wait_for_log("begun")
        worker.control.send(3, 0, {})
        answer = worker.answer()
        assert answer is not None
        assert answer.output == "done"
        assert worker.end() == 0


@pytest.mark.parametrize("how", ["sys.exit(4)", "os._exit(4)"])
def test_an_asynchronous_prediction_may_end_the_process(tmp_path, how):
    code = f"""
        import os
        import sys

        class Predictor:
            async def predict(self) -> str:
                print("last words")
                {how}
    """
    with running(tmp_path, code) as worker:
        worker.send()
        worker.wait_for_log("last words")
        assert worker.answer() is None
        assert worker.end() == 4


def test_context_and_metrics(tmp_path):
    code = """
        from cog import BasePredictor, current_scope

        class Predictor(BasePredictor):
            def predict(self) -> str:
                self.record_metric("a.b", 1)
                current_scope().metrics["list"] = [1, 2]
                return current_scope().context.get("who", "nobody")
    """
    with running(tmp_path, code) as worker:
        answer = worker.predict(given={}, head={"scratch": "", "context": {"who": "me"}})
        assert answer.output == "me"
        assert [(metric["name"], metric["value"]) for metric in answer.metrics] == [("a.b", 1), ("list", [1, 2])]
        assert worker.predict().output == "nobody"


def test_a_predictor_without_a_signature_takes_what_it_is_given(tmp_path):
    code = "def predict(**given):\n    return given\n"
    with running(tmp_path, code, signature=None, object="predict") as worker:
        assert worker.predict(a=1, b="x").output == {"a": 1, "b": "x"}
        assert worker.predict(body=b"").output == {}

"""The worker's life, and what a model may do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.worker.harness import Worker, eventually, is_alive, make_spec, running

_RUDE = """
    import atexit
    import ctypes
    import os
    import signal
    import subprocess
    import sys
    import threading
    import time

    class Predictor:
        def predict(self, do: str, path: str = "", code: int = 0, text: str = "") -> str:
            return getattr(self, do)(path, code, text) or "done"

        def exit(self, path, code, text):
            print("last words", end="")
            sys.exit(text or code)

        def exit_with_handlers(self, path, code, text):
            atexit.register(lambda: open(path, "w").close())
            sys.exit(code)

        def exit_beside_a_thread(self, path, code, text):
            threading.Thread(target=time.sleep, args=(600,)).start()
            sys.exit(code)

        def exit_with_endless_handlers(self, path, code, text):
            atexit.register(time.sleep, 600)
            sys.exit(code)

        def os_exit(self, path, code, text):
            os._exit(code)

        def segfault(self, path, code, text):
            ctypes.string_at(0)

        def interrupt(self, path, code, text):
            raise KeyboardInterrupt

        def raise_base(self, path, code, text):
            raise BaseException(text)

        def raise_unspeakable(self, path, code, text):
            class Unspeakable(Exception):
                def __str__(self):
                    raise RuntimeError("no")
            raise Unspeakable

        def recurse(self, path, code, text):
            return self.recurse(path, code, text)

        def leave(self, path, code, text):
            os.chdir("/")
            return os.getcwd()

        def remove_cwd(self, path, code, text):
            os.makedirs(path)
            os.chdir(path)
            os.rmdir(path)

        def thread(self, path, code, text):
            threading.Thread(target=time.sleep, args=(600,)).start()

        def child(self, path, code, text):
            return str(subprocess.Popen(["sleep", "600"], close_fds=False).pid)

        def fork_and_return(self, path, code, text):
            child = os.fork()
            if child == 0:
                return "the child's answer"
            return str(os.WEXITSTATUS(os.waitpid(child, 0)[1]))

        def fork_and_raise(self, path, code, text):
            child = os.fork()
            if child == 0:
                raise ValueError("the child's failure")
            return str(os.WEXITSTATUS(os.waitpid(child, 0)[1]))

        def fork_and_exit(self, path, code, text):
            child = os.fork()
            if child == 0:
                print("the child's words")
                sys.exit(code)
            return str(os.WEXITSTATUS(os.waitpid(child, 0)[1]))

        def handle_signals(self, path, code, text):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
                signal.signal(number, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

        def close_descriptors(self, path, code, text):
            os.closerange(3, 256)
"""

_ROOT = Path(__file__).parent.parent.parent
_FRONT = """
import os, signal, sys, time
from pathlib import Path
from lading.service.process import spawn
from tests.worker.harness import Worker, make_spec

root = Path(sys.argv[1])
child = spawn(make_spec(root))
(root / "pid").write_text(str(child.pid))
worker = Worker(child, root)
worker.start()
worker.send()
worker.wait_for_log("hanging")
time.sleep(0.1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def rude(tmp_path):
    with running(tmp_path, _RUDE) as worker:
        yield worker


def still_works(worker: Worker) -> bool:
    return worker.predict(do="raise_base", text="well").error == "well"


def test_sys_exit_ends_the_process_with_its_code_and_last_words(rude):
    rude.send(do="exit", code=7)
    assert rude.slots[0].next().body == b"last words"
    assert rude.answer() is None
    assert rude.end() == 7


def test_sys_exit_with_a_text_says_it(rude):
    rude.send(do="exit", text="I give up")
    frames = [rude.slots[0].next(), rude.slots[0].next()]
    assert b"".join(frame.body for frame in frames if frame) == b"last wordsI give up\n"
    assert rude.end() == 1


def test_exit_handlers_run(rude, tmp_path):
    rude.send(do="exit_with_handlers", path=str(tmp_path / "handled"), code=4)
    assert rude.end() == 4
    assert (tmp_path / "handled").exists()


@pytest.mark.parametrize("how", ["exit_beside_a_thread", "exit_with_endless_handlers"])
def test_nothing_holds_the_end(rude, how):
    rude.send(do=how, code=5)
    assert rude.end() == 5


def test_os_exit(rude):
    rude.send(do="os_exit", code=9)
    assert rude.answer() is None
    assert rude.end() == 9


def test_a_crash_says_the_line_of_python(rude):
    rude.send(do="segfault")
    assert rude.answer() is None
    assert rude.end() == -signal.SIGSEGV
    said = rude.raw_output("stderr")
    assert "Segmentation fault" in said
    assert "in segfault" in said


def test_an_interrupt_ends_the_process_as_it_would_end_any_python(rude):
    rude.send(do="interrupt")
    assert rude.answer() is None
    assert rude.end() == -signal.SIGINT


def test_other_exceptions_fail_the_prediction_alone(rude):
    answer = rude.predict(do="raise_unspeakable")
    assert (answer.status, answer.error) == ("failed", "<its text cannot be shown>")
    assert "Unspeakable" in answer.text
    deep = rude.predict(do="recurse")
    assert deep.status == "failed"
    assert "maximum recursion depth" in deep.error
    assert len(deep.text) < 10_000
    assert still_works(rude)


def test_the_working_directory_may_change_or_vanish(rude, tmp_path):
    assert rude.predict(do="leave").output == "/"
    assert rude.predict(do="remove_cwd", path=str(tmp_path / "cwd")).output == "done"
    failed = rude.predict(do="raise_base", text="x")
    assert "raise BaseException(text)" in failed.text
    assert still_works(rude)


def test_a_thread_of_the_model_does_not_hold_the_end(rude):
    rude.predict(do="thread")
    assert rude.quit() == 0


def test_a_child_does_not_hold_our_sockets(rude):
    child = int(rude.predict(do="child").output)
    rude.send(do="os_exit", code=2)
    assert rude.answer() is None
    assert rude.control.next() is None
    assert is_alive(child)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_no_child_of_multiprocessing_hides_the_end(tmp_path, method):
    code = """
        import multiprocessing
        import os
        import time

        def work(queue):
            queue.put(os.getpid())
            time.sleep(600)

        class Predictor:
            def predict(self, method: str) -> int:
                context = multiprocessing.get_context(method)
                queue = context.Queue()
                context.Process(target=work, args=(queue,)).start()
                print(queue.get(), flush=True)
                os._exit(3)
    """
    with running(tmp_path, code) as worker:
        worker.send(method=method)
        frame = worker.slots[0].next()
        assert frame is not None
        assert worker.answer() is None
        assert worker.control.next() is None
        assert is_alive(int(frame.body))


def test_a_forked_child_that_runs_into_our_code_ends_there(rude):
    assert rude.predict(do="fork_and_return").output == "0"
    assert rude.predict(do="fork_and_raise").output == "1"
    assert rude.predict(do="fork_and_exit", code=6).output == "6"
    assert "the child's failure" in rude.raw_output("stderr")
    assert rude.raw_output() == "the child's words\n"
    assert still_works(rude)


def test_handlers_of_signals_disturb_nothing(rude):
    rude.predict(do="handle_signals")
    for _ in range(50):
        assert still_works(rude)
    os.kill(rude.pid, signal.SIGTERM)
    assert still_works(rude)
    assert rude.quit() == 0


def test_a_model_that_closes_every_descriptor_is_gone(rude):
    rude.send(do="close_descriptors")
    assert rude.answer() is None
    assert rude.control.next() is None


def test_quit_finishes_what_runs(tmp_path):
    code = """
        import time

        class Predictor:
            def predict(self) -> str:
                print("begun", flush=True)
                time.sleep(0.3)
                return "done"
    """
    with running(tmp_path, code, threads=2) as worker:
        for slot in range(2):
            worker.send(slot=slot)
            worker.wait_for_log("begun", slot)
        worker.control.send(3, 0, {})
        for slot in range(2):
            answer = worker.answer(slot)
            assert answer is not None
            assert answer.output == "done"
        assert worker.end() == 0


def test_quit_runs_exit_handlers(tmp_path):
    code = """
        import atexit

        class Predictor:
            def setup(self):
                atexit.register(self.leave)

            def leave(self):
                open("left", "w").close()

            def predict(self) -> str:
                return ""
    """
    with running(tmp_path, code) as worker:
        assert worker.quit() == 0
    assert (tmp_path / "left").exists()


def test_the_worker_ends_with_the_front_and_takes_what_the_model_started(tmp_path, rude):
    child = int(rude.predict(do="child").output)
    rude.control.socket.close()
    rude.end()
    eventually(lambda: not is_alive(child))


def test_the_worker_ends_with_the_front_even_while_it_hangs_in_native_code(tmp_path):
    code = """
        import ctypes

        class Predictor:
            def predict(self) -> str:
                print("hanging", flush=True)
                ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock
    """
    make_spec(tmp_path, code)
    front = subprocess.run([sys.executable, "-c", _FRONT, str(tmp_path)], cwd=_ROOT, check=False)
    assert front.returncode == -signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not is_alive(pid))


def test_calls_sent_ahead_are_answered_in_their_order(rude):
    numbers = [rude.send(do="raise_base", text=str(number)) for number in range(20)]
    assert [rude.answer().error for _ in numbers] == [str(number) for number in range(20)]


def test_large_inputs_and_outputs(tmp_path):
    code = """
        class Predictor:
            def predict(self, text: str) -> str:
                return text
    """
    with running(tmp_path, code) as worker:
        text = "é" * 20_000_000
        body = json.dumps({"text": text}, ensure_ascii=False).encode()
        sender = threading.Thread(target=worker.send, kwargs={"body": body})
        sender.start()
        answer = worker.answer()
        sender.join()
        assert answer is not None
        assert answer.output == text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the input is no JSON that can be read"),
        (b'"\xff"', "the input is no JSON that can be read"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[1]", "is not of type"),
    ],
)
def test_a_body_that_is_no_input_is_told(rude, body, message):
    answer = rude.predict(body=body)
    assert message in answer.head["detail"][0]["msg"]
    assert still_works(rude)


def test_a_failing_health_check_says_why(tmp_path):
    code = """
        import time

        class Predictor:
            def setup(self):
                self.asked = 0

            def healthcheck(self):
                self.asked += 1
                print("checking")
                if self.asked == 1:
                    raise RuntimeError("the sensor is cold")
                if self.asked == 2:
                    return None

            def predict(self) -> str:
                return ""
    """
    with running(tmp_path, code) as worker:
        assert worker.check() == {"healthy": False, "error": "the health check raised RuntimeError: the sensor is cold"}
        assert worker.check() == {"healthy": True, "error": None}


def test_a_health_check_runs_beside_a_prediction(tmp_path):
    code = """
        import time

        class Predictor:
            async def healthcheck(self):
                return True

            def predict(self) -> str:
                print("begun", flush=True)
                time.sleep(0.5)
                return "done"
    """
    with running(tmp_path, code) as worker:
        worker.send()
        worker.wait_for_log("begun")
        assert worker.check()["healthy"]
        answer = worker.answer()
        assert answer is not None
        assert answer.output == "done"
        assert worker.check()["healthy"]

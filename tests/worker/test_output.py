"""What a model prints, by whatever means, arrives with the prediction that printed it."""

from __future__ import annotations

import pytest

from tests.worker.harness import running

_PRINTER = """
    import asyncio
    import io
    import logging
    import os
    import subprocess
    import sys
    import threading
    import warnings

    print("at import")
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    logger = logging.getLogger("model")
    kept = sys.stderr

    class Predictor:
        def setup(self):
            print("in setup", end="")

        def predict(self, do: str, text: str = "hello", count: int = 1) -> str:
            return getattr(self, do)(text, count) or ""

        def plain(self, text, count):
            print(text)
            print(text, file=sys.stderr)

        def unfinished(self, text, count):
            sys.stdout.write(text)

        def flushed(self, text, count):
            sys.stdout.write(text)
            sys.stdout.flush()
            sys.stdout.write(text)

        def logged(self, text, count):
            logger.warning(text)
            print(text, file=kept)

        def binary(self, text, count):
            sys.stdout.buffer.write(text.encode())
            sys.stdout.buffer.write(memoryview(b"\\xc3"))
            sys.stdout.flush()
            sys.stdout.buffer.write(b"\\xa9\\n")

        def surrogates(self, text, count):
            print("a\\udcffb")

        def lines(self, text, count):
            for number in range(count):
                print(number)

        def huge(self, text, count):
            sys.stdout.write("é" * count)

        def raw(self, text, count):
            os.write(1, text.encode())
            os.write(2, text.encode())

        def child(self, text, count):
            subprocess.run([sys.executable, "-c", "print(%r)" % text])

        def thread(self, text, count):
            thread = threading.Thread(target=print, args=(text,))
            thread.start()
            thread.join()

        def later(self, text, count):
            threading.Timer(0.2, print, (text,)).start()

        def replace(self, text, count):
            sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
            print(text)

        def detach(self, text, count):
            sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8", line_buffering=True)
            print(text)

        def silence(self, text, count):
            sys.stdout = None
            sys.stderr = open(os.devnull, "w")
            print(text)

        def restore(self, text, count):
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
            print(text)

        def close(self, text, count):
            sys.stdout.close()
            print(text)

        def facts(self, text, count):
            sys.stdout.reconfigure(line_buffering=True)
            stream = sys.stdout
            return repr([stream.encoding, stream.errors, stream.isatty(), stream.fileno(), stream.name, stream.writable(), stream.readable(),
                stream.buffer.fileno(), stream.closed, sys.stderr.fileno(), isinstance(stream, io.TextIOBase)])

        def wrong(self, text, count):
            sys.stdout.write(b"bytes")

        def warn(self, text, count):
            warnings.warn(text)
"""


@pytest.fixture
def printer(tmp_path):
    with running(tmp_path, _PRINTER) as worker:
        yield worker


def test_import_and_setup_print_on_control(printer):
    assert printer.setup_logs == [("stdout", "at import\n"), ("stdout", "in setup")]


@pytest.mark.parametrize(
    ("do", "logs"),
    [
        ("plain", [("stdout", "hello\n"), ("stderr", "hello\n")]),
        ("unfinished", [("stdout", "hello")]),
        ("flushed", [("stdout", "hello"), ("stdout", "hello")]),
        ("logged", [("stdout", "hello\n"), ("stderr", "hello\n")]),
        ("binary", [("stdout", "hello"), ("stdout", "é\n")]),
        ("surrogates", [("stdout", "a\\udcffb\n")]),
        ("thread", [("stdout", "hello\n")]),
        ("replace", [("stdout", "hello\n")]),
        ("detach", [("stdout", "hello\n")]),
        ("silence", []),
        ("restore", [("stdout", "hello\n")]),
        ("close", [("stdout", "hello\n")]),
    ],
)
def test_what_is_printed(printer, do, logs):
    answer = printer.predict(do=do)
    assert (answer.status, answer.logs) == ("succeeded", logs)
    assert printer.predict(do="restore", text="again").logs == [("stdout", "again\n")]


def test_the_streams_are_as_a_program_expects(printer):
    expected = ["utf-8", "backslashreplace", False, 1, "<stdout>", True, False, 1, False, 2, True]
    assert printer.predict(do="facts").output == repr(expected)
    assert "must be str, not bytes" in printer.predict(do="wrong").error


def test_lines_arrive_whole_and_in_order(printer):
    answer = printer.predict(do="lines", count=5000)
    assert answer.text.split() == [str(number) for number in range(5000)]
    assert all(text.endswith("\n") for _, text in answer.logs)


def test_a_hundred_megabytes_in_one_line(printer):
    answer = printer.predict(do="huge", count=50_000_000)
    assert len(answer.text) == 50_000_000
    assert set(answer.text) == {"é"}
    assert max(len(text) for _, text in answer.logs) < 300_000


@pytest.mark.parametrize(("do", "stdout", "stderr"), [("raw", "hello", "hello"), ("child", "hello\n", "")])
def test_what_goes_past_python_is_on_the_pipes(printer, do, stdout, stderr):
    assert printer.predict(do=do).logs == []
    assert (printer.raw_output(), printer.raw_output("stderr")) == (stdout, stderr)


def test_what_is_printed_after_the_answer_belongs_to_no_prediction(printer):
    assert printer.predict(do="later").logs == []
    frame = printer.control.next()
    assert (frame.kind, frame.call, frame.body) == (13, 0, b"hello\n")


def test_a_warning_names_the_users_line(printer):
    answer = printer.predict(do="warn")
    assert "predict.py:" in answer.text
    assert "UserWarning: hello" in answer.text


def test_tasks_of_an_asynchronous_prediction_print_for_it(tmp_path):
    code = """
        import asyncio

        async def tell(text):
            await asyncio.sleep(0.01)
            print(text)

        class Predictor:
            async def predict(self, text: str) -> str:
                await asyncio.gather(tell(text + "1"), asyncio.get_running_loop().create_task(tell(text + "2")))
                await asyncio.get_running_loop().run_in_executor(None, print, "unknown")
                return ""
    """
    with running(tmp_path, code, threads=2) as worker:
        for slot, text in enumerate("ab"):
            worker.send(text=text, slot=slot)
        for slot, text in enumerate("ab"):
            answer = worker.answer(slot)
            assert answer is not None
            assert sorted(line for line in answer.text.split() if line != "unknown") == [text + "1", text + "2"]


def test_a_handler_that_prints_while_the_model_prints_breaks_no_frame(tmp_path):
    code = """
        import signal

        class Predictor:
            def predict(self, count: int) -> str:
                signal.signal(signal.SIGALRM, lambda *_: print("tick " * 1000))
                signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
                for number in range(count):
                    print("x" * 20000)
                signal.setitimer(signal.ITIMER_REAL, 0)
                return "done"
    """
    with running(tmp_path, code) as worker:
        answer = worker.predict(count=1000)
        assert answer.output == "done"
        assert answer.text.count("x") == 20_000_000
        assert answer.text.count("tick") % 1000 == 0

"""Importing predictors from wherever they lie, and naming the user's line when that fails."""

from __future__ import annotations

import os
import textwrap
import time
from typing import Any

import pytest

from lading.service.process import spawn
from tests.worker.harness import VERSIONS, Worker, make_spec, running
from tests.worker.harness import python as python_of


def write(root, files) -> None:
    for name, code in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code))


def failure(root, code, **options):
    with running(root, code, ready=False, **options) as worker:
        assert worker.ready is None
        assert worker.failure is not None, worker.raw_output("stderr")
        assert worker.end() == 1
        return worker.failure


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("predict.py", "predict"),
        ("src/predict.py", "predict"),
        ("package/predict.py", "package.predict"),
        ("src/package/inner/predict.py", "package.inner.predict"),
        ("my-model.v2.py", "my-model_v2"),
        ("signal.py", "predictor_signal"),
    ],
)
def test_the_module_has_the_name_that_others_import_it_by(tmp_path, file, name):
    folder = (tmp_path / file).parent
    if "package" in file:
        write(folder, {"__init__.py": ""})
    if "inner" in file:
        write(folder.parent, {"__init__.py": ""})
    code = """
        import pickle
        import sys

        class Thing:
            pass

        class Predictor:
            def predict(self) -> str:
                assert type(pickle.loads(pickle.dumps(Thing()))) is Thing
                assert sys.modules[__name__].Predictor is Predictor
                return __name__
    """
    with running(tmp_path, code, file=file) as worker:
        assert worker.predict().output == name


def test_siblings_packages_and_python_path(tmp_path):
    write(
        tmp_path,
        {
            "helper.py": "WHERE = 'root'",
            "lib/helper.py": "WHERE = 'lib'",
            "lib/extra.py": "WHERE = 'extra'",
            "app/beside.py": "import predict\nWHERE = predict.Predictor",
        },
    )
    code = """
        import extra
        import helper

        class Predictor:
            def predict(self) -> list:
                import beside
                return [helper.WHERE, extra.WHERE, beside.WHERE is Predictor]
    """
    with running(tmp_path, code, file="app/predict.py", python_path="lib") as worker:
        assert worker.predict().output == ["lib", "extra", True]


def test_relative_imports_in_a_package(tmp_path):
    write(tmp_path, {"model/__init__.py": "", "model/parts.py": "WORD = 'part'"})
    code = """
        from . import parts
        from .parts import WORD

        class Predictor:
            def predict(self) -> str:
                return WORD + parts.WORD
    """
    with running(tmp_path, code, file="model/predict.py") as worker:
        assert worker.predict().output == "partpart"


def test_functions_inherited_and_imported_predictors(tmp_path):
    base = """
        class Base:
            def setup(self):
                self.word = "base"

            def predict(self, n: int) -> str:
                return self.word * n

        def double(n: int) -> int:
            return 2 * n
    """
    write(tmp_path, {"base.py": base})
    with running(tmp_path, "from base import Base\n\nclass Predictor(Base):\n    pass\n") as worker:
        assert worker.predict(n=2).output == "basebase"
    with running(tmp_path, "from base import double as Predictor\n") as worker:
        assert worker.predict(n=2).output == 4


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "import missing_module\n",
            {"kind": "ModuleNotFoundError", "error": "ModuleNotFoundError: No module named 'missing_module'", "line": 1},
        ),
        ("x = 1\nraise ValueError('no')\n", {"kind": "ValueError", "error": "ValueError: no", "line": 2}),
        ("x = 1\nx = = 2\n", {"kind": "SyntaxError", "error": "SyntaxError: invalid syntax", "line": 2}),
        ("import sys\nsys.exit(3)\n", {"kind": "SystemExit", "error": "the predictor called sys.exit(3)", "line": 2, "exit_code": 3}),
        ("raise KeyboardInterrupt\n", {"kind": "KeyboardInterrupt", "error": "KeyboardInterrupt", "line": 1}),
        ("", {"kind": "LoadError", "error": "predict.py has no class or function Predictor", "line": None}),
        (
            "from os.path import join\n\nclass Model:\n    pass\n\ndef helper():\n    pass\n",
            {"error": "predict.py has no class or function Predictor; it has Model, helper"},
        ),
        ("Predictor = 3\n", {"kind": "LoadError", "error": "Predictor in predict.py is no class or function but int", "line": None}),
    ],
)
def test_an_import_that_fails_names_the_line(tmp_path, code, expected):
    failed = failure(tmp_path, code, signature=None)
    assert (failed["phase"], failed["file"]) == ("import", "predict.py")
    assert {key: failed[key] for key in expected} == expected
    if failed["kind"] == "LoadError":
        assert failed["traceback"] is None
    else:
        assert "lading_worker" not in failed["traceback"]
        assert "importlib" not in failed["traceback"]


def test_a_file_that_is_not_there(tmp_path):
    failed = failure(tmp_path, None, signature=None)
    assert (failed["error"], failed["file"], failed["traceback"]) == ("predict.py is not there", "predict.py", None)


def test_a_failure_in_another_file_of_the_project_names_that(tmp_path):
    write(tmp_path, {"helper.py": "\n\nimport json\njson.loads('{')\n"})
    failed = failure(tmp_path, "import helper\n", signature=None)
    assert (failed["file"], failed["line"], failed["kind"]) == ("helper.py", 4, "JSONDecodeError")
    assert failed["error"].startswith("json.decoder.JSONDecodeError: Expecting property name")


@pytest.mark.parametrize("how", ["raise RuntimeError('no weights')", "sys.exit(7)", "os._exit(9)", "ctypes.string_at(0)"])
def test_setup_that_fails(tmp_path, how):
    code = f"""
        import ctypes, os, sys

        class Predictor:
            def setup(self):
                print("loading")
                {how}

            def predict(self) -> str:
                return ""
    """
    with running(tmp_path, code, ready=False) as worker:
        ended = worker.end()
        assert worker.setup_logs == [("stdout", "loading\n")]
        if worker.failure is None:
            assert ended == (9 if "_exit" in how else -11)
            return
        assert ended == 1
        assert {key: worker.failure[key] for key in ("phase", "file", "line")} == {"phase": "setup", "file": "predict.py", "line": 7}
        assert worker.failure["exit_code"] == (7 if "sys.exit" in how else 1)


def test_a_predictor_that_cannot_be_made(tmp_path):
    code = """
        class Predictor:
            def __init__(self, path):
                pass

            def predict(self) -> str:
                return ""
    """
    failed = failure(tmp_path, code)
    assert "missing 1 required positional argument: 'path'" in failed["error"]
    assert "lading_worker" not in failed["traceback"]


def test_asynchronous_setup_that_fails(tmp_path):
    code = """
        class Predictor:
            async def setup(self):
                raise RuntimeError("no weights")

            def predict(self) -> str:
                return ""
    """
    failed = failure(tmp_path, code)
    assert (failed["error"], failed["line"]) == ("RuntimeError: no weights", 4)
    assert failed["traceback"].count("File ") == 1


def test_quit_during_setup(tmp_path):
    code = "import time\nprint('slow', flush=True)\ntime.sleep(600)\n"
    child = spawn(make_spec(tmp_path, code, signature=None))
    try:
        worker = Worker(child, tmp_path)
        while True:
            frame = worker.control.next()
            assert frame is not None
            if frame.body == b"slow\n":
                break
        assert worker.quit() == 0
    finally:
        child.kill()
        child.wait()
        child.close()


def test_an_installed_cog_does_not_bring_its_server(tmp_path):
    installed = tmp_path / "site"
    (installed / "cog").mkdir(parents=True)
    (installed / "cog" / "__init__.py").write_text("raise ImportError('the real one')")
    code = """
        import sys
        sys.path.append("site")
        import cog

        class Predictor(cog.BasePredictor):
            def predict(self) -> str:
                return cog.__file__
    """
    with running(tmp_path, code) as worker:
        assert "shims" in worker.predict().output


@pytest.mark.parametrize("version", [VERSIONS[0], "3.11", "3.13"])
def test_the_files_of_modules_are_told_where_they_are_watched(tmp_path, version):
    write(
        tmp_path / "project",
        {
            "predict.py": "import importlib, json, own\nimportlib.import_module('made.up')\ndef predict(a: int) -> int:\n    return a\n",
            "own.py": "",
            "made/__init__.py": "",
            "made/up.py": "",
            "unused.py": "",
        },
    )
    root = tmp_path / "project"
    with running(root, None, object="predict", python=python_of(version), watched=True) as worker:
        assert worker.ready is not None
        assert worker.ready["files"] == [str(root / path) for path in ("made/__init__.py", "made/up.py", "own.py", "predict.py")]
    with running(root, None, object="predict", python=python_of(version)) as worker:
        assert worker.ready is not None
        assert "files" not in worker.ready


@pytest.mark.parametrize("version", VERSIONS)
def test_a_source_that_is_watched_is_read_even_where_its_bytecode_looks_as_new(tmp_path, version):
    root = tmp_path / "project"
    write(root, {"predict.py": "import own\ndef predict() -> str:\n    return own.NAME\n", "own.py": "NAME = 'a'\n"})
    options: Any = {"object": "predict", "python": python_of(version)}
    before = time.time() - 60
    os.utime(root / "own.py", (before, before))
    with running(root, None, **options) as worker:
        assert worker.predict().output == "a"
    status = (root / "own.py").stat()
    write(root, {"own.py": "NAME = 'b'\n"})
    os.utime(root / "own.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    with running(root, None, **options) as worker:
        assert worker.predict().output == "a", "this Python found its bytecode to be stale, so that the rest shows nothing"
    with running(root, None, watched=True, **options) as worker:
        assert worker.predict().output == "b"


@pytest.mark.parametrize("version", [VERSIONS[0], "3.11", "3.13"])
def test_what_was_edited_twice_within_a_second_is_read_as_it_is(tmp_path, version):
    root = tmp_path / "project"
    options: Any = {"object": "predict", "python": python_of(version)}
    for name in "abc":
        write(root, {"predict.py": "import own\ndef predict() -> str:\n    return own.NAME\n", "own.py": f"NAME = '{name}'\n"})
        now = int(time.time())
        os.utime(root / "own.py", (now, now))
        with running(root, None, **options) as worker:
            assert worker.predict().output == name

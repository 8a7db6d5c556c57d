"""`lading predict`: one prediction from the command line, its inputs checked before anything is built."""

from __future__ import annotations

import json

import pytest

from tests.journey.test_serve_each_kind import COG, CORTEX, PLAIN


@pytest.fixture(autouse=True)
def packages(index):
    index.add("shout", "1.0")


def test_inputs_by_name_and_the_output_as_text(project, lading):
    done = lading("predict", project(COG), "-i", "name=Ada", "-i", "times=2")
    assert (done.code, done.out) == (0, "Hello, Ada! Hello, Ada!\n")
    assert "working for Ada" in done.err


def test_a_file_by_its_path(project, lading, tmp_path):
    (tmp_path / "letter.txt").write_text(" Yours")
    done = lading("predict", project(COG), "-i", "name=Ada", "-i", "letter=@letter.txt")
    assert done.out == "Hello, Ada! Yours\n"


def test_run_is_the_same_as_predict(project, lading):
    assert lading("run", project(COG), "-i", "name=Ada").out == "Hello, Ada!\n"


def test_json_alone_gives_the_whole_answer(project, lading):
    data = lading("predict", project(COG), "-i", "name=Ada", "--json").data
    assert (data["status"], data["output"], data["logs"]) == ("succeeded", "Hello, Ada!", "working for Ada\n")
    assert data["metrics"]["predict_time"] >= 0


@pytest.mark.parametrize("how", ["text", "file", "stdin"])
def test_json_with_a_value_gives_the_inputs(project, lading, tmp_path, how):
    given = json.dumps({"name": "Ada"})
    (tmp_path / "sample.json").write_text(given)
    value = {"text": given, "file": "@sample.json", "stdin": "-"}[how]
    assert lading("predict", project(COG), "--json", value, stdin=given).out == "Hello, Ada!\n"


def test_a_cortex_payload(project, lading):
    files = {**CORTEX, "predictor.py": CORTEX["predictor.py"].replace('headers["x-mark"]', "None")}
    assert lading("predict", project(files), "--json", '{"name": "Ada"}').data["text"] == "Hello, Ada!"


def test_a_plain_function_and_a_list(project, lading):
    assert lading("predict", project(PLAIN), "-i", "name=Ada").data == ["1.0Ada"]


def test_a_file_output_is_written(project, lading, tmp_path):
    source = (
        "import tempfile\nfrom cog import Path\n\ndef predict(text: str) -> Path:\n"
        "    made = Path(tempfile.mkdtemp()) / 'made.txt'\n    made.write_text(text)\n    return made\n"
    )
    done = lading("predict", project({"requirements.txt": "", "predict.py": source}), "-i", "text=hello", "-o", "out/answer.txt")
    assert (done.code, done.out) == (0, "out/answer.txt\n")
    assert (tmp_path / "out" / "answer.txt").read_text() == "hello"


def test_wrong_inputs_are_told_all_at_once_before_anything_is_built(project, lading, index, lading_home):
    done = lading("predict", project(COG), "-i", "times=nine", "-i", "unknown=1")
    assert done.code == 2
    for word in ("name", "times", "unknown"):
        assert word in done.err
    assert index.requests == []
    assert not (lading_home / "envs").exists()


def test_a_model_that_raises_is_exit_one_with_its_traceback_and_none_of_ours(project, lading):
    files = {"requirements.txt": "", "predict.py": "def predict(x: int) -> float:\n    return 1 / x\n"}
    done = lading("predict", project(files), "-i", "x=0")
    assert done.code == 1
    assert "ZeroDivisionError" in done.err
    assert 'predict.py", line 2' in done.err
    assert "lading_worker" not in done.err
    whole = lading("predict", project(files), "-i", "x=0", "--json")
    assert whole.code == 1
    assert whole.data["status"] == "failed"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found\n\ndef predict(x: int) -> int:\n    return x\n", "nowhere_to_be_found"),
        ("raise SystemExit(4)\n\ndef predict(x: int) -> int:\n    return x\n", "4"),
        ("import os\nos._exit(9)\n\ndef predict(x: int) -> int:\n    return x\n", "9"),
    ],
)
def test_a_predictor_that_does_not_import_is_told_with_its_line(project, lading, source, said):
    done = lading("predict", project({"requirements.txt": "", "predict.py": source}), "-i", "x=1")
    assert done.code == 1
    assert said in done.err
    assert "predict.py" in done.err


def test_binary_output_of_a_cortex_api(project, lading, tmp_path):
    source = "class PythonPredictor:\n    def __init__(self, config): pass\n    def predict(self, payload): return bytes(range(5))\n"
    files = {**CORTEX, "predictor.py": source, "requirements.txt": ""}
    done = lading("predict", project(files), "--json", "{}", "-o", "bytes.bin")
    assert done.code == 0
    assert (tmp_path / "bytes.bin").read_bytes() == bytes(range(5))


def test_pieces_of_a_text_are_shown_as_one_text_while_they_come(project, lading, tmp_path):
    code = """\
import time
from cog import BasePredictor, ConcatenateIterator

class Predictor(BasePredictor):
    def predict(self, text: str, wrong: bool = False) -> ConcatenateIterator[str]:
        yield "hello, "
        if wrong:
            raise ValueError("no more words")
        yield text
"""
    folder = project({"cog.yaml": 'build:\n  python_version: "3.11"\npredict: predict.py:Predictor\n', "predict.py": code})
    assert lading("predict", folder, "-i", "text=Ada").out == "hello, Ada\n"
    assert lading("predict", folder, "-i", "text=Ada", "-o", tmp_path / "said.txt").out == ""
    assert (tmp_path / "said.txt").read_text() == "hello, Ada\n"
    assert lading("predict", folder, "-i", "text=Ada", "--json").data["output"] == ["hello, ", "Ada"]
    failed = lading("predict", folder, "-i", "text=Ada", "-i", "wrong=true")
    assert (failed.code, failed.out) == (1, "hello, \n")
    assert "no more words" in failed.err


def test_options_of_cogs_command_line(project, lading):
    source = (
        "import os\nfrom cog import BasePredictor, current_scope\n\nclass Predictor(BasePredictor):\n    def predict(self) -> str:\n"
        "        return current_scope().context.get('replicate_api_token', 'none') + ' ' + os.environ.get('CUDA_VISIBLE_DEVICES', 'all')\n"
    )
    files = {"cog.yaml": "build:\n  python_version: '3.11'\npredict: predict.py:Predictor\n", "predict.py": source}
    folder = project(files)
    asked = ("predict", folder, "--use-replicate-token", "--gpus", "device=0,2", "--use-cog-base-image", "--use-cuda-base-image", "auto")
    assert lading(*asked, REPLICATE_API_TOKEN="r8_x").out == "r8_x 0,2\n"
    refused = lading(*asked)
    assert (refused.code, refused.out) == (2, "")
    assert "--use-replicate-token: The variable REPLICATE_API_TOKEN is not set here." in refused.err
    assert lading("exec", "-C", folder, "-p", "8080", "--gpus", "2", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES").out == "0,1\n"
    wrong = lading("predict", folder, "--gpus", "some")
    assert (wrong.code, "names no GPUs; write all, none, a number, or device=0,2" in wrong.err) == (2, True)

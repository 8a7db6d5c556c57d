"""What each check finds, what it leaves alone, and that following it changes what was meant and nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pytest

from lading.checks.advice import Advice, Edit, apply, by_file
from lading.checks.all import advise
from lading.model.files import MemoryFiles
from lading.planner.find import find_config

_YAML = 'build:\n  python_version: "3.11"\nrun: predict.py:Predictor\n'
_RUN = """
    from cog import BaseRunner

    class Predictor(BaseRunner):
        def run(self, name: str) -> str:
            return name
"""


def files_of(given: Mapping[str, str]) -> MemoryFiles:
    return MemoryFiles({path: textwrap.dedent(text).lstrip("\n").encode() for path, text in given.items()})


def found_in(predict: str = _RUN, yaml: str = _YAML, **others: str) -> tuple[MemoryFiles, tuple[Advice, ...]]:
    given = {"cog.yaml": yaml, "predict.py": predict, **{name.replace("__", "/") + ".py": text for name, text in others.items()}}
    files = files_of(given)
    return files, advise(find_config(files, None, {}), files)


def followed(files: MemoryFiles, advice: tuple[Advice, ...], path: str = "predict.py") -> str:
    content = files.read(path)
    assert content is not None
    return apply(content.decode(), by_file(advice).get(path, []))


def test_a_project_in_order_gets_no_advice():
    assert found_in()[1] == ()


def test_predict_becomes_run_in_the_configuration_and_in_the_code():
    predict = """
        from cog import BasePredictor, Input, Path

        class Predictor(BasePredictor):
            def setup(self):
                self.model = load()

            async def predict(self, predict: str = Input(description="what to predict")) -> Path:
                return self.model.predict(predict)
    """
    files, found = found_in(predict, _YAML.replace("run:", "predict:"))
    assert [(one.rule, str(one.origin)) for one in found] == [("predict-is-run", "cog.yaml:3"), ("predict-is-run", "predict.py:7")]
    assert followed(files, found, "cog.yaml") == _YAML
    expected = textwrap.dedent(predict).lstrip("\n").replace("BasePredictor", "BaseRunner").replace("async def predict", "async def run")
    assert followed(files, found) == expected


@pytest.mark.parametrize(
    "other",
    [
        "from predict import Predictor\nPredictor().predict(name='x')\n",
        "import predict\n\ndef test(predictor):\n    assert predictor.predict('x')\n",
        "from predict import Predictor\n\nclass Better(Predictor):\n    def predict(self, name):\n        return super().predict(name)\n",
        "def call(thing):\n    return getattr(thing, 'predict')()\n",
    ],
)
def test_a_method_that_other_code_knows_is_told_and_not_renamed(other: str):
    predict = _RUN.replace("BaseRunner", "BasePredictor").replace("def run", "def predict")
    files, found = found_in(predict, helpers=other)
    assert [one.rule for one in found] == ["predict-is-run"]
    assert found[0].edits == ()
    assert "other code of the project" in found[0].why
    assert followed(files, found) == textwrap.dedent(predict).lstrip("\n")


def test_a_base_that_several_classes_use_stays_imported():
    predict = """
        from cog import BasePredictor

        class Other(BasePredictor):
            pass

        class Predictor(BasePredictor):
            def predict(self, name: str) -> str:
                return name
    """
    files, found = found_in(predict)
    assert followed(files, found).count("BasePredictor") == 3
    assert "def run(self" in followed(files, found)


def test_deprecated_keys_are_told_and_renamed_where_nothing_is_in_the_way():
    yaml = """
        build:
          python_version: "3.11"
          python_packages:
            - requests==2.0
          pre_install:
            - echo pre_install
        concurrency:
          max: 4
        run: predict.py:Predictor
    """
    files, found = found_in(yaml=yaml)
    assert [(one.rule, one.origin.line) for one in found] == [("deprecated-field", 3), ("deprecated-field", 5), ("deprecated-field", 8)]
    assert followed(files, found, "cog.yaml") == textwrap.dedent(yaml).lstrip("\n").replace("  pre_install:", "  run:")
    both = yaml.replace("  pre_install:", "  run: [echo]\n          pre_install:")
    files, found = found_in(yaml=both)
    assert followed(files, found, "cog.yaml") == textwrap.dedent(both).lstrip("\n")


@pytest.mark.parametrize(
    ("line", "after", "count"),
    [
        ("from cog.types import Path", "from cog import Path", 1),
        ("from cog import Path, ExperimentalFeatureWarning", "from cog import Path", 1),
        ("from cog import ExperimentalFeatureWarning, Path", "from cog import Path", 1),
        ("from cog import ExperimentalFeatureWarning", "", 1),
        ("from cog import File", "", 1),
        ("from cog import File as F\nprint(F)", "from cog import File as F\nprint(F)", 1),
        ("from cog import emit_metric\nemit_metric('a', 1)", "from cog import emit_metric\nemit_metric('a', 1)", 1),
        ("from cog.predictor import (\n    BasePredictor,\n    File,\n)", "from cog import (\n    BasePredictor,\n    File,\n)", 2),
        ("from cog import Path", "from cog import Path", 0),
        ("from other.types import Path", "from other.types import Path", 0),
    ],
)
def test_deprecated_imports(line: str, after: str, count: int):
    source = textwrap.dedent(_RUN).lstrip("\n")
    files, found = found_in(f"{line}\n{source}")
    assert [one.rule for one in found] == ["deprecated-import"] * count
    assert followed(files, found) == (f"{after}\n{source}" if after else source)


def test_arbitrary_types_for_a_path_are_needed_no_more():
    predict = """
        from cog import BaseRunner, Path
        from pydantic import BaseModel, ConfigDict

        class Output(BaseModel):
            model_config = ConfigDict(
                arbitrary_types_allowed=True,
            )
            image: Path

        class Old(BaseModel):
            image: Path

            class Config:
                arbitrary_types_allowed = True

        class Kept(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
            image: Path

        class Predictor(BaseRunner):
            def run(self, name: str) -> Output:
                return Output(image=Path(name))
    """
    files, found = found_in(predict)
    assert [(one.rule, one.origin.line) for one in found] == [("pydantic-workaround", 5), ("pydantic-workaround", 13)]
    after = followed(files, found)
    assert after.count("arbitrary_types_allowed") == 1
    assert "class Output(BaseModel):\n    image: Path\n" in after
    compile(after, "predict.py", "exec")


def test_files_that_hide_modules_are_named():
    others = {"torch.py": "", "queue.py": "", "fine.py": "", "setup.py": "", "docs/json.py": "", "json.txt": ""}
    files = files_of({"cog.yaml": _YAML, "predict.py": _RUN, **others})
    found = advise(find_config(files, None, {}), files)
    assert [str(one.origin) for one in found] == ["queue.py", "torch.py"]


@pytest.mark.parametrize(
    ("text", "edits", "after"),
    [
        ("predict: predict.py\n", [Edit("f", 1, "predict", "run")], "run: predict.py\n"),
        ("a\nb\nc\n", [Edit("f", 2, "", None)], "a\nc\n"),
        ("a\n", [Edit("f", 2, "a", "b"), Edit("f", 1, "x", "y")], "a\n"),
        ("predictor\r\npredict\r\n", [Edit("f", 1, "predict", "run"), Edit("f", 2, "predict", "run")], "predictor\r\nrun\r\n"),
        ("a", [Edit("f", 1, "a", r"\1")], r"\1"),
    ],
)
def test_edits_change_their_word_and_nothing_else(text: str, edits: list[Edit], after: str):
    assert apply(text, edits) == after

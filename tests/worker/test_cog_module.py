"""The module ``cog`` that predictors import: its names, what they do, and that they agree with what the schema reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lading.cli import exec_
from lading.model.files import MemoryFiles
from lading.schema.source import _COG_NAMES
from lading.schema.static import read_signature
from tests.schema.predictors import PREDICTORS
from tests.worker import harness
from tests.worker.everywhere import HOUSE, evaluate
from tests.worker.harness import VERSIONS

PROJECTS = Path(__file__).parent.parent / "projects"
# `cog.__all__` of Cog 0.9.26, 0.16.12 and 0.23.1.
EXPORTED = {
    "__version__",
    "AsyncConcatenateIterator",
    "BaseModel",
    "BasePredictor",
    "BaseRunner",
    "CancelationException",
    "ConcatenateIterator",
    "ExperimentalFeatureWarning",
    "FieldInfo",
    "File",
    "Input",
    "Opaque",
    "Path",
    "Secret",
    "URLFile",
    "URLPath",
    "concurrent",
    "current_scope",
    "emit_metric",
    "streaming",
}
_SETUP = """
    import asyncio, io, os, pathlib, pickle, re, typing, warnings
    import cog
    from cog import *
    from cog import BaseModel, BasePredictor, BaseRunner, FieldInfo, Input, Path, Secret, concurrent, streaming
    import cog.coder, cog.input, cog.model, cog.predictor, cog.server.exceptions, cog.server.scope, cog.types

    def refused(function, *arguments, **given):
        try:
            return function(*arguments, **given)
        except Exception as error:
            return "%s: %s" % (type(error).__name__, error)

    def plain():
        pass
    async def coroutine():
        pass
    async def pieces():
        yield 1

    class Box(BaseModel):
        left: int
        label: str = "none"
        tags: typing.List[str] = []
        note: typing.Optional[str]
        VERSION: typing.ClassVar[int] = 3
    class Wide(Box):
        right: "typing.Optional[int]"
        last: "int" = 9
    class Counted(BaseModel):
        n: int
        def __post_init__(self):
            self.n += 1
        def doubled(self):
            return 2 * self.n
    class Own(BaseModel, auto_dataclass=False):
        def __init__(self, x):
            self.x = x
    class Old(BasePredictor):
        def setup(self):
            self.ready = True
        def predict(self, x):
            return x + 1
    class New(BaseRunner):
        def run(self, x):
            return x + 2
    def deprecated():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return [New().predict(1), [str(one.message) for one in caught]]
    def cannot_change(thing, name):
        return refused(setattr, thing, name, 1).partition(":")[0]
    def read_and_remove(path):
        with open(str(path)) as file:
            text = file.read()
        return text
    def of_url():
        path = Path.validate("data:text/plain;base64,YWJj")
        with open(os.fspath(path)) as file:
            text = file.read()
        local = path.convert()
        path.unlink()
        path.unlink(missing_ok=True)
        return [type(path).__name__, str(path), isinstance(path, pathlib.Path), text, local.name.endswith("file.txt"), local.exists()]
"""
SAID = {
    "cog.__version__": "0.23.1",
    "CancelationException is cog.server.exceptions.CancelationException": True,
    "[issubclass(CancelationException, BaseException), issubclass(CancelationException, Exception)]": [True, False],
    "pickle.loads(pickle.dumps(CancelationException('x'))).args": ["x"],
    "cog.server.scope.current_scope is cog.current_scope": True,
    "[cog.types.Path is Path, cog.input.Input is Input, cog.model.BaseModel is BaseModel, cog.predictor.BasePredictor is BasePredictor]": (
        [True] * 4
    ),
    "issubclass(ExperimentalFeatureWarning, FutureWarning)": True,
    "repr(Opaque)": "cog.Opaque",
    # Input
    "[Input(ge=1, le=2).ge, Input('x').default, Input().default, Input(choices=[1, 2]).choices]": [1, "x", None, [1, 2]],
    "repr(Input(description='d'))[:60]": "FieldInfo(accept=None, choices=None, default=None, deprecate",
    "[Input(1) == Input(default=1), Input(1) == Input(2), type(Input()) is FieldInfo]": [True, False, True],
    "pickle.loads(pickle.dumps(Input(1, regex='x'))) == Input(1, regex='x')": True,
    "cannot_change(Input(), 'ge')": "AttributeError",
    "refused(Input, default_factory=list)[:62]": "TypeError: default_factory is not supported in Input(). Use a ",
    "refused(Input, 1, 2)": "TypeError: Input() takes from 0 to 1 positional arguments but 2 were given",
    "refused(Input, gt=1).partition('. ')[0]": "TypeError: Input() got an unexpected keyword argument 'gt'",
    # Decorators
    "[streaming(plain) is plain, streaming()(plain) is plain, concurrent(coroutine) is coroutine]": [True] * 3,
    "[concurrent(max=4)(coroutine).__cog_concurrent_max__, concurrent(max=2)(pieces) is pieces, concurrent(max=1)(plain) is plain]": (
        [4, True, True]
    ),
    "refused(concurrent(max=2), plain)": "TypeError: concurrent max greater than 1 requires an async function",
    "refused(concurrent, max=0)": "ValueError: concurrent max must be at least 1",
    "refused(concurrent, max=True)": "TypeError: concurrent max must be an integer",
    "refused(concurrent, 3)": "TypeError: concurrent must be used as @concurrent or @concurrent(max=...)",
    # Predictors
    "[Old().predict(1), Old().run(1), New().run(1), Old().setup()]": [2, 2, 3, None],
    "deprecated()": [3, ["New.predict() is deprecated; use run() instead"]],
    "refused(BaseRunner().run)": "NotImplementedError: run has not been implemented by parent class.",
    "refused(BasePredictor().predict)": "NotImplementedError: run has not been implemented by parent class.",
    "[New().record_metric('a', object()), New().scope.context, cog.emit_metric('a', 1)]": [None, {}, None],
    # Records
    "repr(Box(1))": "Box(left=1, label='none', tags=[], note=None)",
    "repr(Wide(1, right=2))": "Wide(left=1, label='none', tags=[], note=None, right=2, last=9)",
    "[Box(1) == Box(left=1), Box(1) == Box(2), Box(1) == Wide(1)]": [True, False, False],
    "Box(1).tags is Box(1).tags": False,
    "[Box.VERSION, Box(1).VERSION, Box.label]": [3, 3, "none"],
    "Wide(1, 'x', note='n').dict()": {"left": 1, "label": "x", "tags": [], "note": "n", "right": None, "last": 9},
    "Box(Box(2), tags=(Box(3),)).model_dump()['left']['left']": 2,
    "[Box(1).json(), Box(Path('x')).model_dump_json()[:13]]": [
        '{"left": 1, "label": "none", "tags": [], "note": null}',
        '{"left": "x",',
    ],
    "[Box(1).copy(update={'label': 'y'}).label, dict(Box(1))['left']]": ["y", 1],
    "refused(Box)": "TypeError: Box() needs a value for 'left'",
    "refused(Box, 1, colour=2)": "TypeError: Box() has no field 'colour'; it has left, label, tags, note",
    "refused(Box, 1, left=2)": "TypeError: Box() got multiple values for 'left'",
    "refused(Box, 1, 2, 3, 4, 5)": "TypeError: Box() takes 4 values at most, but 5 were given",
    "[Counted(1).n, Counted(1).doubled(), Own(3).x]": [2, 4, 3],
    "pickle.loads(pickle.dumps(Secret('x'))).get_secret_value()": "x",
    # Secrets
    "[str(Secret('x')), repr(Secret('x')), '%s' % Secret('x'), str(Secret()), Secret('x').secret_value]": (
        ["**********", "Secret(**********)", "**********", "", "x"]
    ),
    "[Secret('x') == Secret('x'), Secret('x') == 'x', len({Secret('x'), Secret('x')}), len(Secret('abc'))]": [True, False, 1, 3],
    "cannot_change(Secret('x'), 'secret_value')": "AttributeError",
    # Paths and files
    "[type(Path('a') / 'b').__name__, str(Path('a', 'b')), isinstance(Path('a'), pathlib.Path), Path('a') == pathlib.Path('a')]": (
        ["Path", "a/b", True, True]
    ),
    "pickle.loads(pickle.dumps(Path('a/b'))) == Path('a/b')": True,
    "[type(Path.validate('a/b')).__name__, Path.validate(pathlib.Path('x')) == Path('x')]": ["Path", True],
    "of_url()": ["URLPath", "data:text/plain;base64,YWJj", True, "abc", True, False],
    "File.validate('data:,abc').read().decode()": "abc",
    "refused(File.validate, 'ftp://x')": "ValueError: 'ftp' is not a valid URL scheme. 'data', 'http', or 'https' is supported.",
    "refused(URLFile, 'ftp://x')": "ValueError: URLFile requires URL to conform to HTTP or HTTPS protocol",
    "[repr(URLFile('http://h/a.png?x')), pickle.loads(pickle.dumps(URLFile('http://h/a.png'))).name]": ["<URLFile 'a.png'>", "a.png"],
    # Types of outputs
    "re.sub('.*[.]', '', str(ConcatenateIterator[str]))": "ConcatenateIterator[str]",
    "refused(AsyncConcatenateIterator[str])[:9]": "TypeError",
    "sorted(typing.get_type_hints(Box)) + [str(typing.get_type_hints(Wide)['last'])]": (
        ["VERSION", "label", "left", "note", "tags", "<class 'int'>"]
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_does_what_cogs_does(version):
    told = evaluate(harness.python(version), _SETUP, [*SAID, "sorted(cog.__all__)"])
    exported = told.pop("sorted(cog.__all__)")
    assert set(exported) >= EXPORTED
    assert told == SAID


def test_the_schema_knows_no_name_that_is_missing_here():
    (exported,) = evaluate(sys.executable, "import cog", ["cog.__all__"]).values()
    assert set(exported) >= _COG_NAMES


def test_records_are_dataclasses_where_python_has_them():
    code = """
        import dataclasses, typing
        import pydantic
        from cog import BaseModel

        class Box(BaseModel):
            left: int
            tags: typing.List[str] = dataclasses.field(default_factory=lambda: ["t"])
            old: typing.Any = pydantic.Field(default=3)
            needed: str = pydantic.Field(...)
        class Still(BaseModel, frozen=True):
            x: int = 1
        def change(thing):
            thing.x = 2
        @dataclasses.dataclass
        class Own(BaseModel, auto_dataclass=False):
            x: int
            y: int = 2
    """
    told = evaluate(
        sys.executable,
        code,
        [
            "[field.name for field in dataclasses.fields(Box)]",
            "dataclasses.asdict(Box(1, needed='x'))",
            "dataclasses.replace(Box(1, needed='x'), left=5).left",
            "Box(1)",
            "change(Still())",
            "hash(Still()) == hash(Still(1))",
            "dataclasses.asdict(Own(1))",
        ],
    )
    assert list(told.values()) == [
        ["left", "tags", "old", "needed"],
        {"left": 1, "tags": ["t"], "old": 3, "needed": "x"},
        5,
        "TypeError: Box() needs a value for 'needed'",
        "FrozenInstanceError: cannot assign to field 'x'",
        True,
        {"x": 1, "y": 2},
    ]


def test_pydantics_models_may_have_fields_of_our_types(tmp_path):
    code = """
        import io
        import pydantic
        from cog import File, Path, Secret

        class New(pydantic.BaseModel):
            path: Path
            secret: Secret
            file: File
    """
    told = evaluate(
        sys.executable,
        code,
        [
            "[str(New(path='a', secret='s', file='data:,x').path), New(path='a', secret='s', file='data:,x').file.read().decode()]",
            "str(New(path=Path('b'), secret=Secret('s'), file=io.BytesIO()).secret)",
            "New.model_json_schema()['properties']['path']",
        ],
    )
    assert list(told.values()) == [["a", "x"], "**********", {"format": "uri", "title": "Path", "type": "string"}]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_predictor_can_be_run_by_itself(version, tmp_path):
    (tmp_path / "predict.py").write_text(
        "from cog import BasePredictor, CancelationException, Input, Path, current_scope\n"
        "class Predictor(BasePredictor):\n"
        "    def predict(self, text: str = Input(default='x')) -> str:\n"
        "        self.record_metric('seen', 1)\n"
        "        current_scope().metrics['x'] = 2\n"
        "        return text * 2\n"
        "if __name__ == '__main__':\n"
        "    import sys\n"
        "    print(Predictor().predict(text='a'), 'lading' in sys.modules, [p for p in sys.path if p.endswith('src')])\n"
    )
    ended = subprocess.run(
        [harness.python(version), "-W", "error", "predict.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(HOUSE / "shims"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("aa False []\n", "")


def test_commands_in_the_environment_find_it():
    environ = exec_._environ("/nowhere", sys.executable, {"MINE": "x"})
    program = "import cog, cortex_internal.lib.log, os; print(cog.__file__, os.environ['MINE'])"
    ended = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert ended.stdout == f"{HOUSE / 'shims' / 'cog' / '__init__.py'} x\n"


@pytest.mark.parametrize("version", ["3.6", "3.11", "3.13"])
def test_a_project_with_a_module_cog_of_its_own_keeps_it(version, tmp_path):
    (tmp_path / "cog.py").write_text("WHEELS = 3\n")
    code = """
        import pathlib
        import cog

        def predict(image: pathlib.Path) -> str:
            return "%s %d" % (image.read_text(), cog.WHEELS)
    """
    with harness.running(tmp_path, code, object="predict", python=harness.python(version)) as worker:
        assert worker.predict(image="data:,abc").output == "abc 3"


# What these predictors, written for the reader of sources, take from places that are not there.
_PRELUDE = """
    import builtins, importlib, inspect, json, os, sys, types, warnings
    warnings.filterwarnings("ignore", "'async' and 'await' will become")
    builtins.make_ddim = builtins.make_pndm = builtins.load = None
    torch = types.ModuleType("torch")
    torch.inference_mode = lambda: lambda function: function
    torch.nn = types.SimpleNamespace(Module=object)
    sys.modules["torch"] = torch

    def declared(root, target):
        for name in [name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(os.path.dirname(root))]:
            del sys.modules[name]
        sys.path.insert(0, root)
        try:
            thing = getattr(importlib.import_module("predict"), target)
        finally:
            del sys.path[0]
        if inspect.isclass(thing):
            found = [getattr(thing, name, None) for name in ("run", "predict")]
            thing = next(one for one in found if one is not None and not one.__module__.startswith("cog"))
        found = {}
        for name, parameter in inspect.signature(thing).parameters.items():
            default = parameter.default
            if type(default).__name__ == "FieldInfo":
                found[name] = {key: getattr(default, key) for key in type(default).__slots__}
            elif name != "self":
                found[name] = None
        return json.loads(json.dumps(found, default=lambda value: value.value if hasattr(value, "value") else str(value)))
"""
_NEEDS = {
    "cog_runner_streams_text": (3, 9),
    "future_annotations_and_aliases": (3, 9),
    "plain_function": (3, 9),
    "plain_class_with_inherited_method": (3, 11),
    "structured_outputs": (3, 9),
    "function_with_async_generator": (3, 9),
}
_NEVER_LATER = {"python_3_6_source": (3, 6)}
_WITH_LIBRARIES = {"structured_outputs"}


def _runs(name: str, version: str) -> bool:
    number = tuple(map(int, version.split(".")))
    return _NEEDS.get(name, (3, 6)) <= number <= _NEVER_LATER.get(name, (3, 99)) and name not in _WITH_LIBRARIES


def _agrees(declared: dict[str, Any], signature: dict[str, Any]) -> None:
    """What ``Input(...)`` says at run time is what was read from the source."""
    read = {field["name"]: field for field in signature["inputs"]}
    assert set(declared) == set(read)
    for name, said in declared.items():
        if said is None:
            assert read[name].get("own_default") or "default" not in read[name]
            continue
        assert said["default"] == read[name].get("default")
        assert {key: said[key] for key in said if key != "default" and said[key] is not None} == {
            key: read[name][key] for key in said if key != "default" and key in read[name]
        }


def _lay_out(root: Path, names: list[str]) -> None:
    for name in names:
        for path, text in PREDICTORS[name][1].items():
            (root / name / path).parent.mkdir(parents=True, exist_ok=True)
            (root / name / path).write_text(text)


def _compare(python: str, root: Path, names: list[str]) -> None:
    _lay_out(root, names)
    asked = {f"declared({str(root / name)!r}, {PREDICTORS[name][0]!r})": name for name in names}
    for expression, declared in evaluate(python, _PRELUDE, asked, root).items():
        name = asked[expression]
        assert isinstance(declared, dict), (name, declared)
        target, files = PREDICTORS[name]
        _agrees(declared, dict(read_signature(MemoryFiles(files), "predict.py", target).as_json()))


@pytest.mark.parametrize("version", VERSIONS)
def test_predictors_declare_what_the_schema_reads(version, tmp_path):
    names = [name for name in PREDICTORS if _runs(name, version)]
    assert names
    _compare(harness.python(version), tmp_path, names)


def test_predictors_with_libraries_declare_what_the_schema_reads(tmp_path):
    _compare(sys.executable, tmp_path, sorted(_WITH_LIBRARIES))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_predictors_of_all_projects_are_imported(version):
    found = [place for place in sorted(PROJECTS.glob("*/predict.py")) if "class Predictor(BasePredictor)" in place.read_text()]
    assert len(found) > 10
    asked = {f"declared({str(place.parent)!r}, 'Predictor')": place for place in found}
    for expression, declared in evaluate(harness.python(version), _PRELUDE, asked).items():
        place = asked[expression]
        assert isinstance(declared, dict), (place, declared)
        _agrees(declared, dict(read_signature(MemoryFiles({"predict.py": place.read_bytes()}), "predict.py", "Predictor").as_json()))


def test_cogs_server_is_told_to_be_elsewhere():
    done = subprocess.run(
        [sys.executable, "-m", "cog.server.http"], env={"PYTHONPATH": str(HOUSE / "shims")}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "run `lading serve`" in done.stderr) == (2, True)

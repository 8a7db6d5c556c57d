"""Outputs as JSON: what Cog writes (coglet 0.23.1, observed), what Lading writes beyond it, and what cannot be written."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest

from lading_worker.encode import EncodeError, encode, media_type
from tests.worker import harness
from tests.worker.everywhere import evaluate
from tests.worker.harness import VERSIONS

_SETUP = """
    import collections, datetime, decimal, enum, io, pathlib, typing, uuid
    from cog import BaseModel, Coder, Path, Secret
    from lading_worker.encode import EncodeError, encode

    class E(enum.Enum):
        A = "x"
        B = (1, 2)
    class IE(enum.IntEnum):
        ONE = 1
    class SE(str, enum.Enum):
        S = "s"
    class M(BaseModel):
        a: int
        b: typing.Any = None
    class Odd:
        pass
    class Own:
        pass
    class OwnCoder(Coder):
        @staticmethod
        def factory(kind):
            return OwnCoder() if kind is Own else None
        def encode(self, value):
            return {"own": E.A}
    Coder.register(OwnCoder)
    NT = collections.namedtuple("NT", "x y")

    def f(name, data=b"abc"):
        with open(name, "wb") as file:
            file.write(data)
        return name

    def opened(name, mode="rb"):
        file = open(f(name), mode)
        file.read(1)
        kept.append(file)
        return file
    kept = []

    def written(value):
        try:
            return encode(value).decode()
        finally:
            while kept:
                kept.pop().close()

    def around(value):
        value.append(value)
        return value

    def deep(depth):
        value = []
        for _ in range(depth):
            value = [value]
        return value
"""
_ABC = '"data:%s;base64,YWJj"'
WRITTEN = {
    # Files
    "Path(f('a.txt'))": _ABC % "text/plain",
    "pathlib.Path(f('a.png'))": _ABC % "image/png",
    "Path(f('noext'))": _ABC % "application/octet-stream",
    "Path(f('a.webp'))": _ABC % "image/webp",
    "[{'k': Path(f('a.wav'))}]": '[{"k":"data:audio/wav;base64,YWJj"}]',
    "opened('a.txt')": _ABC % "text/plain",
    "opened('a.txt', 'r')": _ABC % "text/plain",
    "io.BytesIO(b'abc')": _ABC % "application/octet-stream",
    "io.StringIO('abc')": _ABC % "application/octet-stream",
    # Records
    "M(a=1, b=E.A)": '{"a":1,"b":"x"}',
    "M(1, [M(2)])": '{"a":1,"b":[{"a":2,"b":null}]}',
    "M(1, Path(f('a.txt')))": '{"a":1,"b":"data:text/plain;base64,YWJj"}',
    "Own()": '{"own":"x"}',
    "Secret('s')": '"**********"',
    # Plain values
    "None": "null",
    "[True, 1, -0.0, 'é\\u2028']": '[true,1,-0.0,"é\u2028"]',
    "2**70": "1180591620717411303424",
    "[E.A, E.B, IE.ONE, SE.S]": '["x",[1,2],1,"s"]',
    "datetime.datetime(2020, 1, 2, 3, 4, 5)": '"2020-01-02T03:04:05"',
    "datetime.date(2020, 1, 2)": '"2020-01-02"',
    "uuid.UUID(int=5)": '"00000000-0000-0000-0000-000000000005"',
    "decimal.Decimal('1.5')": "1.5",
    "float('nan')": "null",
    "{'a': [1.5, float('inf')], 'b': (1, -float('inf'))}": '{"a":[1.5,null],"b":[1,null]}',
    "'a\\ud800b'": '"a?b"',
    # Collections
    "{1: 'a', 2.5: 'b', None: 1}": '{"1":"a","2.5":"b","null":1}',
    "{E.A: 1, SE.S: {E.A: 2}}": '{"x":1,"s":{"x":2}}',
    "[{3}, frozenset([4]), (5,), NT(1, 2)]": "[[3],[4],[5],[1,2]]",
    "(i for i in range(3))": "[0,1,2]",
    "[(i for i in [1, float('nan')]), E.A]": '[[1,null],"x"]',
    "[range(2), map(str, [1]), collections.deque([1]), {'a': 1}.keys(), {'a': 2}.items()]": '[[0,1],["1"],[1],["a"],[["a",2]]]',
    "collections.OrderedDict(a=1)": '{"a":1}',
    "collections.ChainMap({'a': E.A})": '{"a":"x"}',
}
REFUSED = {
    "{'items': [1, 2, 3, Odd()]}": "output.items[3]: checked.Odd cannot be written as JSON; return text, numbers, lists, dicts,",
    "b'abc'": "output: bytes cannot be written as JSON; write the bytes to a file and return its Path, or return io.BytesIO(...)",
    "[bytearray(b'x')]": "output[0]: bytearray cannot be written as JSON; write the bytes",
    "{'odd key!': 1j}": "output['odd key!']: complex cannot be written as JSON",
    "M": "output: the class M itself cannot be written as JSON; return an instance of it",
    "M(1, Odd())": "output.b: checked.Odd cannot be written",
    "{(1, 2): 1}": "output: the key (1, 2) is tuple; the keys of a JSON object are texts or numbers",
    "[Path('gone.txt')]": "output[0]: the file gone.txt is not there",
    "Path('.')": "output: . is a folder; return a file, a zip of the folder for example",
    "around([1])": "output is nested too deeply, or contains itself",
    "around([E.A])": "output is nested too deeply, or contains itself",
    "deep(100000)": "output is nested too deeply, or contains itself",
    "lambda: 1": "output: function cannot be written as JSON",
    "datetime.timedelta(1)": "output: datetime.timedelta cannot be written as JSON",
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kind_of_value(version, tmp_path):
    told = evaluate(harness.python(version), _SETUP, [f"written({value})" for value in (*WRITTEN, *REFUSED)], tmp_path)
    for value, text in WRITTEN.items():
        assert told[f"written({value})"] == text
    for value, message in REFUSED.items():
        assert told[f"written({value})"].startswith("EncodeError: " + message), told[f"written({value})"]


_LIBRARIES = """
    import dataclasses, io, typing
    import numpy as np
    import pydantic
    import pydantic.v1 as pydantic_v1
    from cog import BaseModel, File, Path, Secret
    from lading_worker.encode import encode

    @dataclasses.dataclass
    class D:
        a: int
        b: typing.Any = None
        c: typing.ClassVar[int] = 3
    class P(pydantic.BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        a: int = 1
        b: typing.Any = None
        path: typing.Optional[Path] = None
        secret: typing.Optional[Secret] = None
        file: typing.Optional[File] = None
    class V1(pydantic_v1.BaseModel):
        a: int = 1
        path: typing.Optional[Path] = None
        secret: typing.Optional[Secret] = None
        class Config:
            arbitrary_types_allowed = True
    class Root(pydantic.RootModel[typing.List[int]]):
        pass
    class Labels(BaseModel):
        scores: typing.Any

    def f(name):
        with open(name, "wb") as file:
            file.write(b"abc")
        return name

    def written(value):
        return encode(value).decode()
"""
OF_LIBRARIES = {
    "D(1, Path(f('a.txt')))": '{"a":1,"b":"data:text/plain;base64,YWJj"}',
    "P(a=1, b=np.float32(1.5), path=Path(f('a.txt')))": ('{"a":1,"b":1.5,"path":"data:text/plain;base64,YWJj","secret":null,"file":null}'),
    "P(secret='s', file=io.BytesIO(b'abc'))": (
        '{"a":1,"b":null,"path":null,"secret":"**********","file":"data:application/octet-stream;base64,YWJj"}'
    ),
    "V1(path=f('a.txt'), secret='x')": '{"a":1,"path":"data:text/plain;base64,YWJj","secret":"**********"}',
    "Root([1, 2])": "[1,2]",
    "[pydantic.SecretStr('x'), Labels(np.array([0.5]))]": '["**********",{"scores":[0.5]}]',
    "[np.int64(3), np.float32(0.1), np.float64(0.1), np.bool_(True), np.str_('x')]": '[3,0.10000000149011612,0.1,true,"x"]',
    "[np.array([[1, 2]]), np.array(3), np.array(['a']), np.array([1.5, np.nan])]": '[[[1,2]],3,["a"],[1.5,null]]',
    "{'a': np.float64('nan'), np.int64(1): 2}": '{"a":null,"1":2}',
    "np.datetime64('2020-01-01')": '"2020-01-01"',
    "np.array([{1}, None], dtype=object)": "[[1],null]",
}


def test_values_of_libraries(tmp_path):
    told = evaluate(sys.executable, _LIBRARIES, [f"written({value})" for value in OF_LIBRARIES], tmp_path)
    assert told == {f"written({value})": text for value, text in OF_LIBRARIES.items()}


class _Unfit:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def test_advice_fits_the_value():
    for attribute, advice in (("tolist", "return its .tolist()"), ("save", "save it to a file and return its Path")):
        with pytest.raises(EncodeError, match=advice.replace("(", "[(]").replace(")", "[)]")):
            encode({"image": _Unfit(**{attribute: None})})


async def _never():
    return 1


def test_a_coroutine_is_to_be_awaited():
    coroutine = _never()
    with pytest.raises(EncodeError, match="output: coroutine cannot be written as JSON; await it"):
        encode(coroutine)
    coroutine.close()


def test_a_file_that_is_closed_or_unreadable_is_named(tmp_path: Path):
    place = tmp_path / "a.txt"
    place.write_bytes(b"abc")
    with place.open("rb") as file:
        pass
    with pytest.raises(EncodeError, match=r"output\.x: the file .*a\.txt cannot be read: .*closed file"):
        encode({"x": file})


def test_the_name_of_a_piece():
    with pytest.raises(EncodeError, match=r"^piece 3: bytes cannot"):
        encode(b"x", "piece 3")


def test_bytes_of_a_large_file_survive(tmp_path: Path):
    content = bytes(range(256)) * 4096
    (tmp_path / "large.bin").write_bytes(content)
    url = json.loads(encode(tmp_path / "large.bin"))
    assert base64.b64decode(url.partition(",")[2]) == content


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.PNG", "image/png"),
        ("x.tar.gz", "application/gzip"),
        ("x.mp3", "audio/mpeg"),
        ("x.mkv", "video/x-matroska"),
        ("x.safetensors", "application/octet-stream"),
        ("x.pt", "application/octet-stream"),
        ("x.jsonl", "application/octet-stream"),
        (".png", "application/octet-stream"),
        (b"x.pdf", "application/pdf"),
        ("x.rtf", "application/rtf"),
        ("x.what-is-this", "application/octet-stream"),
    ],
)
def test_media_types_are_coglets(name, kind):
    assert media_type(name) == kind

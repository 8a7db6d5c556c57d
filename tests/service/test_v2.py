"""The Open Inference Protocol (v2) over a real worker, and what is a tensor at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.service.tensors import Tensor, TensorError, tensors_of, to_tensor, value_of
from tests.service.support import Server, running
from tests.worker.test_whole_server import serving

_CODE = """
    from typing import Optional
    from cog import BaseModel, BasePredictor, Input

    class Output(BaseModel):
        sums: list[float]
        label: str
        count: int

    class Predictor(BasePredictor):
        def predict(self, rows: list[list[float]], name: str = Input(default="sum", choices=["sum", "mean"]), scale: float = 1.0,
                    limit: Optional[int] = None) -> Output:
            if name == "mean" and not rows:
                raise ValueError("nothing to divide by")
            sums = [scale * sum(row) / (len(row) if name == "mean" else 1) for row in rows][:limit]
            return Output(sums=sums, label=name, count=len(sums))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("project"), _CODE) as one:
        yield one


def rows(values: list[Any], shape: list[int], datatype: str = "FP32") -> dict[str, Any]:
    return {"name": "rows", "shape": shape, "datatype": datatype, "data": values}


def infer(server: Server, *inputs: dict[str, Any], **more) -> Any:
    return server.client.post("/v2/models/model/infer", json={"inputs": list(inputs), **more})


def test_metadata_and_health_are_told(server: Server):
    assert server.client.get("/v2").json()["name"] == "lading"
    assert server.client.get("/v2/health/live").json() == {"live": True}
    assert server.client.get("/v2/health/ready").json() == {"ready": True}
    assert server.client.get("/v2/models/model/ready").json() == {"name": "model", "ready": True}
    told = server.client.get("/v2/models/model").json()
    assert told == server.client.get("/v2/models/model/versions/1").json()
    assert (told["name"], told["versions"]) == ("model", ["1"])
    assert told["inputs"][0] == {"name": "rows", "datatype": "FP64", "shape": [-1, -1]}
    assert told["inputs"][1] == {"name": "name", "datatype": "BYTES", "shape": [1], "parameters": {"optional": True}}
    assert [(one["name"], one["datatype"], one["shape"]) for one in told["outputs"]] == [
        ("sums", "FP64", [-1]),
        ("label", "BYTES", [1]),
        ("count", "INT64", [1]),
    ]


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
def test_tensors_go_in_and_come_out(server: Server, data: list[Any]):
    scale = {"name": "scale", "shape": [1], "datatype": "FP64", "data": [2.0]}
    answer = infer(server, rows(data, [2, 3]), scale, id="42")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "42",
        "model_name": "model",
        "model_version": "1",
        "outputs": [
            {"name": "sums", "datatype": "FP64", "shape": [2], "data": [12.0, 30.0]},
            {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["sum"]},
            {"name": "count", "datatype": "INT64", "shape": [1], "data": [2]},
        ],
    }


def test_only_the_outputs_that_are_asked_for_come(server: Server):
    answer = infer(server, rows([1], [1, 1]), outputs=[{"name": "count"}])
    assert [one["name"] for one in answer.json()["outputs"]] == ["count"]


def test_a_large_tensor_is_turned_around_too(server: Server):
    answer = infer(server, rows([1.0] * 100_000, [1000, 100]))
    assert answer.json()["outputs"][0]["data"] == [100.0] * 1000


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([rows([1, 2], [2, 3])], "rows: a shape of [2, 3] has 6 elements, and 2 came"),
        ([rows([1, 2], [2])], "rows: its shape is [-1, -1], and [2] came"),
        ([rows(["a"], [1, 1], "BYTES")], "rows: it is FP64, and BYTES came"),
        ([rows([1], [1, 1], "FP99")], "rows: it is FP64, and FP99 came"),
        ([rows(["a"], [1, 1])], 'rows/0/0: "a" is not of type "number"'),
        ([rows([1], [-1, 1])], "rows: its shape is a list of sizes"),
        (
            [{"name": "other", "shape": [1], "datatype": "FP32", "data": [1]}],
            "there is no input 'other'; there are rows, name, scale, limit",
        ),
        ([], "rows: Field required"),
        ([1], "the body has no list of inputs"),
    ],
)
def test_what_does_not_fit_is_a_400_that_names_the_tensor(server: Server, inputs: list[Any], said: str):
    answer = infer(server, *inputs)
    assert (answer.status_code, answer.json()) == (400, {"error": said})


def test_other_refusals_have_their_statuses(server: Server):
    assert server.client.post("/v2/models/model/infer", content=b"{").status_code == 400
    assert infer(server, rows([1], [1, 1]), outputs=[{"name": "x"}]).status_code == 400
    assert server.client.get("/v2/models/other").status_code == 404
    assert server.client.get("/v2/models/model/versions/2").status_code == 404
    assert server.client.get("/v2/models/model/infer").status_code == 405
    mean = {"name": "name", "shape": [1], "datatype": "BYTES", "data": ["mean"]}
    failed = infer(server, rows([], [0, 0]), mean)
    assert (failed.status_code, failed.json()) == (500, {"error": "nothing to divide by"})


def test_a_predictor_without_tensors_has_no_v2(tmp_path):
    with running(tmp_path) as server:
        assert server.client.get("/v2").status_code == 404
        assert server.client.get("/v2/models/model").status_code == 404


@pytest.mark.parametrize(
    ("kind", "tensor"),
    [
        ({"kind": "list", "items": {"kind": "list", "items": {"kind": "int"}}}, ("INT64", 2)),
        ({"kind": "union", "types": [{"kind": "bool"}, {"kind": "null"}]}, ("BOOL", 0)),
        ({"kind": "enum", "name": "E", "module": "m", "members": {"A": 1, "B": 2}}, ("INT64", 0)),
        ({"kind": "iterator", "items": {"kind": "str"}, "concatenate": True}, ("BYTES", 1)),
        ({"kind": "path"}, ("BYTES", 0)),
        ({"kind": "any"}, None),
        ({"kind": "dict", "values": {"kind": "int"}}, None),
        ({"kind": "union", "types": [{"kind": "int"}, {"kind": "str"}]}, None),
        ({"kind": "literal", "values": ["a", 1]}, None),
    ],
)
def test_which_types_are_tensors(kind: dict[str, Any], tensor: tuple[str, int] | None):
    found = tensors_of({"inputs": [{"name": "x", "type": kind, "required": True}], "output": {"kind": "int"}})
    assert (found and (found[0][0].datatype, found[0][0].dimensions)) == tensor


@given(st.integers(0, 4).flatmap(lambda width: st.lists(st.lists(st.integers(), min_size=width, max_size=width), min_size=1)))
def test_a_tensor_becomes_the_value_that_it_came_from(value: list[list[int]]):
    tensor = Tensor("x", "INT64", 2)
    assert value_of(tensor, to_tensor(tensor, value)) == value


@pytest.mark.parametrize("value", [[[1], [2, 3]], [[1], 2], [1, [2]], 5])
def test_what_is_not_rectangular_is_no_tensor(value: Any):
    with pytest.raises(TensorError):
        to_tensor(Tensor("x", "INT64", 2), value)

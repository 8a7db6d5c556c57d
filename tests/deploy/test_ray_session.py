"""Which cluster a process is connected to: Ray has one at a time. No cluster is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from lading.deploy import ray_session
from lading.deploy.engine import Place
from lading.deploy.ray_session import session
from lading.model.problems import LadingError


@dataclass
class Ray:
    """The package ray of a process; ``clusters`` says which one an address leads to, by the address of its head's store."""

    clusters: dict[str, str]
    asked: list[str] = field(default_factory=list)
    connected: str | None = None

    def __post_init__(self) -> None:
        self._private = SimpleNamespace(worker=SimpleNamespace(print_to_stdstream=print))

    def is_initialized(self) -> bool:
        return self.connected is not None

    def init(self, address: str, **_options: Any) -> None:
        self.asked.append(address)
        self.connected = self.clusters[address]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address=self.connected)


ONE, TWO, OUTSIDE = "192.0.2.1:6379", "192.0.2.2:6379", "ray://192.0.2.2:10001"


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    made = Ray({"auto": ONE, ONE: ONE, TWO: TWO, OUTSIDE: TWO, "127.0.0.1:6379": "127.0.0.1:6379"})
    monkeypatch.setattr(ray_session, "import_ray", lambda: made)
    monkeypatch.setattr(ray_session, "failures", lambda: (ConnectionError,))
    monkeypatch.setattr(ray_session, "_check_reached", lambda _address: None)
    monkeypatch.setattr(ray_session, "_REACHED", {})
    monkeypatch.setenv("RAY_ADDRESS", "")
    return made


def enter(address: str | None) -> None:
    with session(Place(engine="ray", address=address), {}):
        pass


def test_a_second_cluster_is_not_taken_for_the_first_one(ray):
    enter(ONE)
    enter(ONE)
    with pytest.raises(LadingError) as refused:
        enter(TWO)
    (problem,) = refused.value.problems
    assert problem.rule == "ray-other-cluster"
    assert problem.what == f"This process is connected to the Ray cluster at {ONE}, and {TWO} is another one."
    assert ray.asked == [ONE]


def test_a_connection_of_somebody_else_is_taken_where_it_is_the_cluster_that_is_meant(ray):
    ray.init(ONE)
    enter(None)
    enter(ONE)
    with pytest.raises(LadingError, match="is another one"):
        enter(TWO)


def test_a_cluster_has_the_address_that_it_was_reached_at_and_its_own(ray):
    enter(OUTSIDE)
    enter(OUTSIDE)
    enter(TWO)
    for other in (ONE, None):
        with pytest.raises(LadingError, match="is another one"):
            enter(other)


def test_a_name_and_an_address_of_one_machine_are_the_same(ray):
    enter("127.0.0.1:6379")
    enter("localhost:6379")
    with pytest.raises(LadingError, match="is another one"):
        enter("localhost:6380")


def test_once_a_process_has_left_a_cluster_it_may_enter_another_one(ray):
    enter(ONE)
    ray.connected = None
    enter(TWO)
    assert ray.asked == [ONE, TWO]

"""A Ray cluster in this process: the store of its head, and a Serve that runs what it is asked for, in states that a test gives it.

For the order in which the engine does things, and for what it does when Serve fails; that Ray does what is asked of it is for `tests/ray`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from lading.deploy import ray, ray_serve, ray_store
from lading.deploy import ray_records as records
from lading.deploy.engine import Place
from lading.deploy.ray import RayEngine
from lading.deploy.ray_plan import Application, Plan

NAME = "shop"


def application(api: str = "predict", revision: int = 1, replicas: int = 1) -> Application:
    """An application of the deployment `NAME`."""
    plan = Plan(deployment=NAME, digest=f"digest-{revision}", prefix=f"/{NAME}", api=api, revision=revision, secrets=f"{NAME}/{revision}")
    options = {"num_replicas": replicas}
    return Application(name=f"{NAME}.{api}", route=f"/{NAME}/{api}", kind="RealtimeAPI", options=options, plan=plan)


@dataclass
class Head:
    """The cluster. ``states`` are those of applications that are not RUNNING; ``done`` is what Serve was asked for, in turn.

    ``slow``: what ends has not done so within its time. ``contended`` is set when somebody wants to take in its store what another one has.
    """

    store: dict[bytes, bytes] = field(default_factory=dict)
    running: dict[str, Application] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    done: list[tuple[str, list[str]]] = field(default_factory=list)
    slow: bool = False
    contended: threading.Event = field(default_factory=threading.Event)

    def ask(self, made: Iterable[Application]) -> None:
        asked = {one.name: one for one in made}
        self.running.update(asked)
        self.done.append(("ask", sorted(asked)))

    def remove(self, names: Iterable[str]) -> None:
        there = sorted(set(names) & set(self.running))
        for name in there:
            del self.running[name]
        if there:
            self.done.append(("remove", there))

    def wait_ended(self, ending: Iterable[Application], renew: Callable[[], None] = lambda: None) -> None:
        waited = sorted(one.name for one in ending)
        renew()
        if waited:
            self.done.append(("wait", waited))
        if self.slow:
            raise TimeoutError

    def status(self, names: Iterable[str]) -> tuple[dict[str, str], Mapping[str, Any]]:
        told = {name: self.states.get(name, "RUNNING") if name in self.running else "NOT_STARTED" for name in names}
        return told, {name: SimpleNamespace(message="no room", deployments={}) for name in told}

    def revision(self, number: int, *made: Application, live: bool = True) -> dict[str, Any]:
        """Serve a revision with these applications, which becomes the current one."""
        record = ray_store.read_record(NAME) or records.new_record()
        new = {**records.new_revision(NAME, number, f"digest-{number}", made), "live": live}
        ray_store.write_record(NAME, {"revisions": records.with_newest(record, new)})
        ray_store.write_secrets(f"{NAME}/{number}", {"TOKEN": "hush"})
        self.running.update({one.name: one for one in made})
        return new

    def current(self) -> dict[str, Any]:
        """The current revision in the store."""
        record = ray_store.read_record(NAME)
        assert record is not None
        return records.current(record)

    def engine(self) -> RayEngine:
        return RayEngine(Place(engine="ray"), {})

    def _internal_kv_get(self, key: bytes, *, namespace: bytes) -> bytes | None:
        del namespace
        return self.store.get(key)

    def _internal_kv_put(self, key: bytes, value: bytes, *, overwrite: bool, namespace: bytes) -> bool:
        del namespace
        there = key in self.store
        if overwrite or not there:
            self.store[key] = value
        else:
            self.contended.set()
        return there

    def _internal_kv_list(self, prefix: bytes, *, namespace: bytes) -> list[bytes]:
        del namespace
        return [key for key in self.store if key.startswith(prefix)]

    def _internal_kv_del(self, key: bytes, *, namespace: bytes) -> None:
        del namespace
        self.store.pop(key, None)


@contextlib.contextmanager
def head() -> Iterator[Head]:
    """A cluster that engines of this process are connected to."""
    made = Head()
    told: dict[str, Any] = {"applications": {}, "proxies": {}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_store, "_kv", lambda: made)
        patch.setattr(ray, "session", lambda *_: contextlib.nullcontext())
        patch.setattr(ray, "failures", lambda: (ConnectionError,))
        for name, stand_in in {
            "ask": made.ask,
            "remove": made.remove,
            "wait_ended": made.wait_ended,
            "states": made.status,
            "require_free": lambda *_: None,
            "details": lambda: told,
            "dashboard": lambda: None,
        }.items():
            patch.setattr(ray_serve, name, stand_in)
        yield made

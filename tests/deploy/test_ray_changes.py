"""What Ray's engine does, in turn, to change a deployment; beside a cluster of this process, so no Ray is needed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from lading.deploy import ray, ray_serve, ray_store
from lading.deploy import ray_records as records
from lading.deploy.engine import Revision
from lading.deploy.ray_plan import Application, scaled
from lading.model.events import silent
from lading.model.problems import LadingError
from tests.deploy.ray_head import NAME, Head, application, head


@pytest.fixture
def cluster() -> Iterator[Head]:
    with head() as made:
        yield made


def replicas(cluster: Head, api: str = "predict") -> tuple[int, int]:
    """How many the store has, and how many Serve was asked for."""
    kept = next(one for one in records.applications_of(cluster.current()) if one.plan.api == api)
    return kept.options["num_replicas"], cluster.running[kept.name].options["num_replicas"]


@contextlib.contextmanager
def somebody_else(until: threading.Event | None = None) -> Iterator[None]:
    """Another program that is changing the deployment, until the end or an event."""
    over, holds = until or threading.Event(), threading.Event()

    def hold() -> None:
        with ray_store.changing(NAME):
            holds.set()
            over.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    assert holds.wait(60)
    try:
        yield
    finally:
        over.set()
        other.join(60)


def test_a_change_waits_for_the_one_before_it(cluster, monkeypatch):
    cluster.revision(1, application())
    with somebody_else(until=cluster.contended):
        cluster.engine().scale(NAME, "predict", 2, silent)
    assert replicas(cluster) == (2, 2)


def test_a_change_that_takes_too_long_is_told(cluster):
    with somebody_else(), pytest.raises(LadingError, match="Somebody else is changing shop"), ray_store.changing(NAME, 0.0):
        pass
    with ray_store.changing(NAME, 0.0):
        pass
    assert cluster.store == {}


def test_what_was_left_behind_is_free_after_a_while(cluster):
    cluster.store[b"changing/shop"] = b"0 killed"
    with ray_store.changing(NAME, 0.0):
        assert cluster.store[b"changing/shop"] != b"0 killed"
    assert cluster.store == {}


def before_step(cluster: Head, patch: pytest.MonkeyPatch, number: int, meanwhile: Callable[[], None]) -> list[int]:
    """Have something happen just before the store is asked for that time, from 0 on. The list grows by each time that it is asked."""
    steps: list[int] = []

    def store() -> Head:
        steps.append(len(steps))
        if steps[-1] == number:
            meanwhile()
        return cluster

    patch.setattr(ray_store, "_kv", store)
    return steps


@contextlib.contextmanager
def tried(who: str, have: list[str]) -> Iterator[None]:
    """The right to change the deployment, if it is to be had at once; ``have`` says who got it."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(LadingError):
            stack.enter_context(ray_store.changing(NAME, 0.0))
            have.append(who)
        yield


def test_of_two_that_find_what_was_left_behind_one_gets_it(cluster, monkeypatch):
    """Whatever the one has done so far when the other one comes."""
    steps, number = [0], 0
    while number in steps:
        cluster.store = {b"changing/shop": b"0 killed"}
        have: list[str] = []
        with contextlib.ExitStack() as other:
            steps = before_step(cluster, monkeypatch, number, lambda: other.enter_context(tried("other", have)))  # noqa: B023 -- called at once
            with tried("one", have):
                assert len(have) == 1, f"the other one came before step {number}"
        assert cluster.store == {}
        number += 1
    assert number > 4


def test_who_is_killed_while_it_takes_what_was_left_behind_is_followed_by_one(cluster, monkeypatch):
    class KilledError(Exception):
        """In place of a signal."""

    def kill() -> None:
        raise KilledError

    number = 0
    while True:
        cluster.store = {b"changing/shop": b"0 killed"}
        steps = before_step(cluster, monkeypatch, number, kill)
        with contextlib.suppress(KilledError), ray_store.changing(NAME, 0.0):
            break
        assert steps[-1] == number
        have: list[str] = []
        with contextlib.ExitStack() as later:
            with monkeypatch.context() as patch:
                patch.setattr(ray_store, "_STALE_SECONDS", 0.0)
                later.enter_context(tried("later", have))
            with tried("another", have):
                assert have == ["later"], f"it was killed before step {number}"
        assert b"changing/shop" not in cluster.store
        number += 1
    assert number > 4


def test_who_ends_slowly_gives_back_nothing_that_was_taken_meanwhile(cluster, monkeypatch):
    """Whatever of its end is done when another one takes it for killed."""
    steps, number = [0], 0
    while number in steps:
        cluster.store = {}
        have: list[str] = []
        with contextlib.ExitStack() as other:
            with contextlib.ExitStack() as slow:
                with monkeypatch.context() as patch:
                    patch.setattr(ray_store, "_new_holder", lambda: b"0 slow")
                    slow.enter_context(ray_store.changing(NAME))
                steps = before_step(cluster, monkeypatch, number, lambda: other.enter_context(tried("other", have)))  # noqa: B023 -- as above
            with tried("third", have):
                assert len(have) == 1, f"the other one came before step {number}"
        assert cluster.store == {}
        number += 1
    assert number > 4


def test_looking_waits_for_nobody_and_holds_nobody_up(cluster, monkeypatch):
    cluster.revision(1, application(), live=False)
    with somebody_else():
        assert cluster.engine().status(NAME).name == NAME
    assert not cluster.current()["live"]
    cluster.engine().status(NAME)
    assert cluster.current()["live"]
    monkeypatch.setattr(ray_store, "changing", lambda *_: pytest.fail("there is nothing to note"))
    cluster.engine().status(NAME)
    cluster.revision(2, application(revision=2), live=False)
    cluster.states[f"{NAME}.predict"] = "DEPLOYING"
    cluster.engine().status(NAME)


def test_what_has_no_room_is_not_scaled_and_is_served_as_before(cluster, monkeypatch):
    monkeypatch.setattr(ray, "_SCALE_SECONDS", 0.0)
    cluster.revision(1, application())
    before = dict(cluster.store)
    cluster.states[f"{NAME}.predict"] = "DEPLOYING"
    with pytest.raises(LadingError, match="predict of shop is not scaled to 20: it was not ready within 0 s"):
        cluster.engine().scale(NAME, "predict", 20, silent)
    assert cluster.store == before
    assert [what for what, _ in cluster.done] == ["ask", "ask"]
    assert replicas(cluster) == (1, 1)


def test_scaling_has_nothing_to_do_with_another_api_that_is_ill(cluster):
    cluster.revision(1, application("a"), application("b"))
    cluster.states[f"{NAME}.b"] = "UNHEALTHY"
    cluster.engine().scale(NAME, "a", 3, silent)
    assert replicas(cluster, "a") == (3, 3)
    assert set(cluster.running) == {f"{NAME}.a", f"{NAME}.b"}


def test_a_number_that_somebody_else_asked_for_meanwhile_stays(cluster, monkeypatch):
    cluster.revision(1, application())
    engine = cluster.engine()
    status = cluster.status

    def fails_after_another(names):
        monkeypatch.setattr(ray_serve, "states", status)
        engine.scale(NAME, "predict", 4, silent)
        cluster.states[f"{NAME}.predict"] = "DEPLOY_FAILED"
        return status(names)

    monkeypatch.setattr(ray_serve, "states", fails_after_another)
    with pytest.raises(LadingError, match="is not scaled to 20: no room"):
        engine.scale(NAME, "predict", 20, silent)
    assert replicas(cluster) == (4, 4)


def test_a_revision_that_was_ready_is_never_taken_away(cluster):
    """It may fall ill between the moment in which it is ready, and that in which whoever deployed it looks."""
    made = cluster.revision(1, application())
    cluster.states[f"{NAME}.predict"] = "UNHEALTHY"
    with pytest.raises(LadingError, match="shop was ready, and is not now: no room"):
        cluster.engine().wait(Revision(name=NAME, number=1, digest=made["digest"]), silent, 60)
    assert cluster.done == []
    assert cluster.current()["number"] == 1


def test_a_revision_that_fails_gives_its_place_back(cluster):
    cluster.revision(1, application())
    made = cluster.revision(2, application(revision=2), live=False)
    failing = {f"{NAME}.predict": "DEPLOY_FAILED"}
    cluster.states = failing
    ask = cluster.ask

    def asked(made):
        failing.clear()
        ask(made)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_serve, "ask", asked)
        with pytest.raises(LadingError, match=r"no room\. Revision 1 is served again"):
            cluster.engine().wait(Revision(name=NAME, number=2, digest=made["digest"]), silent, 60)
    assert cluster.current()["number"] == 1
    assert b"secrets/shop/2" not in cluster.store


def test_going_back_keeps_the_number_of_replicas(cluster):
    cluster.revision(1, application())
    cluster.revision(2, scaled(application(revision=2), 10))
    gone_back = cluster.engine().rollback(NAME, None, silent)
    assert (gone_back.number, cluster.current()["digest"]) == (3, "digest-1")
    assert replicas(cluster) == (10, 10)


def next_revision(cluster: Head, number: int, *made: Application) -> Revision:
    """What `RayEngine.apply` asks for, once there is a bundle."""
    record = ray_store.read_record(NAME)
    assert record is not None
    new = records.new_revision(NAME, number, f"digest-{number}", made)
    cluster.engine()._run(NAME, record, records.with_newest(record, new), lambda: None)
    return Revision(name=NAME, number=number, digest=f"digest-{number}")


def test_an_api_that_is_left_out_is_served_until_what_comes_instead_is_ready(cluster):
    cluster.revision(1, application("a"), application("b"))
    cluster.states[f"{NAME}.a"] = "DEPLOYING"
    asked = next_revision(cluster, 2, application("a", 2))
    assert set(cluster.running) == {f"{NAME}.a", f"{NAME}.b"}
    cluster.engine().status(NAME)
    assert set(cluster.running) == {f"{NAME}.a", f"{NAME}.b"}
    cluster.states.clear()
    cluster.engine().wait(asked, silent, 60)
    assert set(cluster.running) == {f"{NAME}.a"}


def test_an_api_that_is_left_out_by_what_fails_was_always_served(cluster):
    cluster.revision(1, application("a"), application("b"))
    cluster.states[f"{NAME}.c"] = "DEPLOY_FAILED"
    asked = next_revision(cluster, 2, application("a", 2), application("c", 2))
    with pytest.raises(LadingError, match="Revision 1 is served again"):
        cluster.engine().wait(asked, silent, 60)
    assert cluster.done == [
        ("ask", [f"{NAME}.a", f"{NAME}.c"]),
        ("ask", [f"{NAME}.a", f"{NAME}.b"]),
        ("remove", [f"{NAME}.c"]),
    ]


def test_of_revisions_that_never_were_ready_nothing_is_kept(cluster):
    cluster.revision(1, application("a"), application("b"))
    next_revision(cluster, 2, application("a", 2), application("c", 2))
    next_revision(cluster, 3, application("a", 3))
    assert set(cluster.running) == {f"{NAME}.a", f"{NAME}.b"}


def test_a_route_is_given_to_one_application_at_a_time(cluster):
    """Serve refuses a second one, so what has it now has to end before."""
    cluster.revision(1, application("a"), application("b"))
    next_revision(cluster, 2, application("a", 2))
    new = replace(application("c", 3), route=f"/{NAME}/b")
    next_revision(cluster, 3, application("a", 3), new)
    assert cluster.done[-3:] == [("remove", [f"{NAME}.b"]), ("wait", [f"{NAME}.b"]), ("ask", [f"{NAME}.a", f"{NAME}.c"])]


def test_what_serve_refuses_leaves_all_that_was_served(cluster, monkeypatch):
    cluster.revision(1, application("a"), application("b"))
    next_revision(cluster, 2, application("a", 2))
    before, ask = dict(cluster.store), cluster.ask

    def refuse(_made):
        monkeypatch.setattr(ray_serve, "ask", ask)
        raise ConnectionError

    monkeypatch.setattr(ray_serve, "ask", refuse)
    with pytest.raises(ConnectionError):
        next_revision(cluster, 3, application("a", 3), application("b", 3), application("c", 3))
    assert cluster.store == before
    assert cluster.done[-1] == ("ask", [f"{NAME}.a", f"{NAME}.b"])
    assert set(cluster.running) == {f"{NAME}.a", f"{NAME}.b"}


def test_all_of_a_deployment_ends_at_once_and_is_waited_for_once_nobody_is_kept_from_changing_it(cluster, monkeypatch):
    cluster.revision(1, application("a"), application("b"))
    next_revision(cluster, 2, application("a", 2))
    names = [f"{NAME}.a", f"{NAME}.b"]
    kept = []
    wait = cluster.wait_ended

    def waiting(ending):
        kept.append(dict(cluster.store))
        wait(ending)

    monkeypatch.setattr(ray_serve, "wait_ended", waiting)
    cluster.engine().delete(NAME, None, silent)
    assert cluster.done[1:] == [("remove", names), ("wait", names)]
    assert kept == [{}]


def test_what_finishes_slowly_is_deleted_as_well(cluster):
    cluster.revision(1, application("a"), application("b"))
    cluster.slow = True
    cluster.engine().delete(NAME, "b", silent)
    assert [one.plan.api for one in records.applications_of(cluster.current())] == ["a"]
    cluster.engine().delete(NAME, None, silent)
    assert (cluster.store, cluster.running) == ({}, {})
    with pytest.raises(LadingError, match="shop"):
        cluster.engine().delete(NAME, None, silent)


def test_a_change_that_takes_long_is_not_taken_for_one_that_was_killed(cluster, monkeypatch):
    monkeypatch.setattr(ray_store, "_RENEW_SECONDS", 0.0)
    with ray_store.changing(NAME) as renew:
        before = cluster.store[b"changing/shop"]
        renew()
        assert cluster.store[b"changing/shop"] != before
        renew()
    assert cluster.store == {}
    with ray_store.changing(NAME) as renew:
        cluster.store[b"changing/shop"] = b"0 another"
        with pytest.raises(LadingError, match="Somebody else is changing shop"):
            renew()
    assert cluster.store == {b"changing/shop": b"0 another"}

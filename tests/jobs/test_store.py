"""The store of jobs: what is told to it holds, each item ends once, whoever is killed and whenever."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.jobs.postgres import PostgresJobStore
from lading.jobs.sqlite import SqliteJobStore
from lading.jobs.store import Item, ItemState, Job, JobStatus, Leased, Outcome, new_id
from lading.model.problems import LadingError

Store = SqliteJobStore | PostgresJobStore


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteJobStore]:
    made = SqliteJobStore(tmp_path / "jobs")
    yield made
    made.close()


def _job(store: Store, count: int, **fields) -> str:
    name = new_id()
    store.create(Job(id=name, api="a", kind="BatchAPI", **fields))
    store.add(name, (Item(number=number, payload=b"%d" % number) for number in range(count)))
    store.update(name, status=JobStatus.RUNNING, total=count)
    return name


def _ok(leased: Leased) -> Outcome:
    return Outcome(leased=leased, ok=True, seconds=0.5)


def test_items_are_leased_in_order_and_end_once(store):
    job = _job(store, 5)
    first = store.claim(job, 3, 60)
    assert [(one.number, one.payload, one.attempt) for one in first] == [(0, b"0", 1), (1, b"1", 1), (2, b"2", 1)]
    assert store.finish([_ok(one) for one in first]) == 3
    assert store.finish([_ok(one) for one in first]) == 0
    assert [one.number for one in store.claim(job, 10, 60)] == [3, 4]
    assert store.claim(job, 10, 60) == []
    kept = store.job(job)
    assert kept is not None
    assert (kept.total, kept.succeeded, kept.failed, kept.waiting, kept.seconds) == (5, 3, 0, 2, 1.5)


def test_a_lease_that_has_run_out_is_given_out_again_and_the_old_one_counts_no_more(store):
    job = _job(store, 1)
    (old,) = store.claim(job, 1, 0.01)
    time.sleep(0.03)
    (new,) = store.claim(job, 1, 60)
    assert (old.attempt, new.attempt) == (1, 2)
    assert store.finish([_ok(old)]) == 0
    assert store.finish([_ok(new)]) == 1


def test_a_lease_is_prolonged(store):
    job = _job(store, 1)
    leased = store.claim(job, 1, 0.05)
    store.extend(leased, 60)
    time.sleep(0.07)
    assert store.claim(job, 1, 60) == []


def test_an_item_goes_back_to_the_queue_and_a_failed_one_keeps_its_payload(store):
    job = _job(store, 1)
    (leased,) = store.claim(job, 1, 60)
    store.finish([Outcome(leased=leased, ok=False, error="once", again=True, crash=True)])
    (again,) = store.claim(job, 1, 60)
    assert (again.attempt, again.crashes) == (2, 1)
    store.finish([Outcome(leased=again, ok=False, error="twice")])
    (kept,) = store.items(job, ItemState.FAILED)
    assert (kept.error, kept.payload, kept.attempt) == ("twice", b"0", 2)


def _lose(store: Store, job: str, limit: int, **how: bool) -> list[int]:
    """The items of a server that ends with them."""
    leased = store.claim(job, limit, 0.01, **how)
    time.sleep(0.03)
    return [one.number for one in leased]


def test_an_item_over_which_servers_end_again_and_again_fails_and_takes_no_other_with_it(store):
    job = _job(store, 6, attempts=2)
    assert _lose(store, job, 4) == [0, 1, 2, 3]
    # Whichever it is, each of them is worked on by itself now, and by nobody who has something else to lose.
    assert store.claim(job, 4, 60, alone=False) == []
    assert _lose(store, job, 4) == [0]
    assert _lose(store, job, 4) == [0]
    (again,) = store.claim(job, 4, 60)
    assert (again.number, again.lost, again.failures) == (1, 1, 0)
    kept = store.job(job)
    assert kept is not None
    assert (kept.failed, kept.waiting) == (1, 5)
    (failed,) = store.items(job, ItemState.FAILED)
    assert (failed.number, failed.payload, failed.attempt) == (0, b"0", 3)
    assert "ended 3 times" in str(failed.error)
    assert store.finish([_ok(again)]) == 1


def test_a_server_that_is_stopped_gives_its_items_back_and_no_try_is_lost(store):
    job = _job(store, 3)
    for _ in range(5):
        leased = store.claim(job, 2, 60)
        assert [one.number for one in leased] == [0, 1]
        store.give_back(leased)
    assert store.finish([_ok(one) for one in leased]) == 0
    (first, second) = store.claim(job, 2, 60)
    assert (first.attempt, first.failures, first.crashes, first.lost) == (6, 0, 0, 0)
    store.finish([Outcome(leased=first, ok=False, error="e", again=True), _ok(second)])
    assert store.claim(job, 1, 60)[0].failures == 1


def test_a_job_that_is_over_stays_as_it_is(store):
    job = _job(store, 1)
    assert store.update(job, status=JobStatus.STOPPED)
    assert not store.update(job, status=JobStatus.SUCCEEDED)
    kept = store.job(job)
    assert kept is not None
    assert (kept.status, kept.ended is not None) == (JobStatus.STOPPED, True)
    assert [one.id for one in store.jobs("a")] == [job]
    assert store.jobs(unfinished=True) == []
    store.delete(job)
    assert store.job(job) is None


def test_the_items_of_a_job_that_is_over_are_dropped_but_failed_ones_and_no_more_are_added(store):
    job, other = _job(store, 30_000), _job(store, 2)
    leased = store.claim(job, 3, 60)
    store.finish([_ok(leased[0]), Outcome(leased=leased[1], ok=False, error="bad")])
    assert store.update(job, status=JobStatus.STOPPED)
    assert store.claim(job, 9, 60) == []
    assert store.finish([_ok(leased[2])]) == 0
    assert [len(store.items(job, state)) for state in ItemState] == [0, 0, 0, 1]
    more = iter(range(40_000, 60_000))
    assert store.add(job, (Item(number=number, payload=b"") for number in more)) == 0
    assert len(list(more)) > 10_000
    assert [len(store.items(job, state)) for state in ItemState] == [0, 0, 0, 1]
    kept = store.job(job)
    assert kept is not None
    assert (kept.waiting, len(store.claim(other, 9, 60))) == (0, 2)


def test_what_a_killed_process_left_of_a_job_that_is_over_is_dropped(sqlite_store, tmp_path):
    job = _job(sqlite_store, 5)
    sqlite_store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite")) as raw:
        raw.execute("UPDATE jobs SET status = 'status_stopped'")
        raw.commit()
        SqliteJobStore(tmp_path / "jobs").close()
        assert raw.execute("SELECT count(*) FROM items WHERE job = ?", (job,)).fetchone() == (0,)


def test_an_item_is_added_once_by_its_key_and_found_by_it(store):
    store.create(Job(id="async-a", api="a", kind="AsyncAPI", status=JobStatus.RUNNING))
    assert store.append("async-a", "k", b"1", "application/json")
    assert not store.append("async-a", "k", b"2", "application/json")
    assert store.append("async-a", "l", b"3", None)
    found = store.item("async-a", "k")
    assert found is not None
    assert (found.number, found.payload, found.state) == (0, b"1", ItemState.WAITING)
    assert store.item("async-a", "m") is None
    (first, _) = store.claim("async-a", 2, 60)
    store.finish([Outcome(leased=first, ok=True, result=b"{}")])
    store.forget("async-a", time.time() + 10)
    assert store.item("async-a", "k") is None
    assert store.append("async-a", "n", b"4", None)


def test_adding_again_after_a_crash_adds_what_is_missing(store):
    job = _job(store, 3)
    store.add(job, (Item(number=number, payload=b"x") for number in range(5)))
    assert [one.payload for one in store.claim(job, 9, 60)] == [b"0", b"1", b"2", b"x", b"x"]


def test_one_process_owns_a_store(sqlite_store, tmp_path):
    with pytest.raises(LadingError) as refused:
        SqliteJobStore(tmp_path / "jobs")
    assert [problem.rule for problem in refused.value.problems] == ["jobs-in-use"]


def test_a_store_that_cannot_be_opened_is_a_problem(tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "jobs.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(LadingError) as refused:
        SqliteJobStore(tmp_path / "jobs")
    assert [problem.rule for problem in refused.value.problems] == ["jobs-not-usable"]


def test_what_was_leased_when_the_owner_ended_is_given_out_at_once_by_itself(tmp_path):
    store = SqliteJobStore(tmp_path)
    job = _job(store, 2)
    store.claim(job, 2, 3600)
    store.close()
    again = SqliteJobStore(tmp_path)
    assert [(one.number, one.attempt, one.lost) for _ in range(2) for one in again.claim(job, 2, 60)] == [(0, 2, 1), (1, 2, 1)]
    again.close()


def test_the_items_of_a_long_job_are_found_by_an_index(sqlite_store):
    job = _job(sqlite_store, 10)
    query = (
        "EXPLAIN QUERY PLAN SELECT number FROM items INDEXED BY items_open WHERE job = ? AND state IN ('in_queue', 'in_progress')"
        " AND (state = 'in_queue' OR lease < 1) ORDER BY number LIMIT 5"
    )
    plan = " ".join(row[3] for row in sqlite3.connect(sqlite_store.folder / "jobs.sqlite").execute(query, (job,)))
    assert "USING INDEX items_open (job=?)" in plan
    assert "TEMP B-TREE" not in plan


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["claim", "ok", "fail", "again", "late"]), st.integers(1, 4)), max_size=30))
def test_whatever_happens_each_item_has_one_end(steps, store):
    job = _job(store, 6)
    held: list[Leased] = []
    old: list[Leased] = []
    ends = 0
    for action, count in steps:
        if action == "claim":
            held += store.claim(job, count, 60)
        elif action == "late":
            ends += store.finish([_ok(one) for one in old])
        else:
            now, held = held[:count], held[count:]
            old += now
            ended = store.finish([Outcome(leased=one, ok=action == "ok", again=action == "again") for one in now])
            assert ended == len(now)
            ends += 0 if action == "again" else ended
    kept = store.job(job)
    assert kept is not None
    assert kept.succeeded + kept.failed == ends <= 6
    states = [len(store.items(job, state)) for state in ItemState]
    assert sum(states) == 6
    assert states[2] + states[3] == ends


def test_texts_of_any_kind_are_kept(store):
    job = _job(store, 2, config={"a": "\0\ud800", "b": ["ä", 1.5, None]})
    first, second = store.claim(job, 2, 60)
    store.finish([Outcome(leased=first, ok=True, result=b"\0\xff"), Outcome(leased=second, ok=False, error="a\0b \udc80 ä")])
    kept = store.job(job)
    assert kept is not None
    assert kept.config == {"a": "\0\ud800", "b": ["ä", 1.5, None]}
    assert store.items(job, ItemState.SUCCEEDED)[0].result == b"\0\xff"
    assert str(store.items(job, ItemState.FAILED)[0].error).endswith(" ä")


# Processes that are killed

_WORKER = """
import sys, time
from pathlib import Path
from lading.jobs.postgres import PostgresJobStore
from lading.jobs.sqlite import SqliteJobStore
from lading.jobs.store import Outcome

store = SqliteJobStore(Path(sys.argv[1]))
job, log = sys.argv[2], open(sys.argv[3], "ab", buffering=0)
while leased := store.claim(job, 4, 60):
    for one in leased:
        log.write(b"start %d %d\\n" % (one.number, one.attempt))
    outcomes = [Outcome(leased=one, ok=one.number % 7 != 0, error="seventh", again=False) for one in leased]
    counted = store.finish(outcomes)
    assert counted == len(leased)
    for one in leased:
        log.write(b"end %d %d\\n" % (one.number, one.attempt))
    time.sleep(0.0005)
log.write(b"done\\n")
"""


def check_failed(store: Store, kept: Job, items: int) -> None:
    """Every seventh item has failed, and at the most what was killed three times by chance."""
    failed = {one.number: str(one.error) for one in store.items(kept.id, ItemState.FAILED, limit=items)}
    spent = {number for number, error in failed.items() if "ended 3 times" in error}
    assert set(range(0, items, 7)) | spent == set(failed)
    assert len(spent) < 5
    assert (kept.succeeded, kept.failed, kept.waiting) == (items - len(failed), len(failed), 0)


def _kill_rounds(folder: Path, items: int, rounds: int, seed: int) -> None:
    """Kill the process that works a job off again and again; then nothing is lost, and nothing has ended twice."""
    chance = random.Random(seed)
    store = SqliteJobStore(folder / "jobs")
    job = _job(store, items)
    store.close()
    log = folder / "log"
    log.touch()
    for _ in range(rounds):
        process = subprocess.Popen([sys.executable, "-c", _WORKER, str(folder / "jobs"), job, str(log)])
        time.sleep(chance.uniform(0.1, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", _WORKER, str(folder / "jobs"), job, str(log)], check=True, timeout=120)
    store = SqliteJobStore(folder / "jobs")
    kept = store.job(job)
    assert kept is not None
    check_failed(store, kept, items)
    ended = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("end")]
    assert len(ended) == len(set(ended)), "an item has ended twice"
    started = {line.split()[1] for line in log.read_text().splitlines() if line.startswith("start")}
    assert len(started) == items, "an item never began"
    store.close()


def test_nothing_is_lost_and_nothing_ends_twice_when_the_owner_is_killed(tmp_path):
    _kill_rounds(tmp_path, 3000, 8, seed=int(os.environ.get("KILL_SEED", "7")))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_kills_lose_nothing(tmp_path):
    _kill_rounds(tmp_path, 60_000, 200, seed=int(os.environ.get("KILL_SEED", "200")))


_ADDER = """
import sys
from pathlib import Path
from lading.jobs.postgres import PostgresJobStore
from lading.jobs.sqlite import SqliteJobStore
from lading.jobs.store import Item

store = SqliteJobStore(Path(sys.argv[1]))
print("open", flush=True)
store.add(sys.argv[2], (Item(number=number, payload=b"%d" % number) for number in range(200_000)))
"""


def test_a_list_whose_adding_was_killed_is_completed_without_doubles(tmp_path):
    store = SqliteJobStore(tmp_path)
    store.create(Job(id="j", api="a", kind="BatchAPI"))
    store.close()
    with subprocess.Popen([sys.executable, "-c", _ADDER, str(tmp_path), "j"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.15)
        process.kill()
    store = SqliteJobStore(tmp_path)
    store.add("j", (Item(number=number, payload=b"%d" % number) for number in range(200_000)))
    (counted,) = sqlite3.connect(tmp_path / "jobs.sqlite").execute("SELECT count(*) FROM items").fetchone()
    assert counted == 200_000
    store.close()

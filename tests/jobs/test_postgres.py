"""The store in PostgreSQL: several servers at a time, servers that are killed, a database that restarts, and what cannot be used."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lading.jobs.postgres import PostgresJobStore
from lading.jobs.store import Item, Job, JobStatus, Leased, Outcome, StoreLostError, new_id
from lading.model.problems import LadingError
from lading.model.secrets import SecretUrl
from tests.jobs.test_store import check_failed
from tests.support import postgres

SCHEMA = "lading_tests"


def open_store(database: str) -> PostgresJobStore:
    return PostgresJobStore(SecretUrl(database), SCHEMA)


@pytest.fixture
def shared(database: str) -> Iterator[PostgresJobStore]:
    made = open_store(database)
    yield made
    made.close()


def _job(store: PostgresJobStore, count: int, **fields) -> Job:
    job = Job(id=new_id(), api="a", kind="BatchAPI", status=JobStatus.RUNNING, total=count, **fields)
    store.create(job)
    store.add(job.id, (Item(number=number, payload=b"%d" % number) for number in range(count)))
    return job


def _ok(leased: Leased) -> Outcome:
    return Outcome(leased=leased, ok=True)


def test_claims_of_several_servers_pass_by_each_other(database):
    stores = [open_store(database) for _ in range(4)]
    job = _job(stores[0], 2000)
    claimed: list[list[int]] = [[] for _ in stores]

    def work(place: int) -> None:
        while leased := stores[place].claim(job.id, 7, 60):
            claimed[place] += [one.number for one in leased]
            stores[place].finish([_ok(one) for one in leased])

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for part in claimed for number in part) == list(range(2000))
    kept = stores[0].job(job.id)
    assert kept is not None
    assert (kept.succeeded, kept.waiting) == (2000, 0)
    for one in stores:
        one.close()


def test_seats_are_shared_out_fairly_and_come_back(shared):
    job = _job(shared, 1, workers=4)
    for member in ("one", "two"):
        shared.join(member, ["a"], 60)
    shared.join("elsewhere", ["b"], 60)
    assert shared.take_seats(job, "one", 10, 60) == 2
    assert shared.take_seats(job, "two", 10, 60) == 1
    assert shared.take_seats(job, "two", 10, 60) == 1
    assert shared.take_seats(job, "one", 10, 60) == 0
    assert shared.seats() == {job.id: 4}
    shared.keep_seats("two", [job.id], 0.01)
    time.sleep(0.05)
    assert shared.seats() == {job.id: 2}
    assert shared.take_seats(job, "one", 1, 60) == 1
    shared.leave("one")
    assert shared.seats() == {}
    shared.update(job.id, status=JobStatus.STOPPED)
    assert shared.take_seats(job, "two", 10, 60) == 0


def test_one_server_owns_a_job_until_it_lets_go_or_its_time_is_over(shared):
    job = _job(shared, 1)
    assert shared.own(job.id, "one", 60)
    assert not shared.own(job.id, "two", 60)
    assert shared.own(job.id, "one", 0.01)
    time.sleep(0.05)
    assert shared.own(job.id, "two", 60)
    shared.disown(job.id, "one")
    assert not shared.own(job.id, "one", 60)
    shared.disown(job.id, "two")
    assert shared.own(job.id, "one", 60)
    shared.update(job.id, status=JobStatus.SUCCEEDED)
    assert not shared.own(job.id, "one", 60)


def test_a_submission_is_kept_until_its_items_are_there(shared, tmp_path):
    job = Job(id=new_id(), api="a", kind="BatchAPI")
    shared.create(job)
    body = random.Random(1).randbytes((2 << 20) + 5)
    (tmp_path / "body").write_bytes(body)
    shared.keep_submission(job.id, tmp_path / "body")
    assert b"".join(shared.submission(job.id)) == body
    shared.update(job.id, status=JobStatus.RUNNING)
    assert list(shared.submission(job.id)) == []


def test_projects_have_schemas_of_their_own(database):
    with contextlib.closing(open_store(database)) as one, contextlib.closing(open_store(f"{database}?schema=other")) as other:
        _job(one, 1)
        assert len(one.jobs()) == 1
        assert other.jobs() == []
        assert "(schema other)" in other.name


def test_a_broken_connection_is_replaced_unseen(shared, database):
    job = _job(shared, 1)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lading'")
    assert [one.number for one in shared.claim(job.id, 1, 60)] == [0]


def test_a_database_that_is_gone_is_told_and_used_again_when_it_is_back(tmp_path):
    reason = postgres.missing()
    if reason is not None:
        pytest.skip(reason)
    with postgres.Postgres() as server, contextlib.closing(open_store(server.database())) as store:
        job = _job(store, 1)
        (leased,) = store.claim(job.id, 1, 60)
        server.kill()
        with pytest.raises(StoreLostError) as lost:
            store.finish([_ok(leased)])
        assert postgres.PASSWORD not in str(lost.value)
        server.start()
        assert store.finish([_ok(leased)]) == 1


@pytest.mark.parametrize(
    ("change", "rule", "words"),
    [
        (lambda url: url.replace(postgres.PASSWORD, "wrong"), "jobs-database", "password authentication failed"),
        (lambda url: url.replace("127.0.0.1:", "127.0.0.1:1"), "jobs-database", "port"),
        (lambda url: url.rpartition(":")[0] + ":9/db", "jobs-database", "refused"),
        (lambda url: url + "?schema=No Schema", "jobs-url", "schema"),
        (lambda url: url + "?nonsense=1", "jobs-url", "nonsense"),
        (lambda url: url + "_not_there", "jobs-database", "does not exist"),
    ],
)
def test_what_cannot_be_used_is_a_problem_without_the_password(database, change, rule, words):
    with pytest.raises(LadingError) as refused:
        open_store(change(database))
    (problem,) = refused.value.problems
    assert problem.rule == rule
    assert words in problem.what
    text = str(problem.as_json())
    assert postgres.PASSWORD not in text
    assert "wrong" not in text


def test_tables_of_a_newer_lading_are_left_alone(shared, database):
    with psycopg.connect(f"{database}?options=-csearch_path%3D{SCHEMA}", autocommit=True) as connection:
        connection.execute("UPDATE lading SET version = 99")
    with pytest.raises(LadingError) as refused:
        open_store(database)
    assert "newer Lading" in refused.value.problems[0].what


# Servers that are killed

_WORKER = """
import sys, time
from lading.jobs.postgres import PostgresJobStore
from lading.jobs.store import Outcome, StoreLostError
from lading.model.secrets import SecretUrl

store = PostgresJobStore(SecretUrl(sys.stdin.readline().strip()), sys.argv[1])
job, log = sys.argv[2], open(sys.argv[3], "ab", buffering=0)
while True:
    try:
        leased = store.claim(job, 4, 1.5)
    except StoreLostError:
        time.sleep(0.1)
        continue
    if not leased:
        now = store.job(job)
        if not now.waiting:
            break
        time.sleep(0.05)
        continue
    log.write(b"".join(b"start %d %d\\n" % (one.number, one.attempt) for one in leased))
    outcomes = [Outcome(leased=one, ok=one.number % 7 != 0, error="seventh", again=False) for one in leased]
    while True:
        try:
            counted = store.finish(outcomes)
            break
        except StoreLostError:
            time.sleep(0.1)
    if counted == len(leased):
        log.write(b"".join(b"end %d %d\\n" % (one.number, one.attempt) for one in leased))
    time.sleep(0.0005)
"""


def _start_worker(database: str, job: str, log: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", _WORKER, SCHEMA, job, str(log)], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(database.encode() + b"\n")
    process.stdin.close()
    return process


def _check_ends(store: PostgresJobStore, job: Job, items: int, log: Path) -> None:
    kept = store.job(job.id)
    assert kept is not None
    check_failed(store, kept, items)
    words = [line.split() for line in log.read_text().splitlines()]
    ended = [number for what, number, _attempt in words if what == "end"]
    assert len(ended) == len(set(ended)), "an item has ended twice"
    assert len({number for what, number, _attempt in words if what == "start"}) == items, "an item never began"


def _kill_rounds(database: str, folder: Path, items: int, rounds: int, seed: int) -> None:
    """Three processes work a job off; one after the other is killed and replaced. Nothing is lost, nothing ends twice."""
    chance = random.Random(seed)
    log = folder / "log"
    log.touch()
    with contextlib.closing(open_store(database)) as store:
        job = _job(store, items)
        processes = [_start_worker(database, job.id, log) for _ in range(3)]
        for number in range(rounds):
            time.sleep(chance.uniform(0.15, 0.4))
            processes[number % 3].kill()
            processes[number % 3].wait()
            processes[number % 3] = _start_worker(database, job.id, log)
        for process in processes:
            assert process.wait(120) == 0
        _check_ends(store, job, items, log)


def test_nothing_is_lost_and_nothing_ends_twice_when_servers_are_killed(database, tmp_path):
    _kill_rounds(database, tmp_path, 5000, 6, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_kills_lose_nothing(database, tmp_path):
    _kill_rounds(database, tmp_path, 60_000, 100, seed=100)


@pytest.mark.slow
def test_nothing_is_lost_when_the_database_crashes_and_restarts(tmp_path):
    reason = postgres.missing()
    if reason is not None:
        pytest.skip(reason)
    log = tmp_path / "log"
    log.touch()
    with postgres.Postgres() as server:
        database = server.database()
        with contextlib.closing(open_store(database)) as store:
            job = _job(store, 4000)
            processes = [_start_worker(database, job.id, log)]
            while log.stat().st_size == 0:
                time.sleep(0.01)
            for _ in range(2):
                time.sleep(0.3)
                server.kill()
                time.sleep(0.2)
                server.start()
            for process in processes:
                assert process.wait(120) == 0
            kept = store.job(job.id)
    assert kept is not None
    assert kept.succeeded + kept.failed == 4000
    assert kept.failed == len(range(0, 4000, 7))

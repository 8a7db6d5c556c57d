"""What the store of jobs in PostgreSQL gives: items added, and claimed and finished by several processes, in batches of 16 as servers do.

    python benchmarks/cluster/postgres_jobs.py [--items 50000] [--servers 1,2,4]

The store in SQLite is shown beside it, with one process, which is all that it takes. Each commit is synced to disk in both.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.support import postgres

from lading.jobs.opening import open_store
from lading.jobs.store import Item, Job, JobStatus, new_id

_WORKER = """
import os, sys
from pathlib import Path
from lading.jobs.opening import open_store
from lading.jobs.store import Outcome

store = open_store(Path(sys.argv[1]), "bench", os.environ)
while leased := store.claim(sys.argv[2], 16, 60):
    store.finish([Outcome(leased=one, ok=True, result=b"{}") for one in leased])
"""


def measure(place: str, folder: Path, items: int, servers: int) -> tuple[float, float]:
    """Items added, and items worked off, per second."""
    environ = {"LADING_JOBS": place}
    store = open_store(folder, "bench", environ)
    job = new_id()
    store.create(Job(id=job, api="a", kind="BatchAPI", status=JobStatus.RUNNING, total=items))
    before = time.perf_counter()
    store.add(job, (Item(number=number, payload=b'[{"text": "a short text"}]') for number in range(items)))
    added = items / (time.perf_counter() - before)
    store.close()
    command = [sys.executable, "-c", _WORKER, str(folder), job]
    before = time.perf_counter()
    workers = [subprocess.Popen(command, env={**environ, "PATH": ""}) for _ in range(servers)]
    for worker in workers:
        assert worker.wait() == 0
    done = items / (time.perf_counter() - before)
    store = open_store(folder, "bench", environ)
    kept = store.job(job)
    assert kept is not None
    assert kept.succeeded == items
    store.close()
    return added, done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--servers", default="1,2,4")
    options = parser.parse_args()
    reason = postgres.missing()
    if reason is not None:
        raise SystemExit(reason)
    print(f"{'store':>10} {'servers':>8} {'added/s':>9} {'done/s':>9}")
    with tempfile.TemporaryDirectory() as place, postgres.Postgres() as server:
        added, done = measure("", Path(place), options.items, 1)
        print(f"{'SQLite':>10} {1:8} {added:9.0f} {done:9.0f}")
        for count in map(int, options.servers.split(",")):
            added, done = measure(server.database(), Path(place), options.items, count)
            print(f"{'PostgreSQL':>10} {count:8} {added:9.0f} {done:9.0f}")


if __name__ == "__main__":
    main()

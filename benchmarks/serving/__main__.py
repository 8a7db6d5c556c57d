"""Lading beside other prediction servers, on this machine, in one go: good answers per second, p99, start-up, memory.

    python benchmarks/serving [--servers NAME,...] [--workloads NAME,...] [--connections 1,16,64] [--seconds N] [--rounds N] [--json FILE]

Each peer lives in a virtual environment of its own under ``--cache``, made from the package index the first time; one that cannot be
installed is left out, with the reason. All servers take their turn in each round, and the medians of the rounds count. The machine
should have nothing else to do; ``chrt -r 10 python benchmarks/serving`` (as root, Linux) keeps most of the rest out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import workloads
from load import Load, drive, driver
from report import print_goals, print_table
from running import running
from servers import SERVERS, Server, install


@dataclass(frozen=True)
class Round:
    """What one server gave in one round of one workload: a load for each number of connections. Memory is in MB, start in seconds."""

    loads: dict[int, Load]
    start: float
    memory: float
    processes: int


def measure(server: Server, environment: Path, workload: str, options: argparse.Namespace) -> Round:
    """One round."""
    request = workloads.make(workload, server.dialects.get(workload, server.dialect))
    with running(server, environment, workload, request) as one:
        memory, processes = one.memory()
        drive(one.port, server.path, request, 16, 1)  # warm
        loads = {count: drive(one.port, server.path, request, count, options.seconds) for count in options.connections}
    return Round(loads, one.start, memory, processes)


def median(rounds: list[Round]) -> Round:
    """The medians of several rounds."""
    middle = statistics.median
    loads = {
        count: Load(*(middle(getattr(one.loads[count], name) for one in rounds) for name in ("good", "bad", "p50", "p99")))
        for count in rounds[0].loads
    }
    return Round(loads, middle(one.start for one in rounds), middle(one.memory for one in rounds), rounds[0].processes)


def main() -> None:
    """Measure and print."""
    options = _options()
    environments: dict[str, Path] = {}
    for server in options.servers:
        try:
            environments[server.name] = install(server, options.cache)
        except (RuntimeError, OSError) as error:
            print(f"{server.title} is left out: it cannot be installed here: {error}", file=sys.stderr)
    print(f"load by {driver()}; {len(os.sched_getaffinity(0))} cores; medians of {options.rounds} rounds of {options.seconds:g} s")
    results: dict[str, dict[str, Round]] = {}
    for workload in options.workloads:
        results[workload] = _workload(workload, environments, options)
        print_table(workload, results[workload], options.connections)
        if options.json:
            plain = {name: {key: asdict(one) for key, one in found.items()} for name, found in results.items()}
            options.json.write_text(json.dumps(plain, indent=1))
    print_goals(results, options.connections)


def _workload(workload: str, environments: dict[str, Path], options: argparse.Namespace) -> dict[str, Round]:
    rounds: defaultdict[str, list[Round]] = defaultdict(list)
    failed: set[str] = set()
    for _ in range(options.rounds):
        for server in options.servers:
            if server.name not in environments or workload not in server.workloads or server.name in failed:
                continue
            try:
                rounds[server.name].append(measure(server, environments[server.name], workload, options))
            except RuntimeError as error:
                failed.add(server.name)
                print(f"{server.title} is left out of {workload}: {error}", file=sys.stderr)
    return {name: median(found) for name, found in rounds.items() if name not in failed}


def _options() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lading-benchmarks" / "serving"
    known = {server.name: server for server in SERVERS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=lambda text: _named(text, known), default=list(SERVERS), metavar="NAME,...")
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=list(workloads.NAMES), metavar="NAME,...")
    parser.add_argument("--connections", type=lambda text: [int(part) for part in text.split(",")], default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each number of connections (default: 3)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=cache, help=f"where the peers' environments are (default: {cache})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there, too")
    return parser.parse_args()


def _named(text: str, known: dict[str, Server]) -> list[Server]:
    unknown = [name for name in text.split(",") if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no server {unknown[0]}; there are {', '.join(known)}")
    return [known[name] for name in text.split(",")]


if __name__ == "__main__":
    main()

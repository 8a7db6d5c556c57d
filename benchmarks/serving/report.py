"""The table, and whether each goal is met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from servers import SERVERS
from workloads import TITLES

if TYPE_CHECKING:
    from __main__ import Round

_TITLES = {server.name: server.title for server in SERVERS}
_PEERS = [server.name for server in SERVERS if server.peer and not server.ours]
_FAIR = 0.01  # a server that refuses more than this share of its requests is quick in vain: its p99 is no measure
_MEMORY = 80.0
# Good answers per second, as multiples of Cog's and of the best peer's, by number of connections.
_RATES = {1: (3.0, 2.0), 16: (10.0, 3.0), 64: (10.0, 3.0)}


def print_table(workload: str, results: Mapping[str, Round], connections: Sequence[int]) -> None:
    """One workload."""
    print(f"\n{TITLES[workload]}")
    heads = "".join(f"{f'good/s at {count}':>14}" for count in connections) + "".join(
        f"{f'p99 ms at {count}':>14}" for count in connections
    )
    print(f"  {'server':30}{heads}{'bad':>8}{'start s':>9}{'PSS MB':>13}")
    for name, one in results.items():
        rates = "".join(f"{one.loads[count].good:14,.0f}" for count in connections)
        times = "".join(f"{one.loads[count].p99:14.2f}" for count in connections)
        bad = max(load.bad for load in one.loads.values())
        print(f"  {_TITLES[name]:30}{rates}{times}{bad:8.1%}{one.start:9.2f}{f'{one.memory:.0f} ({one.processes})':>13}")


def print_goals(results: Mapping[str, Mapping[str, Round]], connections: Sequence[int]) -> None:
    """Every goal that these results can tell of."""
    print("\nGoals")
    for what, value, wanted, met in _goals(results, connections):
        print(f"  {'met    ' if met else 'NOT met'}  {what:58} {value:>12}  wanted {wanted}")


def _goals(results: Mapping[str, Mapping[str, Round]], connections: Sequence[int]) -> Iterator[tuple[str, str, str, bool]]:
    for workload, found in results.items():
        peers = {name: found[name] for name in _PEERS if name in found}
        if "lading" not in found or not peers:
            continue
        # Where predictions must overlap, the peers' threads are compared with ours.
        ours = found.get("lading-threads", found["lading"])
        for count in connections:
            yield from _rate_goals(workload, count, ours, peers)
            fair = {name: one.loads[count] for name, one in peers.items() if one.loads[count].bad < _FAIR}
            if fair:
                best = min(fair, key=lambda name: fair[name].p99)
                mine, other = ours.loads[count].p99, fair[best].p99
                what = f"{workload}, {count}: p99 beside the best ({_TITLES[best]})"
                yield what, f"{mine:.2f} ms", f"<= {other:.2f} ms", mine <= other
    empty = results.get("echo", {})
    if "lading" in empty and "cog" in empty:
        mine, other = empty["lading"].start, empty["cog"].start
        yield "start to the first answer, beside Cog's", f"{mine:.2f} s", f"<= {other:.2f} s", mine <= other
    if "lading" in empty:
        yield (
            "memory of front and worker, empty model",
            f"{empty['lading'].memory:.0f} MB",
            f"< {_MEMORY:.0f} MB",
            empty["lading"].memory < _MEMORY,
        )


def _rate_goals(workload: str, count: int, ours: Round, peers: Mapping[str, Round]) -> Iterator[tuple[str, str, str, bool]]:
    rate = ours.loads[count].good
    best = max(peers, key=lambda name: peers[name].loads[count].good)
    ratio = rate / max(peers[best].loads[count].good, 1e-9)
    if workload in ("echo", "matmul") and count in _RATES:
        beside_cog, beside_best = _RATES[count]
        if "cog" in peers:
            cog = rate / max(peers["cog"].loads[count].good, 1e-9)
            yield f"{workload}, {count}: good answers beside Cog's", f"{cog:.1f} x", f">= {beside_cog:g} x", cog >= beside_cog
        yield (
            f"{workload}, {count}: beside the best peer's ({_TITLES[best]})",
            f"{ratio:.1f} x",
            f">= {beside_best:g} x",
            ratio >= beside_best,
        )
    else:
        yield f"{workload}, {count}: beside the best peer's ({_TITLES[best]})", f"{ratio:.1f} x", "> 1 x", ratio > 1

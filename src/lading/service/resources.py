"""``compute`` and ``shm_size`` on one machine: GPUs are shared out among the APIs, and what is limited, and what is not, is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lading.model.cluster import Limits
from lading.model.decisions import Decision, Kind
from lading.model.service import ServedApi, ServiceSpec
from lading.service.limits import CPU, MEMORY, Hierarchies

DEVICES = "CUDA_VISIBLE_DEVICES"
_SHARED = Path("/dev/shm")  # noqa: S108 - the kernel's, where shared memory is
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def without_limits(spec: ServiceSpec) -> ServiceSpec:
    """The service with workers that may use all of the machine, whatever ``compute`` says."""

    def free(api: ServedApi) -> ServedApi:
        compute = replace(api.cluster.compute, written=())
        return replace(api, cluster=replace(api.cluster, compute=compute), worker=replace(api.worker, limits=Limits()))

    return spec.each(free, training=False)


def share_gpus(spec: ServiceSpec, environ: Mapping[str, str], count: Callable[[], int]) -> ServiceSpec:
    """Let each API that asks for GPUs see as many, others than its neighbours' while there are some.

    ``count`` tells how many this machine has; ``CUDA_VISIBLE_DEVICES``, where it is set, which of them count.
    """
    if not any(_asks_for_gpus(api) for api in (*spec.apis, *spec.job_apis)):
        return spec
    named = environ.get(DEVICES)
    devices = [str(number) for number in range(count())] if named is None else [one.strip() for one in named.split(",") if one.strip()]
    turn = 0

    def shared(api: ServedApi) -> ServedApi:
        nonlocal turn
        if not devices or not _asks_for_gpus(api) or DEVICES in api.worker.env:
            return api
        wanted = min(api.cluster.compute.gpu, len(devices))
        chosen = [devices[(turn + offset) % len(devices)] for offset in range(wanted)]
        turn += wanted
        return replace(api, worker=replace(api.worker, env={**api.worker.env, DEVICES: ",".join(chosen)}))

    return spec.each(shared, training=False)


def _asks_for_gpus(api: ServedApi) -> bool:
    return api.cluster.compute.gpu > 0 and "gpu" in api.cluster.compute.written


def told(spec: ServiceSpec, hierarchies: Hierarchies | None = None, shared: Path = _SHARED) -> list[Decision]:
    """What becomes of the ``compute`` and ``shm_size`` of each API on this machine."""
    asking = [api for api in (*spec.apis, *spec.job_apis) if api.cluster.compute.asks]
    found = hierarchies or Hierarchies.read() if asking else Hierarchies(None, None, {})
    return [decision for api in asking for decision in _told(api, found, shared)]


def _told(api: ServedApi, found: Hierarchies, shared: Path) -> Iterator[Decision]:
    compute, limits = api.cluster.compute, api.worker.limits
    places = found.places_for([name for name, value in ((MEMORY, limits.memory), (CPU, limits.cpu)) if value is not None])
    held: list[str] = []
    free: list[str] = []
    if limits.memory is not None and compute.memory is not None:
        text = f"mem {size(compute.memory)}"
        (held if MEMORY in places else free).append(text)
    if limits.cpu is not None:
        text = f"cpu {compute.cpu:g}"
        (held if CPU in places or limits.cpu < _processors() else free).append(text)
    if held:
        yield _limited_to(api, held)
    if free:
        yield _not_limited(api, free)
    if _asks_for_gpus(api):
        yield _gpus(api)
    if compute.shared_memory is not None:
        yield _shared_memory(api, compute.shared_memory, shared)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limited_to(api: ServedApi, texts: Sequence[str]) -> Decision:
    several = api.processes > 1
    return Decision(
        rule="compute-limited",
        kind=Kind.KEPT,
        subject=api.name,
        asked=f"{api.name}: compute: {', '.join(texts)}",
        chose="a limit" + (f" that its {api.processes} processes share evenly" if several else " for its process and what that starts"),
        because="it is written in the configuration; Cortex's local environment limited it, too",
        instead="--no-limits",
    )


def _not_limited(api: ServedApi, texts: Sequence[str]) -> Decision:
    return Decision(
        rule="compute-not-limited",
        kind=Kind.ADVICE,
        subject=api.name,
        asked=f"{api.name}: compute: {', '.join(texts)}",
        chose="no limit",
        because="this user may make no control groups that limit it on this machine",
        instead="systemd-run --user --scope -p Delegate=yes lading serve, an image in a container, or --no-limits to hear no more of it",
    )


def _gpus(api: ServedApi) -> Decision:
    wanted, seen = api.cluster.compute.gpu, api.worker.env.get(DEVICES)
    devices = [one for one in (seen or "").split(",") if one]
    enough = len(devices) >= wanted
    return Decision(
        rule="gpus-shared-out",
        kind=Kind.CHOSEN if enough else Kind.ADVICE,
        subject=api.name,
        asked=f"{api.name}: compute: gpu {wanted}",
        chose=f"{DEVICES}={seen}" if devices else "no GPU",
        because="each API sees as many GPUs as it asks for" if enough else f"this machine has {len(devices) or 'none'}",
        instead=f"{DEVICES} under predictor.env" if enough else None,
    )


def _shared_memory(api: ServedApi, wanted: int, shared: Path) -> Decision:
    there = _size_of(shared)
    enough = there >= wanted
    return Decision(
        rule="shm-size",
        kind=Kind.KEPT if enough else Kind.ADVICE,
        subject=api.name,
        asked=f"{api.name}: shm_size {size(wanted)}",
        chose=f"{size(there)}, the machine's /dev/shm" if there else "no /dev/shm",
        because="shared memory belongs to the whole machine" if enough else "a process cannot make the machine's shared memory larger",
        instead=None if enough else f"mount -o remount,size={wanted} /dev/shm, or the container's --shm-size",
    )


def _size_of(shared: Path) -> int:
    try:
        found = os.statvfs(shared)
    except OSError:
        return 0
    return found.f_blocks * found.f_frsize


def size(number: int) -> str:
    """A number of bytes for a person: ``2 GiB``."""
    unit, factor = next(((unit, factor) for unit, factor in _UNITS if number >= factor), ("bytes", 1))
    return f"{number / factor:.4g} {unit}"

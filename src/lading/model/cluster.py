"""What a project says of the machines that serve it: Cortex's ``compute``, ``autoscaling`` and ``update_strategy``."""

from __future__ import annotations

from lading.model.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What one replica asks for: ``cpu`` in cores, ``memory`` and ``shared_memory`` in bytes, ``gpu`` in whole devices.

    None asks for nothing. The default of ``cpu`` is Cortex's. ``written`` are the keys that the project writes itself: on one machine
    those alone are limits, as in Cortex's local environment (0.16 to 0.25).
    """

    cpu: float | None = 0.2
    memory: int | None = None
    gpu: int = 0
    shared_memory: int | None = None
    written: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether the project says something that counts on one machine."""
        return bool(self.written) or self.shared_memory is not None

    def limits(self, processes: int) -> Limits:
        """What each of so many processes of a replica may use: an equal share."""
        cpu = self.cpu if "cpu" in self.written else None
        memory = self.memory if "mem" in self.written else None
        return Limits(cpu=None if cpu is None else cpu / processes, memory=None if memory is None else memory // processes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a process and all that it starts may use together: ``cpu`` in cores, ``memory`` in bytes; None for no limit."""

    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaling:
    """How many replicas there are, with Cortex's names and defaults (pkg/types/userconfig, ``Autoscaling``); durations in seconds.

    ``target_concurrency`` is how many requests each replica should have in flight, None as many as it works on at a time
    (processes times threads); ``max_concurrency`` how many it may. A factor bounds one change of the number of replicas, a tolerance is
    how far the target may be missed without one.
    """

    min_replicas: int = 1
    max_replicas: int = 100
    initial_replicas: int | None = None
    max_concurrency: int = 1024
    target_concurrency: float | None = None
    window: float = 60.0
    downscale_stabilization: float = 300.0
    upscale_stabilization: float = 60.0
    max_downscale_factor: float = 0.75
    max_upscale_factor: float = 1.5
    downscale_tolerance: float = 0.05
    upscale_tolerance: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStrategy:
    """How many replicas an update may have too many (``max_surge``) and too few: a number, or a percentage as ``25%``."""

    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """All of it for one API. ``autoscaling`` None: the project says nothing, and one replica serves it."""

    compute: Compute = field(default_factory=Compute)
    autoscaling: Autoscaling | None = None
    update: UpdateStrategy = field(default_factory=UpdateStrategy)

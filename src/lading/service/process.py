"""One worker process: how it is started, how it is killed with all its descendants, how its end is told.

Standard library only and quick to import: the model begins to load before the front loads its HTTP server.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.model.cluster import Limits
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.service import WorkerSpec
from lading.service.descendants import VARIABLE, ControlGroup, kill_marked
from lading.service.frames import Kind, encode_json
from lading.service.guard import GUARD
from lading.service.shared import make_region

if TYPE_CHECKING:
    from lading.service.limits import LimitGroup

_OWN = frozenset({"LADING_JOBS"})
"""Where the server keeps jobs, which may hold a password: no business of a model, whoever set it."""
# What another environment that happens to be active would leak into the model's.
_LEAKS = _OWN | frozenset(
    {
        "CONDA_DEFAULT_ENV",
        "CONDA_EXE",
        "CONDA_PREFIX",
        "CONDA_PROMPT_MODIFIER",
        "CONDA_PYTHON_EXE",
        "CONDA_SHLVL",
        "PYTHONEXECUTABLE",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "VIRTUAL_ENV",
        "VIRTUAL_ENV_PROMPT",
        "__PYVENV_LAUNCHER__",
    }
)


@dataclass(slots=True, eq=False)
class Child:
    """A started worker process and our ends of its sockets and pipes (all non-blocking).

    ``unsent`` is what did not fit the control socket at once; the event loop sends it. By ``mark`` and ``group`` its descendants are
    found. ``regions`` are the descriptors of memory for large bodies, one for each slot, or none; ``places`` the calls of one slot that
    run together. ``limits`` hold the process to what it may use; ``unlimited`` says what they could not be set for, and why; ``out_of`` is
    the memory, in bytes, that it was killed for using up.
    """

    process: subprocess.Popen[bytes]
    control: socket.socket
    slots: tuple[socket.socket, ...]
    outputs: tuple[int, int]
    unsent: bytes = b""
    mark: str = ""
    group: ControlGroup | None = None
    regions: tuple[int, ...] = ()
    places: int = 1
    limits: LimitGroup | None = None
    unlimited: tuple[str, ...] = ()
    out_of: int | None = None

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's."""
        return self.process.pid

    def close(self) -> None:
        """Close our ends; safe to call twice."""
        for end in (self.control, *self.slots):
            end.close()
        for number in (*self.outputs, *self.regions):
            with contextlib.suppress(OSError):
                os.close(number)
        self.outputs, self.regions = (-1, -1), ()

    def kill(self) -> None:
        """Kill the process and its whole group. Nothing happens if it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the end of the process, then kill what it has left behind; returns as `subprocess.Popen.wait`."""
        if hasattr(os, "waitid"):
            # The ended process stays unreaped while its group is killed, so that its id cannot belong to somebody else yet.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
                self.kill()
        returncode = self.process.wait()
        limits, self.limits = self.limits, None
        if limits is not None:
            self.out_of = limits.used_up()
            limits.end()
            for number in range(len(limits.groups)):
                GUARD.forget(f"{self.mark}:{number}")
        group, self.group = self.group, None
        if group is not None:
            group.end()
        if self.mark:
            kill_marked(self.mark)
            GUARD.forget(self.mark)
            self.mark = ""
        return returncode


def batching_of(spec: WorkerSpec) -> Mapping[str, Any] | None:
    """How the predictor wants its calls in batches: ``max_batch_size`` and ``max_latency`` (seconds); None if one by one."""
    if spec.signature is not None:
        return spec.signature.get("batched")
    return spec.cortex.get("batching")


def places_of(spec: WorkerSpec) -> int:
    """How many calls of one slot run together, as a batch."""
    batching = batching_of(spec)
    return 1 if batching is None else int(batching["max_batch_size"])


def slots_of(spec: WorkerSpec) -> int:
    """How many predictions one process runs at a time: its threads, or what ``@cog.concurrent(max=N)`` says; batches, one."""
    if batching_of(spec) is not None:
        return 1
    concurrent = (spec.signature or {}).get("concurrent", 1)
    return max(1, spec.threads, concurrent if isinstance(concurrent, int) else 1)


def spawn(spec: WorkerSpec, main: str | None = None) -> Child:
    """Start a worker and send it LOAD. Must run in a thread that lives as long as the worker (Linux ends it with its thread).

    ``main`` is the worker program; None means ``lading_worker`` beside this package.

    Raises:
        LadingError: if the interpreter or the project's folder is not there.
    """
    ours: list[socket.socket] = []
    theirs: list[socket.socket] = []
    for _ in range(1 + slots_of(spec)):
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        mine.setblocking(False)
        ours.append(mine)
        theirs.append(other)
    out, err = os.pipe(), os.pipe()
    mark = os.urandom(8).hex()
    GUARD.worker(mark)
    regions = _make_regions(len(ours) - 1)
    try:
        process = _popen(spec, main or _worker_main(), theirs, (out[1], err[1]), regions, mark=mark)
    except OSError as error:
        for end in ours:
            end.close()
        for number in (out[0], err[0], *regions):
            os.close(number)
        GUARD.forget(mark)
        raise LadingError(_start_problem(spec, error)) from error
    finally:
        for end in theirs:
            end.close()
        os.close(out[1])
        os.close(err[1])
    for pipe in (out[0], err[0]):
        os.set_blocking(pipe, False)
    group = ControlGroup.make(mark, process.pid)
    GUARD.worker(mark, process.pid, group)
    child = Child(process, ours[0], tuple(ours[1:]), (out[0], err[0]), mark=mark, group=group, regions=regions, places=places_of(spec))
    if spec.limits != Limits():
        _limit(child, spec.limits)
    _send(child, _load_frame(spec))
    return child


def _limit(child: Child, limits: Limits) -> None:
    """Hold a worker that was just started to its limits, as far as the system lets us."""
    from lading.service.limits import CPU, LimitGroup, keep_to_processors  # noqa: PLC0415 - few projects have limits

    child.limits = LimitGroup.make(child.mark, child.pid, limits)
    for number, group in enumerate(child.limits.groups):
        GUARD.worker(f"{child.mark}:{number}", group=group)
    failed = child.limits.failed
    if limits.cpu is not None and CPU not in child.limits.limited and keep_to_processors(child.pid, limits.cpu, int(child.mark[:4], 16)):
        failed.pop(CPU, None)
    child.unlimited = tuple(f"compute.{'cpu' if name == CPU else 'mem'} ({why})" for name, why in failed.items())


def _make_regions(count: int) -> tuple[int, ...]:
    """Memory for large bodies, for all slots or for none."""
    regions = [number for number in (make_region() for _ in range(count)) if number is not None]
    if len(regions) == count:
        return tuple(regions)
    for number in regions:
        os.close(number)
    return ()


def _popen(
    spec: WorkerSpec, main: str, ends: list[socket.socket], outputs: tuple[int, int], regions: tuple[int, ...], *, mark: str
) -> subprocess.Popen[bytes]:
    numbers = [end.fileno() for end in ends]
    command = [spec.python, "-u", main, "--control", str(numbers[0]), "--slots", ",".join(map(str, numbers[1:])), "--output", "1,2"]
    if regions:
        command += ["--shared", ",".join(map(str, regions))]
    return subprocess.Popen(
        command,
        cwd=spec.root,
        env={**environment_of(spec, os.environ), VARIABLE: mark},
        stdin=subprocess.DEVNULL,
        stdout=outputs[0],
        stderr=outputs[1],
        pass_fds=[*numbers, *regions],
        start_new_session=True,
    )


def _load_frame(spec: WorkerSpec) -> bytes:
    load: dict[str, Any] = {
        "root": spec.root,
        "style": str(spec.style),
        "file": spec.file,
        "object": spec.object,
        "config": dict(spec.config),
        "python_path": spec.python_path,
        "signature": None if spec.signature is None else dict(spec.signature),
        "log_level": spec.log_level,
        "upload_url": spec.upload_url,
        "batching": batching_of(spec),
        "cortex": dict(spec.cortex),
        **({"watched": True} if spec.watched else {}),
    }
    return encode_json(Kind.LOAD, 0, load)


def _send(child: Child, frame: bytes) -> None:
    # A worker that is gone already is noticed by its exit.
    sent = 0
    with contextlib.suppress(OSError):
        sent = child.control.send(frame)
    child.unsent = frame[sent:]


def environment_of(spec: WorkerSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment variables: ours, without other Pythons' leaks, the environment's ``bin`` first, then the spec's own."""
    left_out = {*_LEAKS, *spec.unset}
    variables = {name: value for name, value in environ.items() if name not in left_out}
    folder = str(Path(spec.python).parent)
    variables["PATH"] = os.pathsep.join(part for part in (folder, variables.get("PATH", os.defpath)) if part)
    variables["PYTHONNOUSERSITE"] = "1"
    if spec.limits.cpu is not None:
        # More threads than processors would only wait for each other.
        variables.setdefault("OMP_NUM_THREADS", str(max(1, math.ceil(spec.limits.cpu))))
    variables.update((name, value) for name, value in spec.env.items() if name not in _OWN)
    return variables


def _worker_main() -> str:
    # Beside the package, in a checkout as in an installed wheel; found without importing it.
    return str(Path(__file__).parent.parent.parent / "lading_worker" / "__main__.py")


def _start_problem(spec: WorkerSpec, error: OSError) -> Problem:
    if not Path(spec.root).is_dir():
        return Problem(rule="project-missing", what=f"The project's folder {spec.root} is not there.", code=ExitCode.USAGE)
    return Problem(
        rule="worker-not-started",
        what=f"The model's process could not be started: {error.strerror or error}.",
        why=f"Its interpreter is {spec.python}.",
        instead="Build the environment again with `lading install`.",
        code=ExitCode.USAGE,
    )


_SIGNAL_MEANS = {
    signal.SIGSEGV: "a crash in native code",
    signal.SIGBUS: "a crash in native code",
    signal.SIGILL: "an instruction that this CPU lacks",
    signal.SIGFPE: "an arithmetic error in native code",
    signal.SIGABRT: "native code gave up",
}


def describe_exit(returncode: int, *, killed_by_us: bool = False, out_of: int | None = None) -> str:
    """How a process ended, as the second half of a sentence.

    ``returncode`` is as `subprocess.Popen.returncode`; ``out_of`` the memory, in bytes, that it was killed for using up.
    """
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    if returncode == -signal.SIGKILL and out_of is not None:
        return f"was killed (SIGKILL): it ran out of memory; its limit (compute.mem) is {out_of / (1 << 20):,.0f} MiB"
    if returncode == -signal.SIGKILL and not killed_by_us:
        return "was killed (SIGKILL) from outside; most probably the machine or container ran out of memory"
    try:
        number = signal.Signals(-returncode)
    except ValueError:
        return f"was ended by signal {-returncode}"
    means = _SIGNAL_MEANS.get(number)
    return f"was ended by {number.name}{f' ({means})' if means else ''}"

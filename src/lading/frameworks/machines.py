"""What a CUDA build of torch asks of the machine that it runs on, and whether the machine at hand has it."""

from __future__ import annotations

from lading.frameworks.choice import Context
from lading.frameworks.family import Label
from lading.frameworks.gpus import capabilities, driver_floor, has_kernels, newest_label, runs_build, spoken_gpus
from lading.frameworks.labels import CPU, cuda_first, cuda_version, spoken
from lading.frameworks.releases import known, releases
from lading.model.decisions import Decision, Kind
from lading.model.target import Machine


def about_gpus(label: Label, context: Context) -> list[Decision]:
    """What a CUDA build asks of the machine, and whether this one has it."""
    floor = driver_floor(label.name)
    if floor is None:
        return []
    subject = f"torch {label.release}+{label.name}" if label.release else f"torch, build {label.name},"
    found = [
        Decision(
            rule="gpu-needs",
            kind=Kind.KEPT,
            subject="torch",
            asked=f"{subject} on a GPU",
            chose=f"an NVIDIA driver {floor} or newer{_spoken_capabilities(label)}",
            because=f"this is what {spoken(label.name)} builds need where they run",
        )
    ]
    return [*found, *_about_machine(label, subject, floor, context)]


def _spoken_capabilities(label: Label) -> str:
    known_ones = capabilities(label.release, label.name) if label.release else None
    if known_ones is None:
        return ""
    cubins, ptx = known_ones
    newer = f", and newer than {ptx[-1]} by compiling at the start" if ptx else ""
    return f", and a GPU of compute capability {', '.join(cubins)}{newer}"


def _about_machine(label: Label, subject: str, floor: str, context: Context) -> list[Decision]:
    machine = context.machine
    if machine is None:
        return []
    if machine.driver is None:
        return [_not_here(subject)] if not context.explicit and context.target.accelerator != CPU else []
    found = [] if runs_build(machine.driver, label.name) else [_driver_too_old(label, subject, floor, machine.driver)]
    if label.release and has_kernels(label.release, label.name, machine.gpus) is False:
        found.append(_no_kernels(label, subject, machine))
    return found


def _not_here(subject: str) -> Decision:
    return Decision(
        rule="gpu-not-here",
        kind=Kind.ADVICE,
        subject="torch",
        asked=f"{subject} on this machine",
        chose="as asked",
        because="no NVIDIA driver was found here, so torch runs on the CPU; the lock was made for a machine with a GPU",
        instead="--accelerator cpu, for a lock of this machine's own",
    )


def _driver_too_old(label: Label, subject: str, floor: str, driver: str) -> Decision:
    return Decision(
        rule="gpu-driver-too-old",
        kind=Kind.ADVICE,
        subject="torch",
        asked=f"{subject} on this machine",
        chose="as asked",
        because=f"the driver here is {driver}, and {spoken(label.name)} needs {floor} or newer: torch will find no GPU",
        instead=f"a newer driver, or {_for_driver(label, driver)}",
    )


def _no_kernels(label: Label, subject: str, machine: Machine) -> Decision:
    return Decision(
        rule="gpu-no-kernels",
        kind=Kind.ADVICE,
        subject="torch",
        asked=f"{subject} on {spoken_gpus(machine.gpus)}",
        chose="as asked",
        because="this build has no code for that GPU, so the first operation on it fails (no kernel image is available)",
        instead=_with_code(label, machine),
    )


def _for_driver(label: Label, driver: str) -> str:
    """The build of the same release that a driver runs, else the accelerator to ask for."""
    row = known(label.release) if label.release else None
    runs = [one for one in cuda_first(row.labels) if cuda_version(one) and runs_build(driver, one)] if row else []
    return f"torch=={row.version}+{runs[0]}" if row and runs else f"--accelerator {newest_label(driver) or CPU}"


def _with_code(label: Label, machine: Machine) -> str:
    for row in reversed(releases()):
        for one in cuda_first(row.labels):
            if has_kernels(row.version, one, machine.gpus):
                return f"torch=={row.version}+{one}, the newest known build with code for it"
    return f"another build than {label.name}"

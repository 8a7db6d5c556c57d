"""What a CUDA build of torch asks of the machine that it runs on, and whether the machine at hand has it."""

from __future__ import annotations

from lading.frameworks.choice import Context
from lading.frameworks.family import Label
from lading.frameworks.gpus import capabilities, driver_floor, has_kernels, newest_label, runs_build, spoken_gpus
from lading.frameworks.labels import CPU, cuda_first, cuda_version, spoken
from lading.frameworks.releases import known, releases
from lading.model.decisions import Decision, Kind

OF_MACHINE = frozenset({"gpu-not-here", "gpu-driver-too-old", "gpu-no-kernels"})
"""Rules of decisions about the machine at hand: they are shown, and stay out of the lock."""


def about_gpus(label: Label, context: Context) -> list[Decision]:
    """What a CUDA build asks of the machine, and whether this one has it."""
    floor = driver_floor(label.name)
    if floor is None:
        return []
    subject = f"torch {label.release or ''} +{label.name}".replace("  ", " ")
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
    found = []
    if machine.driver is None and not context.explicit and context.target.accelerator != CPU:
        found.append(
            _warning(
                "gpu-not-here",
                f"{subject} on this machine",
                "no NVIDIA driver was found here, so torch runs on the CPU; the lock was made for a machine with a GPU",
                "--accelerator cpu, for a lock of this machine's own",
            )
        )
    if machine.driver and not runs_build(machine.driver, label.name):
        found.append(
            _warning(
                "gpu-driver-too-old",
                f"{subject} on this machine",
                f"the driver here is {machine.driver}, and {spoken(label.name)} needs {floor} or newer: torch will find no GPU",
                f"a newer driver, or {_for_driver(label, machine.driver)}",
            )
        )
    if label.release and has_kernels(label.release, label.name, machine.gpus) is False:
        found.append(
            _warning(
                "gpu-no-kernels",
                f"{subject} on {spoken_gpus(machine.gpus)}",
                "this build has no code for that GPU, so the first operation on it fails (no kernel image is available)",
                _with_code(label, context),
            )
        )
    return found


def _for_driver(label: Label, driver: str) -> str:
    """The build of the same release that a driver runs, else the accelerator to ask for."""
    row = known(label.release) if label.release else None
    runs = [one for one in cuda_first(row.labels) if cuda_version(one) and runs_build(driver, one)] if row else []
    return f"torch=={row.version}+{runs[0]}" if row and runs else f"--accelerator {newest_label(driver) or CPU}"


def _with_code(label: Label, context: Context) -> str:
    gpus = context.machine.gpus if context.machine else ()
    for row in reversed(releases()):
        for one in cuda_first(row.labels):
            if has_kernels(row.version, one, gpus):
                return f"torch=={row.version}+{one}, the newest known build with code for it"
    return f"another build than {label.name}"


def _warning(rule: str, asked: str, because: str, instead: str) -> Decision:
    return Decision(rule=rule, kind=Kind.ADVICE, subject="torch", asked=asked, chose="as asked", because=because, instead=instead)

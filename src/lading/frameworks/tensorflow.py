"""tensorflow: builds are told apart by the distribution's name and an extra, by era, not by a label.

Until 2.0 the GPU code is in tensorflow-gpu; from 2.1 on tensorflow has both and tensorflow-cpu the smaller half; from 2.14 on the extra
``and-cuda`` brings NVIDIA's libraries, which until then must be on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from lading.frameworks.choice import Choice, Context, applies, exact_version
from lading.frameworks.gpus import driver_floor
from lading.frameworks.labels import CPU, cuda_version, spoken
from lading.frameworks.names import TENSORFLOW
from lading.frameworks.tables import table
from lading.frameworks.tags import minor_of, spoken_pythons
from lading.model.decisions import Decision, Kind
from lading.model.problems import ExitCode, Problem
from lading.model.records import dataclass, replace
from lading.model.requirements import Declared, Via

PLAIN, ONLY_CPU, ONLY_GPU = TENSORFLOW
EXTRA = "and-cuda"
NEED_PLAIN = frozenset(
    {"tensorflow-hub", "tensorflow-text", "tf-keras", "tf-models-official", "tensorflow-recommenders", "tfx", "tensorflow-decision-forests"}
)
"""Packages that require the distribution tensorflow by its name: beside them tensorflow-cpu would be installed twice over."""


@dataclass(frozen=True, slots=True)
class Era:
    """Which distribution has which code, in a span of releases."""

    cpu: str
    gpu: str


def choose(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """Give an exact pin of tensorflow the distribution, or the extra, that fits the target; say where CUDA comes from."""
    decisions, problems, made = [], [], []
    for declared in requirements:
        outcome = _one(declared, requirements, context) if is_ours(declared, context) else None
        made.append(declared if outcome is None or isinstance(outcome, Problem) else outcome[0])
        if isinstance(outcome, Problem):
            problems.append(outcome)
        elif outcome is not None:
            decisions += outcome[1]
    return Choice(requirements=tuple(made), decisions=tuple(decisions), problems=tuple(problems))


def is_ours(declared: Declared, context: Context) -> bool:
    """Whether a requirement is on tensorflow, holds on the target, and comes from the ordinary indexes."""
    free = declared.via is Via.INDEX and declared.index is None and declared.find_links is None
    return declared.name in TENSORFLOW and free and applies(declared, context.target)


_Outcome = tuple[Declared, list[Decision]]


def _one(declared: Declared, requirements: tuple[Declared, ...], context: Context) -> _Outcome | Problem | None:
    version = exact_version(declared)
    if version is None:
        return _ranged(declared, context)
    problem = _impossible(declared, version, context)
    if problem is not None:
        return problem
    if declared.name != PLAIN:
        return declared, [_named(declared, version, context)]
    if context.target.accelerator == CPU:
        return _for_cpu(declared, version, requirements)
    return _for_gpu(declared, version, context)


# What cannot be


def _impossible(declared: Declared, version: Version, context: Context) -> Problem | None:
    last = Version(table("tensorflow")["gpu_last_wheel"])
    if declared.name == ONLY_GPU and version > last:
        extra = f"[{EXTRA}]" if version >= Version(table("tensorflow")["and_cuda_since"]) else ""
        return Problem(
            rule="tensorflow-gpu-discontinued",
            what=f"tensorflow-gpu {version} has no wheel.",
            origin=declared.origin,
            why=f"The last one was {last}; since 2.1 the package tensorflow has the GPU code itself.",
            instead=f"Write tensorflow{extra}=={version}.",
            code=ExitCode.RESOLUTION,
        )
    pythons = pythons_of(version)
    if not pythons or minor_of(context.target.python) in pythons or not context.target.platform.startswith("x86_64-manylinux"):
        return None
    return Problem(
        rule="tensorflow-python-unfit",
        what=f"{declared.name} {version} has no wheel for Python {minor_of(context.target.python)}.",
        origin=declared.origin,
        why=f"It has wheels for Python {spoken_pythons(pythons)} (as of {table('tensorflow')['as_of']}).",
        instead=f"Use --python {pythons[-1]}{nearest_for(version, minor_of(context.target.python))}.",
        code=ExitCode.RESOLUTION,
    )


def nearest_for(version: Version, minor: str) -> str:
    """The nearest release with wheels for a Python minor, as an alternative to say."""
    fitting = [one for row in rows() for one, pythons in patches(row).items() if minor in pythons]
    if not fitting:
        return ""
    nearest = min(fitting, key=lambda one: (one < version, abs(_number(one) - _number(version)), one))
    return f", or tensorflow=={nearest}, the nearest release with wheels for Python {minor}"


def _number(version: Version) -> int:
    return version.major * 10_000 + version.minor * 100 + version.micro


# On a CPU


def _for_cpu(declared: Declared, version: Version, requirements: tuple[Declared, ...]) -> _Outcome:
    era = era_of(version)
    missing = str(version) in table("tensorflow")["cpu_missing"]
    by_name = sorted(str(one.name) for one in requirements if one.name in NEED_PLAIN)
    if era is None or era.cpu != ONLY_CPU or missing or declared.extras or declared.hashes:
        return declared, [_kept(declared, "it has the CPU code, and is used without a GPU as it is", None)]
    if by_name:
        because = f"it has the CPU code, and {', '.join(by_name)} requires it by this name"
        return declared, [_kept(declared, because, f"{ONLY_CPU}=={version}, which is smaller")]
    made = replace(declared, name=ONLY_CPU)
    because = "the target has no GPU, and this distribution of the same release is without the GPU code: less than half the size"
    return made, [_chosen(declared, made, because, "--accelerator cu121, or another CUDA, for the GPU code")]


def undo_cpu(requirements: tuple[Declared, ...], decisions: tuple[Decision, ...], needed_by: str) -> Choice:
    """The choice of tensorflow-cpu taken back, because a package turned out to require tensorflow by that name."""
    made = tuple(replace(one, name=PLAIN) if one.name == ONLY_CPU and _was_plain(one) else one for one in requirements)
    kept = tuple(
        _kept(one, f"it has the CPU code, and {needed_by} requires it by this name", None)
        for one, before in zip(made, requirements, strict=True)
        if one != before
    )
    others = tuple(one for one in decisions if not (one.rule == "tensorflow-build-chosen" and one.chose.startswith(ONLY_CPU)))
    return Choice(requirements=made, decisions=(*others, *kept))


def _was_plain(declared: Declared) -> bool:
    """Whether the line as written names tensorflow itself."""
    return not str(declared.raw).strip().lower().startswith(ONLY_CPU)


# On a GPU


def _for_gpu(declared: Declared, version: Version, context: Context) -> _Outcome:
    era = era_of(version)
    row = row_of(version)
    if EXTRA in declared.extras:
        return declared, [_kept(declared, f"its extra {EXTRA} brings the CUDA libraries{_libraries(row)}", None), *_driver(declared, row)]
    if era is not None and era.gpu == ONLY_GPU:
        made = replace(declared, name=ONLY_GPU)
        because = f"the target has a GPU, and this release's GPU code is in this distribution; {_system(row)}"
        return made, [_chosen(declared, made, because, f"--accelerator cpu, or {PLAIN}=={version} for the CPU code")]
    if version >= Version(table("tensorflow")["and_cuda_since"]):
        if declared.hashes or context.options.require_hashes:
            because = f"the extra {EXTRA} would bring packages without hashes; {_system(row)}"
            return declared, [_kept(declared, because, f"{PLAIN}[{EXTRA}]=={version}, with the hashes of all that it brings")]
        return with_extra(
            declared, f"the target has a GPU, and the extra brings the CUDA libraries that this release runs with{_libraries(row)}", row
        )
    because = f"the package has the GPU code; {_system(row)}"
    return declared, [_kept(declared, because, f"{ONLY_CPU}=={version}, with --accelerator cpu"), *_other_cuda(declared, row, context)]


def with_extra(declared: Declared, because: str, row: Mapping[str, Any] | None) -> _Outcome:
    """The requirement with NVIDIA's libraries."""
    made = replace(declared, extras=tuple(sorted({*declared.extras, EXTRA})))
    return made, [_chosen(declared, made, because, "--accelerator cpu, or tensorflow-cpu"), *_driver(declared, row)]


def _libraries(row: Mapping[str, Any] | None) -> str:
    return f" (CUDA {row['cuda']}, cuDNN {row['cudnn']})" if row else ""


def _system(row: Mapping[str, Any] | None) -> str:
    libraries = f"CUDA {row['cuda']} and cuDNN {row['cudnn']}" if row else "CUDA and cuDNN"
    return f"{libraries} must be on the machine or in the base image"


def _driver(declared: Declared, row: Mapping[str, Any] | None) -> list[Decision]:
    label = "cu" + row["cuda"].replace(".", "") if row else ""
    floor = driver_floor(label) if label else None
    if floor is None:
        return []
    return [
        Decision(
            rule="gpu-needs",
            kind=Kind.KEPT,
            subject=PLAIN,
            asked=f"{declared.pep508} on a GPU",
            chose=f"an NVIDIA driver {floor} or newer",
            because=f"this is what {spoken(label)} needs where it runs",
        )
    ]


def _other_cuda(declared: Declared, row: Mapping[str, Any] | None, context: Context) -> list[Decision]:
    """The target has another CUDA than the release was built for, and its libraries are the system's."""
    asked = cuda_version(context.target.accelerator)
    if row is None or asked is None or ".".join(map(str, asked)) == row["cuda"]:
        return []
    return [
        Decision(
            rule="tensorflow-cuda-differs",
            kind=Kind.ADVICE,
            subject=PLAIN,
            asked=f"{declared.pep508} with {spoken(context.target.accelerator)}",
            chose="as asked",
            because=f"this release is built for CUDA {row['cuda']} and cuDNN {row['cudnn']}: without these libraries it runs on the CPU",
            origin=declared.origin,
            instead=f"a base image with CUDA {row['cuda']} (build.cuda, --accelerator cu{row['cuda'].replace('.', '')}), "
            f"or tensorflow[{EXTRA}] {table('tensorflow')['and_cuda_since']} or newer",
        )
    ]


# What the user has settled, and ranges


def _named(declared: Declared, version: Version, context: Context) -> Decision:
    on_gpu = context.target.accelerator != CPU
    if declared.name == ONLY_CPU:
        because = "the name asks for the CPU code, so nothing was changed"
        return _kept(declared, because + (". It does not use the target's GPU" if on_gpu else ""), None)
    because = f"the name asks for the GPU code, so nothing was changed; {_system(row_of(version))}"
    return _kept(declared, because if on_gpu else f"{because}, and without a GPU it runs on the CPU", None)


def _ranged(declared: Declared, context: Context) -> _Outcome | None:
    if declared.name != PLAIN or context.target.accelerator == CPU or EXTRA in declared.extras:
        return None
    newest = [row for row in rows() if declared.specifier == "" or _allows(declared.specifier, Version(row["tensorflow"]))]
    row = newest[-1] if newest else None
    if row is None or Version(row["tensorflow"]) < Version(table("tensorflow")["and_cuda_since"]):
        return None
    return with_extra(declared, "the target has a GPU, and the extra brings the CUDA libraries that the release runs with", None)


def _allows(specifier: str, version: Version) -> bool:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 -- for ranges alone

    return SpecifierSet(specifier).contains(version, prereleases=False)


def _chosen(declared: Declared, made: Declared, because: str, instead: str) -> Decision:
    return Decision(
        rule="tensorflow-build-chosen",
        kind=Kind.CHOSEN,
        subject=PLAIN,
        asked=declared.pep508,
        chose=made.pep508,
        because=because,
        origin=declared.origin,
        instead=instead,
    )


def _kept(declared: Declared, because: str, instead: str | None) -> Decision:
    return Decision(
        rule="tensorflow-build-kept",
        kind=Kind.KEPT,
        subject=PLAIN,
        asked=declared.pep508,
        chose=declared.pep508,
        because=because,
        origin=declared.origin,
        instead=instead,
    )


# The table


def rows() -> tuple[Mapping[str, Any], ...]:
    """The table's rows, one per minor release, oldest first."""
    return tuple(table("tensorflow")["release"])


def row_of(version: Version) -> Mapping[str, Any] | None:
    """The row that a version belongs to."""
    return next((row for row in rows() if Version(row["tensorflow"]).release[:2] == version.release[:2]), None)


def patches(row: Mapping[str, Any]) -> dict[Version, tuple[str, ...]]:
    """A row's patch releases, with the CPython minors that each has wheels for."""
    return {Version(one): tuple(pythons) for one, pythons in row["patches"].items()}


def pythons_of(version: Version) -> tuple[str, ...]:
    """The CPython minors with wheels of a release; empty for releases that the table does not know."""
    row = row_of(version)
    return patches(row).get(version, ()) if row else ()


def era_of(version: Version) -> Era | None:
    """The era of a release."""
    for one in table("tensorflow")["era"]:
        if Version(one["since"]) <= version and (not one["until"] or version <= Version(one["until"])):
            return Era(cpu=one["cpu"], gpu=one["gpu"])
    return None

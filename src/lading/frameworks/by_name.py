"""onnxruntime, paddlepaddle, faiss, cupy: the CPU and the GPU build are packages with names of their own.

The name is the user's choice of a build, so it is kept; what follows from it on the target is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.version import InvalidVersion, Version

from lading.frameworks.choice import Choice, Context, applies, exact_version
from lading.frameworks.labels import CPU, cuda_version, spoken
from lading.frameworks.tables import table
from lading.model.decisions import Decision, Kind
from lading.model.problems import ExitCode, Problem
from lading.model.requirements import Declared, Via


def choose(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """Say what the named build does on the target; refuse two builds of one framework at once."""
    ours = [one for one in requirements if one.name and one.via is Via.INDEX and applies(one, context.target)]
    decisions, problems = [], []
    for framework in table("names")["framework"]:
        found = [one for one in ours if one.name in (*framework["cpu"], *framework["gpu"], framework.get("source"))]
        if len({one.name for one in found}) > 1:
            problems.append(_both(framework, found))
        else:
            decisions += [decision for one in found if (decision := _said(framework, one, context)) is not None]
    return Choice(requirements=requirements, decisions=tuple(decisions), problems=tuple(problems))


def _both(framework: Mapping[str, Any], found: list[Declared]) -> Problem:
    first, second = found[0], next(one for one in found if one.name != found[0].name)
    return Problem(
        rule="two-builds-of-one",
        what=f"{second.pep508} and {first.pep508} ({first.origin}) are two builds of {framework['name']}.",
        origin=second.origin,
        why=f"{framework['together'][:1].upper()}{framework['together'][1:]}.",
        instead="Keep the one for the target; a second requirements file can hold the other (one lock for each).",
        code=ExitCode.RESOLUTION,
    )


def _said(framework: Mapping[str, Any], declared: Declared, context: Context) -> Decision | None:
    on_gpu = context.target.accelerator != CPU
    if declared.name == framework.get("source"):
        return _from_source(framework, declared, context)
    is_gpu = declared.name in framework["gpu"]
    if is_gpu and not on_gpu:
        cpu = (
            f"{framework['cpu'][0]}{declared.specifier}, which is smaller" if framework["cpu"] else "--accelerator, for a target with a GPU"
        )
        return _decision(declared, Kind.ADVICE, "the name asks for the GPU build, and the target has no GPU", cpu)
    if not is_gpu and on_gpu:
        gpu = f"{framework['gpu'][-1]}{declared.specifier}, for a target with a GPU"
        return _decision(declared, Kind.ADVICE, "the name asks for the CPU build, and the target has a GPU", gpu)
    if not is_gpu:
        return None
    return _cuda_of(framework, declared, context)


def _cuda_of(framework: Mapping[str, Any], declared: Declared, context: Context) -> Decision:
    needs = _needs(framework, declared)
    target = cuda_version(context.target.accelerator)
    if needs is None:
        return _decision(declared, Kind.KEPT, "the name asks for the GPU build, so nothing was changed", None)
    if target is not None and int(needs.partition(".")[0]) > target[0]:
        because = f"it is built for CUDA {needs}, and the target has {spoken(context.target.accelerator)}: it will not find a GPU"
        return _decision(declared, Kind.ADVICE, because, _other(framework, target[0]))
    return _decision(
        declared, Kind.KEPT, f"the name asks for the GPU build, so nothing was changed; it needs CUDA {needs} where it runs", None
    )


def _needs(framework: Mapping[str, Any], declared: Declared) -> str | None:
    """The CUDA that a package is built for: by its name, or by the table of onnxruntime-gpu."""
    by_name = re.search(r"-c(?:uda|u)(\d{2})(\d|x)?$", str(declared.name))
    if by_name:
        return f"{by_name[1]}.{by_name[2] or 'x'}"
    version = exact_version(declared)
    rows = table("names")["onnxruntime_gpu"] if framework["name"] == "onnxruntime" and version else ()
    return next((row["cuda"] for row in rows if version is not None and _within(version, row)), None)


def _within(version: Version, row: Mapping[str, Any]) -> bool:
    try:
        return Version(row["since"]).release[:2] <= version.release[:2] <= Version(row["until"]).release[:2]
    except InvalidVersion:
        return False


def _other(framework: Mapping[str, Any], major: int) -> str:
    named: list[str] = [name for name in framework["gpu"] if re.search(rf"-c(?:uda|u){major}", name)]
    if named:
        return named[-1]
    rows: Iterable[Mapping[str, Any]] = table("names")["onnxruntime_gpu"] if framework["name"] == "onnxruntime" else ()
    fitting = [row for row in rows if row["cuda"].partition(".")[0] == str(major)]
    return f"{framework['gpu'][0]}=={fitting[-1]['until']}.*, the last for CUDA {major}" if fitting else f"a build for CUDA {major}"


def _from_source(framework: Mapping[str, Any], declared: Declared, context: Context) -> Decision:
    target = cuda_version(context.target.accelerator)
    named = _other(framework, target[0]) if target else framework["gpu"][-1]
    return _decision(
        declared,
        Kind.ADVICE,
        "under this name there is a source distribution alone: it compiles for a long time, and needs the CUDA toolkit to do so",
        f"{named}{declared.specifier}, a wheel",
    )


def _decision(declared: Declared, kind: Kind, because: str, instead: str | None) -> Decision:
    return Decision(
        rule="build-by-name",
        kind=kind,
        subject=str(declared.name),
        asked=declared.pep508,
        chose=declared.pep508,
        because=because,
        origin=declared.origin,
        instead=instead,
    )

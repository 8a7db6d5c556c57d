"""jax: the CUDA build is an extra (``cuda12``, ``cuda13``) that brings a plugin and NVIDIA's libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lading.frameworks.choice import Choice, Context, applies, exact_version
from lading.frameworks.labels import CPU, cuda_version, spoken
from lading.frameworks.tables import table
from lading.frameworks.tags import minor_of
from lading.model.decisions import Decision, Kind
from lading.model.problems import ExitCode, Problem
from lading.model.records import replace
from lading.model.requirements import Declared, Via

_Outcome = tuple[Declared, Decision | None]


def choose(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """On a GPU target, give jax the extra for the target's CUDA; say where none exists."""
    made, decisions, problems = [], [], []
    for declared in requirements:
        outcome = _one(declared, context) if _is_ours(declared, context) else (declared, None)
        if isinstance(outcome, Problem):
            problems.append(outcome)
            outcome = (declared, None)
        made.append(outcome[0])
        decisions += [outcome[1]] if outcome[1] else []
    return Choice(requirements=tuple(made), decisions=tuple(decisions), problems=tuple(problems))


def _is_ours(declared: Declared, context: Context) -> bool:
    free = declared.via is Via.INDEX and declared.index is None and declared.find_links is None
    return declared.name == "jax" and free and applies(declared, context.target)


def _one(declared: Declared, context: Context) -> _Outcome | Problem:
    version = exact_version(declared)
    row = _row(declared, version)
    if version is not None and row is not None and (problem := _python_unfit(declared, version, row, context)) is not None:
        return problem
    chosen = [extra for extra in declared.extras if extra.startswith(("cuda", "rocm", "tpu", "cpu"))]
    if chosen:
        on_cpu = (
            ". Without a GPU it runs on the CPU, and is several GB larger"
            if context.target.accelerator == CPU and chosen[0] != "cpu"
            else ""
        )
        return declared, _kept(declared, f"its extra {chosen[0]} names the build, so nothing was changed{on_cpu}", None)
    if context.target.accelerator == CPU:
        return declared, _kept(
            declared, "without an extra it is the CPU build", "jax[cuda12], with --accelerator cu126"
        ) if version else None
    if declared.hashes or context.options.require_hashes:
        return declared, _kept(
            declared, "the extra for CUDA would bring packages without hashes", "jax[cuda12], with the hashes of all that it brings"
        )
    return _with_cuda(declared, row, context)


def _row(declared: Declared, version: Version | None) -> Mapping[str, Any] | None:
    """The row of a pin, or the newest that a range allows; None for releases newer than the table."""
    rows: list[Mapping[str, Any]] = table("jax")["release"]
    if version is None:
        allowed = SpecifierSet(declared.specifier)
        found = [row for row in rows if not declared.specifier or any(allowed.contains(row[end]) for end in ("since", "until"))]
        return found[-1] if found else rows[-1]
    return next((row for row in rows if Version(row["since"]) <= version <= Version(row["until"])), None)


def _with_cuda(declared: Declared, row: Mapping[str, Any] | None, context: Context) -> _Outcome:
    cuda = cuda_version(context.target.accelerator)
    major = cuda[0] if cuda else 12
    known = tuple(row["extras"]) if row else ("cuda12", "cuda13")
    wanted = [f"cuda{number}" for number in range(major, 10, -1)] + ["cuda"]
    extra = next((one for one in wanted if one in known), None)
    if extra is None or (extra == "cuda" and row is not None and not _brings_wheels(row)):
        return declared, _by_hand(declared, context)
    made = replace(declared, extras=tuple(sorted({*declared.extras, extra})))
    because = f"the target has {spoken(context.target.accelerator)}, and this extra brings jax's CUDA plugin with NVIDIA's libraries"
    if row is None:
        because += f"; the release is newer than Lading's table of {table('jax')['as_of']}"
    return made, Decision(
        rule="jax-build-chosen",
        kind=Kind.CHOSEN,
        subject="jax",
        asked=declared.pep508,
        chose=made.pep508,
        because=because,
        origin=declared.origin,
        instead="--accelerator cpu, or an extra of your own: jax[cuda12-local] uses the system's CUDA",
    )


def _brings_wheels(row: Mapping[str, Any]) -> bool:
    """Until 0.4.29 the extras ask for jaxlib with a label, from a page of links of jax's own."""
    return not str(row.get("cuda_means", "jaxlib+")).startswith("jaxlib+")


def _by_hand(declared: Declared, context: Context) -> Decision:
    return Decision(
        rule="jax-cuda-by-hand",
        kind=Kind.ADVICE,
        subject="jax",
        asked=declared.pep508,
        chose=f"{declared.pep508}, for the CPU",
        because=f"the target has {spoken(context.target.accelerator)}, and this release's CUDA wheels (jaxlib with a label) are on a page of links alone",
        origin=declared.origin,
        instead="--find-links https://storage.googleapis.com/jax-releases/jax_cuda_releases.html with jax[cuda12_pip], or jax 0.4.30 and newer",
    )


def _python_unfit(declared: Declared, version: Version, row: Mapping[str, Any], context: Context) -> Problem | None:
    if SpecifierSet(row["requires_python"]).contains(context.target.python, prereleases=True):
        return None
    return Problem(
        rule="jax-python-unfit",
        what=f"jax {version} needs Python {row['requires_python']}, and the target has {minor_of(context.target.python)}.",
        origin=declared.origin,
        why=f"Its metadata says so (as of {table('jax')['as_of']}).",
        instead=f"Use --python {row['requires_python'].removeprefix('>=')}, or an older jax.",
        code=ExitCode.RESOLUTION,
    )


def _kept(declared: Declared, because: str, instead: str | None) -> Decision:
    return Decision(
        rule="jax-build-kept",
        kind=Kind.KEPT,
        subject="jax",
        asked=declared.pep508,
        chose=declared.pep508,
        because=because,
        origin=declared.origin,
        instead=instead,
    )

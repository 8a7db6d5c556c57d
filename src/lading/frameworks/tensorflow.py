"""tensorflow: builds are told apart by the distribution's name or extra, not by a label."""

from __future__ import annotations

from packaging.version import Version

from lading.frameworks.choice import Choice, Context, applies, exact_version
from lading.frameworks.labels import CPU
from lading.model.decisions import Decision, Kind
from lading.model.requirements import Declared, Via

_EXTRA_SINCE = Version("2.14")
_ONE_PACKAGE_SINCE = Version("2.1")
_EXTRA = "and-cuda"


def choose(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """On a GPU target, an exact pin of tensorflow gets NVIDIA's libraries where they are an extra; else it is said where they come from."""
    decisions, made = [], []
    for declared in requirements:
        requirement, decision = _one(declared, context)
        made.append(requirement)
        decisions += [decision] if decision else []
    return Choice(requirements=tuple(made), decisions=tuple(decisions))


def _one(declared: Declared, context: Context) -> tuple[Declared, Decision | None]:
    version = exact_version(declared)
    ours = declared.name == "tensorflow" and declared.via is Via.INDEX and declared.index is None and declared.find_links is None
    if not ours or version is None or version.local or not applies(declared, context.target):
        return declared, None
    if context.target.accelerator == CPU:
        return declared, _kept(
            declared, "one package has the CPU code, and is used without a GPU as it is", f"tensorflow-cpu=={version}, which is smaller"
        )
    if _EXTRA in declared.extras:
        return declared, _kept(declared, f"its extra {_EXTRA} brings the CUDA libraries", None)
    if version >= _EXTRA_SINCE:
        return _with_extra(declared)
    if version >= _ONE_PACKAGE_SINCE:
        return declared, _kept(declared, "the package has the GPU code; CUDA and cuDNN must be on the machine or in the base image", None)
    return declared, _kept(declared, "this release's GPU code is in another package", f"tensorflow-gpu=={version}")


def _with_extra(declared: Declared) -> tuple[Declared, Decision]:
    from dataclasses import replace  # noqa: PLC0415 -- used on GPU targets alone

    made = replace(declared, extras=tuple(sorted({*declared.extras, _EXTRA})))
    decision = Decision(
        rule="tensorflow-build-chosen",
        kind=Kind.CHOSEN,
        subject="tensorflow",
        asked=declared.pep508,
        chose=made.pep508,
        because="the target has a GPU, and the extra brings the CUDA libraries that this release runs with",
        origin=declared.origin,
        instead="--accelerator cpu, or tensorflow-cpu",
    )
    return made, decision


def _kept(declared: Declared, because: str, instead: str | None) -> Decision:
    return Decision(
        rule="tensorflow-build-kept",
        kind=Kind.KEPT,
        subject="tensorflow",
        asked=declared.pep508,
        chose=declared.pep508,
        because=because,
        origin=declared.origin,
        instead=instead,
    )

"""Frameworks that want different CUDA libraries in one environment: which will run on the GPU is said, and neither is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from lading.frameworks import tensorflow
from lading.frameworks.choice import Choice, Context, exact_version
from lading.frameworks.labels import CPU, cuda_version, spoken
from lading.model.decisions import Decision, Kind
from lading.model.requirements import Declared


def torch_beside_tensorflow(choice: Choice, label: str | None, before: tuple[Declared, ...], context: Context) -> Choice:
    """Tensorflow's part of a choice, taken back where torch has another CUDA.

    ``label`` is the build of a torch that is declared; ``before`` are the requirements without what tensorflow was given.
    """
    cuda = cuda_version(label) if label else None
    pairs = zip(choice.requirements, before, strict=True)
    found = next(((one, old) for one, old in pairs if old.name == tensorflow.PLAIN and tensorflow.is_ours(old, context)), None)
    if label is None or cuda is None or found is None or context.target.accelerator == CPU:
        return choice
    declared, old = found
    row = tensorflow.row_of(exact_version(old) or Version("0")) or tensorflow.rows()[-1]
    if _goes_with(row, cuda):
        return choice
    kept = tuple(old if one is declared else one for one in choice.requirements)
    others = tuple(one for one in choice.decisions if one.subject != tensorflow.PLAIN)
    return Choice(requirements=kept, decisions=(*others, _said(old, row, label)), problems=choice.problems)


def _goes_with(row: Mapping[str, Any], cuda: tuple[int, int]) -> bool:
    """Whether a release's CUDA libraries can be the ones that torch brings."""
    runtime = row.get("and_cuda", {}).get("runtime")
    if runtime is None:
        return bool(row["cuda"] == f"{cuda[0]}.{cuda[1]}")
    asked = Requirement(runtime)
    return asked.name.endswith(f"-cu{cuda[0]}") and asked.specifier.contains(f"{cuda[0]}.{cuda[1]}.999")


def _said(declared: Declared, row: Mapping[str, Any], label: str) -> Decision:
    if tensorflow.EXTRA not in declared.extras:
        outcome = (
            "torch brings its own CUDA libraries and will run on the GPU; tensorflow runs on the CPU where its CUDA is not on the machine"
        )
    elif row["cuda"].partition(".")[0] == str((cuda_version(label) or (0,))[0]):
        outcome = "both bring NVIDIA's libraries, each its own versions of the same packages, so they will hardly resolve together"
    else:
        outcome = "each brings NVIDIA's libraries of its own, so both run on the GPU, at twice the size"
    return Decision(
        rule="frameworks-want-different-cuda",
        kind=Kind.ADVICE,
        subject=tensorflow.PLAIN,
        asked=f"{declared.pep508} beside torch",
        chose="both as asked",
        because=f"torch's build is for {spoken(label)}, and this tensorflow is for CUDA {row['cuda']}: {outcome}",
        origin=declared.origin,
        instead="two APIs with a requirements file of their own each, or releases that want the same CUDA",
    )

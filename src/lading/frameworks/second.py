"""Second thoughts: what resolving shows about choices that were made before it. Pure."""

from __future__ import annotations

from lading.frameworks import tensorflow
from lading.frameworks.choice import Choice
from lading.frameworks.labels import CPU
from lading.frameworks.names import FAMILY
from lading.frameworks.places import is_pytorch
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.records import replace
from lading.model.requirements import Declared
from lading.model.secrets import SecretText


def with_tensorflow_as_written(plan: Plan, lock: Lock) -> Plan | None:
    """The plan without the choice of tensorflow-cpu, where another package turned out to require tensorflow by its name; else None."""
    chosen = any(one.rule == "tensorflow-build-chosen" and one.chose.startswith(tensorflow.ONLY_CPU) for one in plan.decisions)
    if not chosen or not {tensorflow.PLAIN, tensorflow.ONLY_CPU} <= lock.versions.keys():
        return None
    needed_by = sorted(
        str(one["name"]) for one in lock.packages if any(need.get("name") == tensorflow.PLAIN for need in one.get("dependencies", ()))
    )
    undone = tensorflow.undo_cpu(plan.requirements, plan.decisions, " and ".join(needed_by) or "another package")
    return replace(plan, requirements=undone.requirements, decisions=undone.decisions)


def with_torch_unbound(plan: Plan) -> Plan | None:
    """The plan with torch from the ordinary index, to learn which release other packages want; None where that is no question.

    Only for targets with a GPU, where one label does not have every release, and for projects that declare nothing of the family.
    """
    declared = {one.name for one in plan.requirements}
    ours = [index for index in plan.bound if is_pytorch(index.url.reveal())]
    if plan.target.accelerator == CPU or not ours or declared & set(FAMILY):
        return None
    return replace(plan, bound=tuple(index for index in plan.bound if index not in ours))


def as_declared(lock: Lock) -> Declared | None:
    """The release of torch that a lock holds, as a requirement to choose a build for."""
    version = lock.versions.get("torch")
    if version is None:
        return None
    text = f"torch=={version.partition('+')[0]}"
    return Declared(raw=SecretText(text), origin=Origin("another package"), name="torch", specifier=text.removeprefix("torch"))


def with_choice(plan: Plan, choice: Choice) -> Plan:
    """The plan with torch's family bound as a choice says."""
    others = tuple(index for index in plan.bound if not is_pytorch(index.url.reveal()))
    return replace(plan, bound=(*others, *choice.bound))

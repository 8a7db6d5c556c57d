"""What goes wrong while deploying to Kubernetes, beside what the cluster itself refuses."""

from __future__ import annotations

from lading.model.problems import ExitCode, Problem


def at_the_same_time(name: str) -> Problem:
    """Two deployed at once, and the other was first."""
    return Problem(
        rule="deployed-meanwhile",
        what=f"Somebody else deployed {name} at the same moment.",
        instead="Look at `lading status`, and deploy again if that is still wanted.",
        code=ExitCode.DEPLOY,
    )


def name_taken(kind: str, name: str, owner: str | None) -> Problem:
    """An object of that name belongs to something else."""
    whose = f"the deployment {owner}" if owner else "something that Lading did not make"
    return Problem(
        rule="name-taken",
        what=f"There is a {kind} {name} already, of {whose}.",
        instead="Deploy under another name: --name NAME.",
        code=ExitCode.DEPLOY,
    )


def kind_unknown(kind: str) -> Problem:
    """The cluster does not know a kind: a product is not installed there, or it is too old."""
    product = {"ScaledObject": "KEDA", "InferenceService": "KServe"}.get(kind)
    return Problem(
        rule="cluster-lacks-kind",
        what=f"The cluster does not know the kind {kind}.",
        why=f"{product} is not installed there." if product else "It is older than Kubernetes 1.25.",
        instead=f"Install {product}, or deploy without --{product.lower()}." if product else "Deploy to a newer cluster.",
        code=ExitCode.DEPLOY,
    )

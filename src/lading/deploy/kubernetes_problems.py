"""What goes wrong while deploying to Kubernetes, beside what the cluster itself refuses."""

from __future__ import annotations

from collections.abc import Sequence

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


def not_served(name: str, number: int, why: str, back: str, detail: str) -> Problem:
    """A rollout failed; ``back`` is what to do, ``detail`` the words of a pod."""
    return Problem(
        rule="deployment-failed",
        what=f"Revision {number} of {name} is not served: {why}.",
        instead=back,
        code=ExitCode.DEPLOY,
        detail=detail or None,
    )


def revision_unknown(name: str, number: int | None, others: Sequence[str]) -> Problem:
    """There is no such revision to go back to; there are ``others``."""
    return Problem(
        rule="revision-unknown",
        what=f"{name} has no revision {number} to go back to." if number is not None else f"{name} has no revision to go back to.",
        instead=f"It has {', '.join(others)}." if others else "Deploy another one.",
        code=ExitCode.DEPLOY,
    )


def api_unknown(name: str, api: str, others: Sequence[str]) -> Problem:
    """A deployment has no such API; it has ``others``."""
    return Problem(rule="api-unknown", what=f"{name} has no API {api}.", instead=f"It has {', '.join(others)}.", code=ExitCode.DEPLOY)


def only_one_pod(api: str) -> Problem:
    """A second pod would work off the same jobs."""
    return Problem(
        rule="cannot-scale",
        what=f"{api} keeps its jobs in one pod's folder, so there can be no second one.",
        instead="Keep them in a database: --secret-env LADING_JOBS=postgresql://...",
        code=ExitCode.DEPLOY,
    )


def not_scaled(name: str, api: str, replicas: int, why: str, detail: str) -> Problem:
    """The cluster cannot run so many replicas."""
    return Problem(
        rule="cannot-scale",
        what=f"{name} does not run {replicas} replicas of {api}: {why}.",
        instead="Ask for fewer, or look at `lading status`.",
        code=ExitCode.DEPLOY,
        detail=detail or None,
    )


def runs_together(api: str, others: Sequence[str]) -> Problem:
    """An API shares its pods with others, so it cannot be deleted alone."""
    return Problem(
        rule="cannot-delete-api",
        what=f"{api} runs together with {', '.join(others)}.",
        instead="Take it out of cortex.yaml, and deploy again.",
        code=ExitCode.DEPLOY,
    )

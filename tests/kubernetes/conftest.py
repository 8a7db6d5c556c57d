"""A real cluster, where one is configured: see README.md."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lading.deploy.engine import Deployment, Place, State
from lading.deploy.kubernetes import KubernetesEngine
from lading.deploy.kubernetes_api import Cluster
from lading.model.events import silent

_REAL = dict(os.environ)
"""As it was before the tests' own home took its place."""


class OfThisVersion(KubernetesEngine):
    """The engine, without the kinds that an old cluster does not have."""

    left_out: frozenset[str] = frozenset()

    def render(self, deployment: Deployment) -> tuple[dict[str, Any], ...]:
        return tuple(one for one in super().render(deployment) if one["kind"] not in self.left_out)


@pytest.fixture(scope="session")
def configuration() -> Path:
    """The kubeconfig; everything is skipped where there is none."""
    if _REAL.get("LADING_TEST_KUBERNETES") != "1":
        pytest.skip("LADING_TEST_KUBERNETES=1 is not set: see tests/kubernetes/README.md")
    if not Path(_REAL.get("KUBECONFIG", "")).is_file():
        pytest.skip("KUBECONFIG names no file")
    return Path(_REAL["KUBECONFIG"]).resolve()


@pytest.fixture(scope="session")
def place(configuration: Path) -> Place:
    return Place(engine="kubernetes", options={"kubeconfig": str(configuration)})


def missing_kinds(cluster: Cluster) -> frozenset[str]:
    """The kinds that a cluster does not have at the versions that Lading sends."""
    kinds = ("PodDisruptionBudget", "HorizontalPodAutoscaler", "CronJob")
    return frozenset(kind for kind in kinds if cluster.ask("GET", cluster.path(kind)).status == 404)


@pytest.fixture(scope="session")
def left_out(place: Place) -> frozenset[str]:
    """See `missing_kinds`; they are told."""
    found = missing_kinds(Cluster(place))
    if found:
        warning = f"left out, as the cluster is too old for them: {', '.join(sorted(found))}"
        sys.stderr.write(f"{warning}\n")
    return found


@pytest.fixture
def engine(place: Place, left_out: frozenset[str]) -> OfThisVersion:
    made = OfThisVersion(place, poll=0.2)
    made.left_out = left_out
    return made


@pytest.fixture
def name(engine: OfThisVersion) -> Iterator[str]:
    """A name for a deployment that is taken away at the end."""
    chosen = f"test-{secrets.token_hex(4)}"
    yield chosen
    if engine.status(chosen).state is not State.ABSENT:
        engine.delete(chosen, None, silent)


@pytest.fixture(scope="session")
def node() -> str:
    """The address of a node."""
    return _REAL.get("LADING_TEST_KUBERNETES_NODE", "127.0.0.1")


@pytest.fixture(scope="session")
def load_command(configuration: Path) -> str:
    """The command that takes an image into the nodes."""
    command = _REAL.get("LADING_TEST_KUBERNETES_LOAD")
    if not command:
        pytest.skip("LADING_TEST_KUBERNETES_LOAD is not set: the nodes cannot be given an image")
    return command


def objects_of(cluster: Cluster, kind: str, name: str) -> list[Mapping[str, Any]]:
    """The objects of a deployment."""
    return list(cluster.all(kind, f"lading.run/deployment={name}"))

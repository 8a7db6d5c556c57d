"""A real API server: what it takes, refuses and keeps, without nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lading.deploy import kubernetes_revisions as revisions
from lading.deploy.engine import Deployment, Place, State
from lading.deploy.kubernetes import KubernetesEngine
from lading.deploy.kubernetes_api import revealed
from lading.model.events import silent
from lading.model.problems import LadingError
from lading.model.secrets import Secret
from tests.deploy.support import COG, CORTEX, IMAGE, OTHER, deployment_of
from tests.kubernetes.conftest import OfThisVersion, objects_of

pytestmark = pytest.mark.slow


@pytest.fixture
def cog(tmp_path: Path, name: str) -> Deployment:
    return deployment_of(tmp_path / "cog", COG, name=name, variables={"MODE": "fast"}, secrets={"TOKEN": Secret("hush-hush")})


def test_every_object_is_taken_and_kept_as_it_was_sent(engine: OfThisVersion, name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"ingress_host": "m.example.com", "job": ["nightly"], "schedule": ["nightly=0 3 * * *"]}
    deployment = deployment_of(tmp_path, CORTEX, name=name, variables={"A": "1"}, secrets={"B": Secret("2")}, options=options)
    engine.apply(deployment, silent)
    for sent in revisions.numbered(engine.render(deployment), 1):
        kept = engine.cluster.get(sent["kind"], sent["metadata"]["name"])
        assert kept is not None, sent["kind"]
        if engine.left_out and sent["kind"] == "Job":
            del sent["spec"]["ttlSecondsAfterFinished"]  # newer than 1.20
        _within(revealed(sent), kept, sent["kind"])


def _within(sent: Any, kept: Any, place: str) -> None:
    """Whether everything that was sent is in what the server keeps, which adds defaults."""
    if isinstance(sent, dict):
        for key, value in sent.items():
            if key == "stringData":
                continue  # written as data, in base64
            assert key in kept, f"{place}.{key}"
            _within(value, kept[key], f"{place}.{key}")
    elif isinstance(sent, list):
        assert len(sent) == len(kept), place
        for number, value in enumerate(sent):
            _within(value, kept[number], f"{place}[{number}]")
    elif place.endswith((".memory", ".cpu", ".sizeLimit")):
        assert kept, place  # 1024Mi comes back as 1Gi
    else:
        assert sent == kept, place


def test_the_same_again_changes_nothing(engine: OfThisVersion, cog: Deployment) -> None:
    engine.apply(cog, silent)
    before = {one["metadata"]["name"]: one["metadata"]["generation"] for one in objects_of(engine.cluster, "Deployment", cog.name)}
    engine.apply(cog, silent)
    assert {one["metadata"]["name"]: one["metadata"]["generation"] for one in objects_of(engine.cluster, "Deployment", cog.name)} == before


def test_what_the_server_refuses_changes_nothing(engine: OfThisVersion, cog: Deployment) -> None:
    wrong = replace(cog, image="a b")
    wrong = replace(wrong, variables={"not a name": "1"})
    with pytest.raises(LadingError) as caught:
        engine.apply(wrong, silent)
    assert caught.value.problems[0].rule == "cluster-refused"
    assert engine.status(cog.name).state is State.ABSENT
    assert objects_of(engine.cluster, "Service", cog.name) == []


def test_a_change_by_others_is_a_conflict_and_our_own_scaling_is_none(engine: OfThisVersion, cog: Deployment) -> None:
    engine.apply(cog, silent)
    engine.cluster.merge("Deployment", cog.name, {"spec": {"replicas": 3}}, "scale")
    engine.apply(cog, silent)
    assert objects_of(engine.cluster, "Deployment", cog.name)[0]["spec"]["replicas"] == 1
    path = engine.cluster.path("Deployment", cog.name)
    body = b'{"spec": {"replicas": 5}}'
    assert engine.cluster.ask("PATCH", path, {"fieldManager": "somebody"}, body, "application/merge-patch+json").status == 200
    with pytest.raises(LadingError) as caught:
        engine.apply(cog, silent)
    assert caught.value.problems[0].rule == "cluster-conflict"
    assert "somebody" in str(caught.value.problems[0].why)
    engine.apply(replace(cog, options={"force_conflicts": True}), silent)
    assert objects_of(engine.cluster, "Deployment", cog.name)[0]["spec"]["replicas"] == 1


def test_revisions_are_kept_and_brought_back(engine: OfThisVersion, cog: Deployment) -> None:
    for number, image in enumerate((IMAGE, OTHER), 1):
        revision = engine.apply(replace(cog, image=image), silent)
        assert revision.number == number
        engine.cluster.merge("ControllerRevision", f"{cog.name}-{number}", {"metadata": {"labels": {"lading.run/state": "live"}}})
    engine.rollback(cog.name, None, silent)
    (deployment,) = objects_of(engine.cluster, "Deployment", cog.name)
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert [one.number for one in engine.status(cog.name).revisions] == [1, 2, 3]


def test_a_job_is_made_anew_each_time_that_it_is_asked_for(engine: OfThisVersion, name: str, tmp_path: Path) -> None:
    deployment = deployment_of(tmp_path, CORTEX, name=name, options={"job": ["nightly"]})
    for number, image in enumerate((IMAGE, IMAGE, OTHER), 1):
        engine.apply(replace(deployment, image=image), silent)
        assert len(objects_of(engine.cluster, "Job", name)) == number


def test_delete_takes_everything_away(engine: OfThisVersion, cog: Deployment) -> None:
    engine.apply(cog, silent)
    engine.delete(cog.name, None, silent)
    for kind in ("Deployment", "Service", "ConfigMap", "Secret", "ControllerRevision"):
        assert objects_of(engine.cluster, kind, cog.name) == []


def test_a_wrong_token_and_a_namespace_that_is_not_there(place: Place, configuration: Path, cog: Deployment, tmp_path: Path) -> None:
    import yaml

    record = yaml.safe_load(configuration.read_text())
    record["users"] = [{"name": one["name"], "user": {"token": "wrong"}} for one in record["users"]]
    (tmp_path / "wrong").write_text(yaml.safe_dump(record))
    for options, rule in (
        ({"kubeconfig": str(tmp_path / "wrong")}, "cluster-unauthorized"),
        ({**place.options, "namespace": "nowhere"}, None),
    ):
        with pytest.raises(LadingError) as caught:
            KubernetesEngine(Place(engine="kubernetes", options=options)).apply(cog, silent)
        assert rule in (None, caught.value.problems[0].rule)

"""Manifests: what a project becomes on Kubernetes, valid for every version, with no secret where it does not belong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import referencing
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_validate import utils

from lading.deploy.engine import Deployment
from lading.deploy.kubernetes_files import as_yaml, files
from lading.deploy.kubernetes_render import render
from lading.deploy.kubernetes_settings import settings_of
from lading.deploy.kubernetes_shape import object_name, workloads
from lading.model.cluster import Autoscaling, Compute
from lading.model.problems import LadingError
from lading.model.secrets import Secret
from tests.deploy.support import COG, CORTEX, SPLIT, deployment_of

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = [version for version in utils.all_versions() if tuple(map(int, version.split(".")[:2])) >= (1, 25)]
EVERYTHING: dict[str, Any] = {
    "image_pull_secret": ["registry-login"],
    "image_pull_policy": "Always",
    "service_type": "LoadBalancer",
    "ingress_host": "models.example.com",
    "ingress_class": "nginx",
    "tls_secret": "models-tls",
    "service_account": "models",
    "node_selector": ["disk=ssd"],
    "jobs_claim": "jobs",
    "job": ["nightly"],
    "schedule": ["nightly=0 3 * * *"],
}


def rendered(deployment: Deployment, **options: Any) -> tuple[dict[str, Any], ...]:
    place = {key: options.pop(key) for key in ("namespace",) if key in options}
    deployment = replace(deployment, options=options)
    return render(deployment, settings_of(deployment, place, lambda _path: "{}"))


def one(objects: tuple[dict[str, Any], ...], kind: str, name: str | None = None) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return found


def container(deployment: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


@cache
def schemas(version: str) -> Any:
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    definitions = utils.schema_contents(f"{folder}/_definitions.json", version)
    return referencing.Resource.from_contents(definitions) @ referencing.Registry()


@cache
def schema(version: str, kind: str, api_version: str) -> Any:
    group, _, number = api_version.rpartition("/")
    name = f"{kind.lower()}-{group.split('.')[0]}{'-' if group else ''}{number}"
    content = utils.schema_contents(f"kubernetes-json-schema/v{version}-local-strict/{name}.json", version)
    return jsonschema.validators.Draft202012Validator(content, registry=referencing.Resource.from_contents(content) @ schemas(version))


def check(objects: tuple[dict[str, Any], ...], version: str) -> None:
    """Strictly valid; an unknown kind is a failure (its schema is a file that is not there)."""
    for each in objects:
        sent = yaml.safe_load(as_yaml([each]))
        schema(version, each["kind"], each["apiVersion"]).validate(sent)


@pytest.fixture(params=["cog", "cortex", "split"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Deployment]:
    files_of = {"cog": COG, "cortex": CORTEX, "split": SPLIT}[request.param]
    variables = {"MODE": "fast"}
    secrets = {"TOKEN": Secret("hush-hush")}
    return request.param, deployment_of(tmp_path, files_of, variables=variables, secrets=secrets)


def test_the_manifests_of_a_project_are_the_golden_ones(case: tuple[str, Deployment], *, update_manifests: bool) -> None:
    name, deployment = case
    options = {key: value for key, value in EVERYTHING.items() if name == "cortex" or key not in ("job", "schedule")}
    text = as_yaml(rendered(deployment, namespace="models", **options))
    path = GOLDEN / f"{name}.yaml"
    if update_manifests:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_strictly_valid_for_every_version(version: str, tmp_path: Path) -> None:
    cortex = deployment_of(tmp_path / "cortex", CORTEX, variables={"A": "1"}, secrets={"B": Secret("2")})
    check(rendered(cortex, namespace="models", **EVERYTHING), version)
    check(rendered(deployment_of(tmp_path / "cog", COG)), version)


def test_the_check_catches_a_wrong_field_and_an_unknown_kind(tmp_path: Path) -> None:
    objects = rendered(deployment_of(tmp_path, COG))
    broken = one(objects, "Deployment")
    wrong = {**broken, "spec": {**broken["spec"], "replicas": "four"}}
    with pytest.raises(jsonschema.ValidationError, match="four"):
        check((wrong,), VERSIONS[-1])
    with pytest.raises(FileNotFoundError):
        check(({**broken, "kind": "ScaledObject", "apiVersion": "keda.sh/v1alpha1"},), VERSIONS[-1])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_rendering_is_pure_and_stable(case: tuple[str, Deployment]) -> None:
    _, deployment = case
    before = as_yaml(rendered(deployment))
    assert as_yaml(rendered(deployment)) == before
    assert before.index("kind: ConfigMap") < before.index("kind: Secret") < before.index("kind: Deployment")


def test_values_of_secrets_stand_nowhere_but_in_the_secret(case: tuple[str, Deployment]) -> None:
    _, deployment = case
    objects = rendered(deployment)
    assert "hush-hush" not in as_yaml(objects), "not even in the Secret as it is printed"
    assert one(objects, "Secret")["stringData"]["TOKEN"].reveal() == "hush-hush"
    assert "TOKEN" not in as_yaml(each for each in objects if each["kind"] != "Secret")
    written = files("shop", objects, kustomize=True)
    assert not [path for path in written if path.startswith("secret")]
    assert "hush-hush" not in "".join(written.values())


def test_compute_autoscaling_and_update_strategy_are_mapped(tmp_path: Path) -> None:
    objects = rendered(deployment_of(tmp_path, CORTEX))
    deployment = one(objects, "Deployment", "shop-iris")
    assert container(deployment)["resources"] == {
        "requests": {"cpu": "500m", "memory": "1024Mi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "1024Mi", "nvidia.com/gpu": "1"},
    }
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert "replicas" not in deployment["spec"], "the autoscaler's number would be set back by every deployment"
    assert deployment["metadata"]["annotations"]["lading.run/initial-replicas"] == "3"
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}} in deployment["spec"]["template"]["spec"]["volumes"]
    scaler = one(objects, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"], scaler["scaleTargetRef"]["name"]) == (2, 8, "shop-iris")
    down, up = scaler["behavior"]["scaleDown"], scaler["behavior"]["scaleUp"]
    assert (down["stabilizationWindowSeconds"], down["policies"][0]) == (300, {"type": "Percent", "value": 25, "periodSeconds": 30})
    assert (up["stabilizationWindowSeconds"], up["policies"][0]) == (60, {"type": "Percent", "value": 50, "periodSeconds": 30})


def test_servers_that_keep_jobs_in_a_folder_are_never_two(tmp_path: Path) -> None:
    folder = deployment_of(tmp_path, CORTEX)
    many = one(rendered(folder, replicas="3"), "Deployment", "shop-many")
    assert (many["spec"]["replicas"], many["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert {each["metadata"]["name"] for each in rendered(folder) if each["kind"] == "PodDisruptionBudget"} == {"shop-iris"}
    for own in ({"variables": {"LADING_JOBS": "/data/jobs"}}, {"secrets": {"LADING_JOBS": Secret("/data/jobs")}}):
        many = one(rendered(replace(folder, **own), replicas="3"), "Deployment", "shop-many")
        assert (many["spec"]["replicas"], many["spec"]["strategy"]) == (1, {"type": "Recreate"}), "a folder of another name"
    shared = replace(folder, secrets={"LADING_JOBS": Secret("postgresql://jobs")})
    many = one(rendered(shared, replicas="3"), "Deployment", "shop-many")
    assert (many["spec"]["replicas"], many["spec"]["strategy"]["type"]) == (3, "RollingUpdate")
    assert "LADING_JOBS" not in [each["name"] for each in container(many)["env"]], "ours would win over the Secret's"


def test_pods_may_do_nothing_that_a_model_does_not_need(case: tuple[str, Deployment]) -> None:
    for each in rendered(case[1]):
        if each["kind"] != "Deployment":
            continue
        pod = each["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert container(each)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["terminationGracePeriodSeconds"] > 5 + 30, "longer than leaving the Service and finishing predictions take"


def test_probes_and_drain(tmp_path: Path) -> None:
    made = container(one(rendered(deployment_of(tmp_path, COG)), "Deployment"))
    assert made["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert made["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert made["readinessProbe"]["periodSeconds"] == 1
    assert made["lifecycle"]["preStop"]["exec"]["command"][0] == "/opt/lading/bin/python"


def test_the_apis_of_a_splitter_share_their_pods_and_others_do_not(tmp_path: Path) -> None:
    deployment = deployment_of(tmp_path, SPLIT)
    assert [(one.name, one.members) for one in workloads(deployment)] == [("shop-both", ("a", "b", "both")), ("shop-other", ("other",))]
    objects = rendered(deployment, ingress_host="models.example.com")
    env = {each["name"]: each["value"] for each in container(one(objects, "Deployment", "shop-both"))["env"]}
    assert env["LADING_APIS"] == "a,b,both"
    paths = one(objects, "Ingress")["spec"]["rules"][0]["http"]["paths"]
    assert {each["path"]: each["backend"]["service"]["name"] for each in paths} == {
        "/a": "shop-both",
        "/b": "shop-both",
        "/both": "shop-both",
        "/other": "shop-other",
    }


def test_keda_scales_by_requests_in_flight(tmp_path: Path) -> None:
    objects = rendered(deployment_of(tmp_path, CORTEX), keda="http://prometheus:9090")
    assert not [each for each in objects if each["kind"] == "HorizontalPodAutoscaler"]
    spec = one(objects, "ScaledObject")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 8)
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["threshold"] == "6"
    assert 'lading_predictions_running{api=~"iris"' in trigger["metadata"]["query"]


def test_kserve_takes_the_place_of_deployment_service_and_autoscaler(tmp_path: Path) -> None:
    objects = rendered(deployment_of(tmp_path, CORTEX), kserve=True)
    predictor = one(objects, "InferenceService", "shop-iris")["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"], predictor["scaleTarget"]) == (2, 8, 6)
    (made,) = predictor["containers"]
    assert made["name"] == "kserve-container"
    assert "PORT" not in [each["name"] for each in made["env"]]
    kinds = {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert ("Deployment", "shop-iris") not in kinds
    assert ("Deployment", "shop-many") in kinds, "KServe knows no jobs"
    # Knative, which KServe hands the pod on to, takes no more of it.
    scale = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "containerConcurrency"}
    assert set(predictor) - scale == {"enableServiceLinks", "containers", "volumes"}
    assert not {"lifecycle", "startupProbe"} & set(made)
    assert made["securityContext"]["runAsNonRoot"] is True


def test_jobs_and_schedules(tmp_path: Path) -> None:
    deployment = deployment_of(tmp_path, CORTEX)
    options = {"job": ["nightly"], "schedule": ["many=*/5 * * * *=batch.json"]}
    deployment = replace(deployment, options=options)
    objects = render(deployment, settings_of(deployment, {}, lambda _path: '{"workers": 1}'))
    job = one(objects, "Job")
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    made = job["spec"]["template"]["spec"]["containers"][0]
    assert made["command"][1:4] == ["-m", "lading.service.job", "nightly"]
    cron = one(objects, "CronJob")
    assert cron["spec"]["schedule"] == "*/5 * * * *"
    (volume,) = [each for each in cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"] if each["name"] == "submission"]
    assert one(objects, "ConfigMap", volume["configMap"]["name"])["data"] == {"submission.json": '{"workers": 1}'}


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"replicas": "many"}, "--replicas"),
        ({"tls_secret": "a"}, "--tls-secret"),
        ({"keda": "prometheus"}, "--keda"),
        ({"keda": "http://p", "kserve": True}, "--keda"),
        ({"job": ["iris"]}, "--job"),
        ({"schedule": ["nightly=often"]}, "--schedule"),
        ({"node_selector": ["ssd"]}, "--node-selector"),
        ({"ingress_host": "UPPER_CASE"}, "--ingress-host"),
        ({"cpu_target": "0"}, "--cpu-target"),
    ],
)
def test_options_that_make_no_sense_are_told_with_their_names(options: dict[str, Any], rule: str, tmp_path: Path) -> None:
    deployment = replace(deployment_of(tmp_path, CORTEX), options=options)
    with pytest.raises(LadingError) as caught:
        settings_of(deployment, {}, lambda _path: "{}")
    assert str(caught.value.problems[0].origin) == rule


def test_scaling_by_cpu_needs_some_that_is_asked_for(tmp_path: Path) -> None:
    none = {**CORTEX, "cortex.yaml": CORTEX["cortex.yaml"].replace("cpu: 500m", "cpu: null")}
    deployment = deployment_of(tmp_path, none)
    with pytest.raises(LadingError) as caught:
        rendered(deployment)
    assert "compute.cpu is null" in caught.value.problems[0].what
    assert rendered(deployment, keda="http://prometheus:9090")


def test_all_wrong_options_are_told_at_once(tmp_path: Path) -> None:
    deployment = replace(deployment_of(tmp_path, COG), options={"replicas": "x", "cpu_target": "y", "keda": "z"})
    with pytest.raises(LadingError) as caught:
        settings_of(deployment, {}, lambda _path: "{}")
    assert len(caught.value.problems) == 3


@given(st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,60}", fullmatch=True), min_size=1, max_size=3))
def test_names_of_objects_are_names_and_differ(parts: list[str]) -> None:
    name = object_name(*parts)
    assert len(name) <= 52
    assert not name.startswith("-")
    if len("-".join(parts)) > 52:
        assert name != object_name(*parts[:-1], parts[-1] + "x")


@given(
    least=st.integers(1, 50),
    more=st.integers(0, 50),
    cpu=st.none() | st.floats(0.02, 64),
    memory=st.none() | st.integers(20 << 20, 1 << 40),
    gpu=st.integers(0, 8),
    window=st.integers(1, 500).map(lambda tens: tens * 10.0),
    factors=st.tuples(st.floats(0, 0.99), st.floats(1.01, 10)),
)
@settings(max_examples=15, deadline=None)
def test_any_settings_give_valid_manifests(
    tmp_path_factory: pytest.TempPathFactory,
    least: int,
    more: int,
    cpu: float | None,
    memory: int | None,
    gpu: int,
    window: float,
    factors: tuple[float, float],
) -> None:
    global _BASE  # noqa: PLW0603 -- one project for all examples
    _BASE = _BASE or deployment_of(tmp_path_factory.mktemp("project"), CORTEX)
    scaling = Autoscaling(
        min_replicas=least, max_replicas=least + more, window=window, max_downscale_factor=factors[0], max_upscale_factor=factors[1]
    )
    (iris, *others) = _BASE.service.apis
    cluster = replace(iris.cluster, compute=Compute(cpu=cpu, memory=memory, gpu=gpu), autoscaling=scaling)
    service = replace(_BASE.service, apis=(replace(iris, cluster=cluster), *others))
    options = {"replicas": "2"} if cpu is None else {}
    check(rendered(replace(_BASE, service=service), **options), VERSIONS[0])


_BASE: Deployment | None = None

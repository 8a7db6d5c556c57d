"""Deploying to a cluster: a real HTTP API with state, server-side apply and rollouts; what it refuses is told, and nothing is half done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lading.deploy.engine import Deployment, Place, State
from lading.deploy.kubernetes import KubernetesEngine
from lading.model.events import Event, Phase, silent
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import Secret
from tests.deploy.apiserver import ApiServer, Behaviour
from tests.deploy.support import COG, CORTEX, IMAGE, OTHER, SPLIT, deployment_of

BROKEN = "registry.example/broken@sha256:" + "3" * 64


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer().running() as running:
        yield running


@pytest.fixture
def engine(api: ApiServer, tmp_path: Path) -> KubernetesEngine:
    config = api.kubeconfig(tmp_path / "kubeconfig")
    return KubernetesEngine(Place(engine="kubernetes", address="test", options={"kubeconfig": str(config)}), poll=0.02)


@pytest.fixture
def cog(tmp_path: Path) -> Deployment:
    return deployment_of(tmp_path / "cog", COG, variables={"MODE": "fast"}, secrets={"TOKEN": Secret("hush-hush")})


def deploy(engine: KubernetesEngine, deployment: Deployment, timeout: float = 20) -> Any:
    return engine.wait(engine.apply(deployment, silent), silent, timeout)


def problem_of(call: Callable[[], Any]) -> Problem:
    with pytest.raises(LadingError) as caught:
        call()
    return caught.value.problems[0]


def test_a_deployment_is_applied_waited_for_and_shown(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    events: list[Event] = []

    def heard(event: Event) -> None:
        events.append(event)

    status = engine.wait(engine.apply(cog, heard), heard, 20)
    assert (status.state, status.apis[0].name, status.apis[0].ready) == (State.LIVE, "predict", 1)
    assert [one.number for one in status.revisions] == [1]
    assert status.endpoints[0].url == "http://shop.models.svc/predictions"
    assert {"Deployment", "Service", "PodDisruptionBudget", "ConfigMap", "Secret", "ControllerRevision"} <= {
        kind for kind in ("Deployment", "Service", "PodDisruptionBudget", "ConfigMap", "Secret", "ControllerRevision") if api.kind(kind)
    }
    assert [one.done for one in events if one.phase is Phase.PROGRESS][-1] == 1
    assert events[-1].phase is Phase.FINISHED


def test_what_is_sent_is_what_is_rendered(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    from lading.deploy.kubernetes_api import revealed

    deploy(engine, cog)
    sent = [one.body for one in api.requests if one.method == "PATCH" and one.query.get("force") and "dryRun" not in one.query]
    assert sent == [revealed(one) for one in engine.render(cog)]


def test_secrets_go_into_secrets_alone(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    deploy(engine, cog)
    (secret,) = api.kind("Secret").values()
    assert secret["stringData"] == {"TOKEN": "hush-hush"}
    others = [one for kind in ("Deployment", "ConfigMap", "ControllerRevision", "Service") for one in api.kind(kind).values()]
    assert "hush-hush" not in str(others)


def test_everything_is_tried_before_anything_changes(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.denied = {("PATCH", "deployments"), ("PATCH", "poddisruptionbudgets")}
    with pytest.raises(LadingError) as caught:
        engine.apply(cog, silent)
    assert [one.rule for one in caught.value.problems] == ["cluster-forbidden"] * 2, "both at once"
    assert "apply Deployment shop" in caught.value.problems[0].what
    assert api.objects == {}


def test_what_is_refused_only_when_it_counts_leaves_no_half_behind(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    deploy(engine, cog)
    api.full = {"poddisruptionbudgets"}  # which come last
    assert problem_of(lambda: engine.apply(replace(cog, image=OTHER), silent)).rule == "cluster-forbidden"
    assert api.kind("Deployment")["shop"]["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert [one.number for one in engine.status("shop").revisions] == [1]


def test_an_interruption_leaves_no_half_behind(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    deploy(engine, cog)
    api.interrupting = {"poddisruptionbudgets"}  # which come last
    with pytest.raises(KeyboardInterrupt):
        engine.apply(replace(cog, image=OTHER, variables={"MODE": "new"}), silent)
    assert api.kind("Deployment")["shop"]["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert [one["data"] for one in api.kind("ConfigMap").values()] == [{"MODE": "fast"}]
    assert [one.number for one in engine.status("shop").revisions] == [1]


def test_an_ingress_is_shown_as_the_address(engine: KubernetesEngine, cog: Deployment, tmp_path: Path) -> None:
    status = deploy(engine, replace(cog, options={"ingress_host": "m.example.com", "tls_secret": "tls"}))
    assert [one.url for one in status.endpoints if one.reach == "outside"] == ["https://m.example.com/predictions"]
    split = deployment_of(tmp_path / "split", SPLIT, name="split", options={"ingress_host": "m.example.com"})
    outside = {one.api: one.url for one in deploy(engine, split).endpoints if one.reach == "outside"}
    assert outside == {name: f"http://m.example.com/{name}" for name in ("a", "b", "both", "other")}


def test_a_wrong_token_is_told_as_a_login_that_is_not_accepted(api: ApiServer, tmp_path: Path, cog: Deployment) -> None:
    config = api.kubeconfig(tmp_path / "other", token="expired")
    engine = KubernetesEngine(Place(engine="kubernetes", options={"kubeconfig": str(config)}))
    found = problem_of(lambda: engine.apply(cog, silent))
    assert (found.rule, found.code) == ("cluster-unauthorized", ExitCode.DEPLOY)
    assert "expired" not in str(found)


def test_a_context_that_is_not_there_is_told_with_those_that_are(api: ApiServer, tmp_path: Path, cog: Deployment) -> None:
    config = api.kubeconfig(tmp_path / "kubeconfig", context="staging")
    engine = KubernetesEngine(Place(engine="kubernetes", address="prod", options={"kubeconfig": str(config)}))
    found = problem_of(lambda: engine.apply(cog, silent))
    assert found.rule == "context-unknown"
    assert "staging" in str(found.why)


def test_no_configuration_at_all_is_told(tmp_path: Path, cog: Deployment) -> None:
    engine = KubernetesEngine(Place(engine="kubernetes", options={"kubeconfig": str(tmp_path / "nowhere")}))
    assert problem_of(lambda: engine.apply(cog, silent)).rule == "context-unknown"


def test_a_namespace_that_is_not_there_is_told(api: ApiServer, tmp_path: Path, cog: Deployment) -> None:
    config = api.kubeconfig(tmp_path / "kubeconfig")
    engine = KubernetesEngine(Place(engine="kubernetes", options={"kubeconfig": str(config), "namespace": "elsewhere"}))
    found = problem_of(lambda: engine.apply(cog, silent))
    assert 'namespaces "elsewhere" not found' in f"{found.what} {found.why}"


@pytest.mark.slow
def test_cut_connections_and_busy_servers_are_asked_again(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.cut, api.refuse = 2, [503, 429]
    assert deploy(engine, cog).state is State.LIVE


@pytest.mark.slow
def test_a_cluster_that_stays_away_is_a_network_problem(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.cut = 10_000
    found = problem_of(lambda: engine.apply(cog, silent))
    assert (found.rule, found.code) == ("cluster-unreachable", ExitCode.NETWORK)


def test_a_second_deployment_is_a_new_revision_and_the_same_one_changes_nothing(
    api: ApiServer, engine: KubernetesEngine, cog: Deployment
) -> None:
    deploy(engine, cog)
    before = api.kind("Deployment")["shop"]["metadata"]["generation"]
    deploy(engine, cog)
    assert api.kind("Deployment")["shop"]["metadata"]["generation"] == before
    status = deploy(engine, replace(cog, image=OTHER))
    assert [(one.number, one.current) for one in status.revisions] == [(1, False), (2, False), (3, True)]
    assert status.revisions[-1].digest == OTHER


def test_a_rollout_that_fails_is_taken_back(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.behaviours[BROKEN] = Behaviour(ready_after=None, waiting="CrashLoopBackOff", restarts=5, log="Traceback\nValueError: no weights")
    deploy(engine, cog)
    found = problem_of(lambda: deploy(engine, replace(cog, image=BROKEN, variables={"MODE": "new"})))
    assert found.rule == "deployment-failed"
    assert "CrashLoopBackOff" in found.what
    assert "ValueError: no weights" in str(found.detail)
    assert "revision 1 is served again" in str(found.instead)
    status = engine.status("shop")
    assert (status.state, status.revisions[-1].number) == (State.LIVE, 1)
    assert api.kind("Deployment")["shop"]["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert [one["data"] for one in api.kind("ConfigMap").values()] == [{"MODE": "fast"}], "what the failed one brought is gone"


def test_a_rollout_that_takes_too_long_is_taken_back(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.behaviours[BROKEN] = Behaviour(ready_after=None)
    deploy(engine, cog)
    found = problem_of(lambda: deploy(engine, replace(cog, image=BROKEN), timeout=0.3))
    assert "not ready within 0.3 s" in found.what
    assert engine.status("shop").state is State.LIVE


def test_a_first_deployment_that_fails_stays_to_be_looked_at(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.behaviours[BROKEN] = Behaviour(ready_after=None, waiting="InvalidImageName")
    found = problem_of(lambda: deploy(engine, replace(cog, image=BROKEN)))
    assert "lading delete --name shop" in str(found.instead)
    status = engine.status("shop")
    assert status.state is State.UPDATING
    assert "InvalidImageName" in status.apis[0].messages[0]
    engine.delete("shop", None, silent)
    assert api.objects == {}


def test_rollback_brings_everything_back(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    deploy(engine, cog)
    deploy(engine, replace(cog, image=OTHER, variables={"MODE": "slow"}, options={"ingress_host": "m.example.com"}))
    assert api.kind("Ingress")
    revision = engine.rollback("shop", None, silent)
    status = engine.wait(revision, silent, 20)
    assert (revision.number, status.revisions[-1].digest) == (3, IMAGE)
    assert api.kind("Ingress") == {}, "what the newer one added is gone"
    pod = next(iter(api.kind("Pod").values()))["spec"]["containers"][0]
    (source,) = [one["configMapRef"]["name"] for one in pod["envFrom"] if "configMapRef" in one]
    assert api.kind("ConfigMap")[source]["data"] == {"MODE": "fast"}
    assert problem_of(lambda: engine.rollback("shop", 17, silent)).rule == "revision-unknown"


def test_a_field_that_another_manages_is_a_conflict_unless_it_is_taken_over(
    api: ApiServer, engine: KubernetesEngine, cog: Deployment
) -> None:
    deploy(engine, cog)
    key = ("models", "services", "shop")
    api.objects[key]["spec"]["type"] = "NodePort"
    api.owners[key] = {"kubectl-edit": {"spec\0type": "NodePort"}, "lading": {}}
    found = problem_of(lambda: engine.apply(cog, silent))
    assert (found.rule, "kubectl-edit" in str(found.why)) == ("cluster-conflict", True)
    deploy(engine, replace(cog, options={"force_conflicts": True}))
    assert api.kind("Service")["shop"]["spec"]["type"] == "ClusterIP"


def test_two_at_the_same_time_do_not_overwrite_each_other(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    deploy(engine, cog)
    stale = engine._revisions("shop")
    deploy(engine, replace(cog, image=OTHER))
    engine._revisions = lambda name: stale  # type: ignore[method-assign] # as one sees it who has looked a moment before
    assert problem_of(lambda: engine.apply(cog, silent)).rule == "deployed-meanwhile"


def test_a_lost_answer_is_not_taken_for_somebody_else(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.lost = 1
    status = deploy(engine, cog)
    assert [one.number for one in status.revisions] == [1]


def test_objects_of_others_are_left_alone(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    deploy(engine, replace(cog, name="shop-predict"))
    api.objects["models", "services", "shop"] = {"kind": "Service", "metadata": {"name": "shop", "labels": {"app": "web"}}, "spec": {}}
    assert problem_of(lambda: engine.apply(cog, silent)).rule == "name-taken"
    assert api.objects["models", "services", "shop"]["spec"] == {}


def test_scale_and_deploy_again(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    deploy(engine, cog)
    assert engine.scale("shop", "predict", 3, silent).apis[0].ready == 3
    assert deploy(engine, cog).apis[0].ready == 1, "the project says one"
    assert engine.scale("shop", "predict", 0, silent).state is State.STOPPED
    assert problem_of(lambda: engine.scale("shop", "nobody", 1, silent)).rule == "api-unknown"


def test_several_apis(api: ApiServer, engine: KubernetesEngine, tmp_path: Path) -> None:
    deployment = deployment_of(tmp_path / "cortex", CORTEX, options={"job": ["nightly"]})
    status = deploy(engine, deployment)
    assert {one.name: one.ready for one in status.apis if one.kind != "Job"} == {"iris": 3, "words": 1, "many": 1, "nightly": 1}
    assert [one.messages for one in status.apis if one.kind == "Job"] == [("running",)]
    assert problem_of(lambda: engine.scale("shop", "many", 2, silent)).rule == "cannot-scale"
    engine.delete("shop", "words", silent)
    assert "shop-words" not in api.kind("Deployment")
    assert "shop-many" in api.kind("Deployment")


def test_an_api_that_the_project_has_no_more_goes_when_the_new_revision_is_served(
    api: ApiServer, engine: KubernetesEngine, tmp_path: Path
) -> None:
    deployment = deployment_of(tmp_path / "cortex", CORTEX)
    deploy(engine, deployment)
    smaller = replace(deployment, service=replace(deployment.service, apis=deployment.service.apis[:1]))
    revision = engine.apply(smaller, silent)
    assert "shop-words" in api.kind("Deployment"), "not before"
    engine.wait(revision, silent, 20)
    assert set(api.kind("Deployment")) == {"shop-iris", "shop-many", "shop-nightly"}


def wait_until_live(engine: KubernetesEngine) -> None:
    until = time.monotonic() + 20
    while engine.status("shop").state is not State.LIVE:
        assert time.monotonic() < until
        time.sleep(0.02)
    engine.status("shop")  # it may have become so while the one before was looking


def test_a_revision_that_nobody_waited_for_counts_once_it_is_served(api: ApiServer, engine: KubernetesEngine, tmp_path: Path) -> None:
    api.behaviours[BROKEN] = Behaviour(ready_after=None, waiting="InvalidImageName")
    first = deployment_of(tmp_path / "cortex", CORTEX)
    smaller = replace(first, image=OTHER, service=replace(first.service, apis=first.service.apis[:1]))
    engine.apply(first, silent)
    wait_until_live(engine)
    engine.apply(smaller, silent)
    assert "shop-words" in api.kind("Deployment"), "the new one is not served yet"
    wait_until_live(engine)
    assert "shop-words" not in api.kind("Deployment"), "what it has not goes then"
    found = problem_of(lambda: deploy(engine, replace(smaller, image=BROKEN)))
    assert "revision 2 is served again" in str(found.instead)
    assert engine.rollback("shop", None, silent).digest == IMAGE


def test_a_revision_is_acknowledged_by_the_next_one_too(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.behaviours[BROKEN] = Behaviour(ready_after=None, waiting="InvalidImageName")
    engine.apply(cog, silent)
    until = time.monotonic() + 20
    while not (api.kind("Deployment")["shop"].get("status") or {}).get("availableReplicas"):
        assert time.monotonic() < until
        time.sleep(0.02)
    found = problem_of(lambda: deploy(engine, replace(cog, image=BROKEN)))
    assert "revision 1 is served again" in str(found.instead)


def test_going_back_passes_over_what_was_never_served(api: ApiServer, engine: KubernetesEngine, tmp_path: Path) -> None:
    api.behaviours[BROKEN] = Behaviour(ready_after=None, waiting="InvalidImageName")
    first = deployment_of(tmp_path / "cortex", CORTEX)
    deploy(engine, first)
    smaller = replace(first, image=BROKEN, service=replace(first.service, apis=first.service.apis[:1]))
    engine.apply(smaller, silent)  # nobody waits for it
    assert "revision 1 is served again" in str(problem_of(lambda: deploy(engine, smaller)).instead)
    status = engine.status("shop")
    assert (status.state, [one.number for one in status.revisions]) == (State.LIVE, [1])
    assert "shop-words" in api.kind("Deployment")


def test_looking_needs_no_role_that_may_change_something(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    engine.apply(cog, silent)
    api.denied = {("PATCH", "controllerrevisions")}
    wait_until_live(engine)


def test_inference_services_are_waited_for_beside_deployments(api: ApiServer, engine: KubernetesEngine, tmp_path: Path) -> None:
    deployment = deployment_of(tmp_path / "cortex", CORTEX, options={"kserve": True})
    api.behaviours["shop-iris"] = Behaviour(ready_after=None)
    assert "not ready within" in problem_of(lambda: deploy(engine, deployment, timeout=0.5)).what
    api.behaviours["shop-iris"] = Behaviour(ready_after=0.5)
    status = deploy(engine, deployment)
    assert {one.name: one.state for one in status.apis} == dict.fromkeys(("iris", "words", "many", "nightly"), State.LIVE)
    engine.scale("shop", "iris", 9, silent)
    predictor = api.kind("InferenceService")["shop-iris"]["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (9, 9)
    deploy(engine, deployment)
    predictor = api.kind("InferenceService")["shop-iris"]["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 8), "the project says so"


def test_a_job_runs_each_time_that_it_is_asked_for_and_no_other_time(api: ApiServer, engine: KubernetesEngine, tmp_path: Path) -> None:
    api.behaviours[BROKEN] = Behaviour(ready_after=None, waiting="InvalidImageName")
    plain = deployment_of(tmp_path / "cortex", CORTEX)
    asked = replace(plain, options={"job": ["nightly"]})
    for number, one in enumerate((asked, asked, replace(asked, image=OTHER)), 1):
        deploy(engine, one)
        assert len(api.kind("Job")) == number
    images = [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in api.kind("Job").values()]
    assert sorted(images) == [IMAGE, IMAGE, OTHER]
    for name in api.kind("Job"):  # as the cluster does when a Job has been over for a week
        del api.objects["models", "jobs", name]
    assert problem_of(lambda: deploy(engine, replace(plain, image=BROKEN))).rule == "deployment-failed"
    engine.wait(engine.rollback("shop", 1, silent), silent, 20)
    assert api.kind("Job") == {}, "nobody asked"


def test_a_job_of_a_revision_that_failed_keeps_what_it_needs(api: ApiServer, engine: KubernetesEngine, tmp_path: Path) -> None:
    api.behaviours["shop-words"] = Behaviour(ready_after=None, waiting="InvalidImageName")
    plain = deployment_of(tmp_path / "cortex", CORTEX)
    deploy(engine, replace(plain, service=replace(plain.service, apis=plain.service.apis[:1])))
    asked = replace(plain, variables={"MODE": "new"}, options={"job": ["nightly"]})
    assert problem_of(lambda: deploy(engine, asked)).rule == "deployment-failed"
    (job,) = api.kind("Job").values()
    pod = job["spec"]["template"]["spec"]
    needed = [one["configMapRef"]["name"] for one in pod["containers"][0]["envFrom"]]
    needed += [one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one]
    assert set(needed) == set(api.kind("ConfigMap"))


def test_a_broken_api_goes_by_taking_it_out(api: ApiServer, engine: KubernetesEngine, tmp_path: Path) -> None:
    api.behaviours["shop-words"] = Behaviour(ready_after=None, waiting="CrashLoopBackOff", restarts=5)
    deployment = deployment_of(tmp_path / "cortex", CORTEX)
    assert problem_of(lambda: deploy(engine, deployment)).rule == "deployment-failed"
    smaller = replace(deployment, service=replace(deployment.service, apis=deployment.service.apis[:1]))
    assert deploy(engine, smaller).state is State.LIVE
    assert "shop-words" not in api.kind("Deployment")


def test_apis_of_a_splitter_are_deleted_together(engine: KubernetesEngine, tmp_path: Path) -> None:
    deploy(engine, deployment_of(tmp_path / "split", SPLIT))
    assert problem_of(lambda: engine.delete("shop", "a", silent)).rule == "cannot-delete-api"
    assert {one.name: one.kind for one in engine.status("shop").apis}["both"] == "TrafficSplitter"


def test_logs_of_one_and_of_several_pods(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.behaviours[IMAGE] = Behaviour(log="first\nlast")
    deploy(engine, cog)
    assert list(engine.logs("shop", None, follow=False)) == ["first", "last"]
    engine.scale("shop", "predict", 2, silent)
    lines = sorted(engine.logs("shop", "predict", follow=True))
    assert len(lines) == 4
    assert all(line.startswith("[shop-") for line in lines)


@pytest.mark.parametrize("follow", [False, True])
def test_a_pod_that_has_not_begun_hides_no_other_log(
    follow: bool,  # noqa: FBT001 -- pytest's way
    api: ApiServer,
    engine: KubernetesEngine,
    cog: Deployment,
) -> None:
    api.behaviours[IMAGE] = Behaviour(log="first\nlast")
    deploy(engine, cog)
    engine.scale("shop", "predict", 2, silent)
    waiting, other = sorted(api.kind("Pod"), reverse=True)
    api.behaviours[waiting] = Behaviour(waiting="ContainerCreating")
    lines = list(engine.logs("shop", None, follow=follow))
    assert [line for line in lines if other in line] == [f"[{other}] first", f"[{other}] last"]
    assert [("waiting to start: ContainerCreating" in line) for line in lines if waiting in line] == [True]
    api.denied = {("GET", "pods/log")}
    assert problem_of(lambda: list(engine.logs("shop", None, follow=follow))).rule == "cluster-forbidden", "none can be had"


def test_a_log_is_asked_for_again_when_the_connection_breaks(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.behaviours[IMAGE] = Behaviour(log="first\nlast")
    deploy(engine, cog)
    (pod,) = api.kind("Pod")
    api.cut = 1
    assert list(engine.cluster.lines(pod, "model", follow=False)) == ["first", "last"]


def test_logs_that_may_not_be_read_are_told_and_hide_no_failure(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.behaviours[BROKEN] = Behaviour(ready_after=None, waiting="InvalidImageName")
    deploy(engine, cog)
    api.denied = {("GET", "pods/log")}
    assert problem_of(lambda: list(engine.logs("shop", None, follow=False))).rule == "cluster-forbidden"
    found = problem_of(lambda: deploy(engine, replace(cog, image=BROKEN)))
    assert (found.rule, "read the log" in str(found.detail)) == ("deployment-failed", True)


def test_what_is_not_deployed_is_said_to_be_absent(engine: KubernetesEngine) -> None:
    assert engine.status("shop").state is State.ABSENT
    for call in (lambda: engine.delete("shop", None, silent), lambda: engine.rollback("shop", None, silent)):
        assert problem_of(call).rule == "not-deployed"


def test_a_kind_that_the_cluster_lacks_is_told_with_its_product(engine: KubernetesEngine, tmp_path: Path) -> None:
    deployment = deployment_of(tmp_path / "cortex", CORTEX, options={"keda": "http://prometheus:9090"})
    found = problem_of(lambda: engine.apply(deployment, silent))
    assert (found.rule, "KEDA" in str(found.why)) == ("cluster-lacks-kind", True)


def test_a_cluster_that_is_too_old_is_told_as_such(api: ApiServer, engine: KubernetesEngine, cog: Deployment) -> None:
    api.unknown = {"poddisruptionbudgets"}
    found = problem_of(lambda: engine.apply(cog, silent))
    assert (found.rule, "1.25" in str(found.why)) == ("cluster-lacks-kind", True)
    assert api.objects == {}


def test_rendering_needs_neither_a_cluster_nor_its_package(cog: Deployment, tmp_path: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "from lading.deploy.engine import Place, engine_module\n"
        "module = engine_module('kubernetes')\n"
        "assert module.connect(Place(engine='kubernetes'), {})\n"
        "assert 'urllib3' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert KubernetesEngine(Place(engine="kubernetes", address="nowhere")).render(cog)

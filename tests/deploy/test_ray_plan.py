"""What a deployment is on Ray: pure, so no Ray is needed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from lading.deploy.engine import Deployment, Place, require
from lading.deploy.ray import RayEngine
from lading.deploy.ray_host import above, below, planned
from lading.deploy.ray_ingress import Unwatched
from lading.deploy.ray_options import CAPABILITIES
from lading.deploy.ray_plan import applications, from_json, http_port, require_unshared, scaled, scaled_as
from lading.model.cluster import UpdateStrategy
from lading.model.problems import LadingError
from lading.model.secrets import Secret
from lading.service.process import environment_of
from tests.deploy.support import COG, CORTEX, SPLIT, deployment_of
from tests.deploy.test_bundle import bundled


@pytest.fixture
def cortex(tmp_path) -> Deployment:
    """A deployment of every kind of API."""
    return deployment_of(tmp_path, CORTEX, "fraud")


def test_each_api_is_an_application_with_the_resources_that_it_asks_for(cortex):
    iris, words, many, nightly = applications(cortex, "d" * 64, 3, None)
    assert [one.name for one in (iris, words, many, nightly)] == ["fraud.iris", "fraud.words", "fraud.many", "fraud.nightly"]
    assert [one.route for one in (iris, words)] == ["/fraud/iris", "/fraud/words"]
    asked = iris.options["ray_actor_options"]
    assert {name: asked[name] for name in asked if name != "runtime_env"} == {"num_cpus": 0.5, "memory": 1 << 30, "num_gpus": 1}
    assert iris.options["autoscaling_config"] == {
        "min_replicas": 2,
        "max_replicas": 8,
        "initial_replicas": 3,
        "target_ongoing_requests": 6,
        "look_back_period_s": 30.0,
        "upscale_delay_s": 60.0,
        "downscale_delay_s": 300.0,
    }
    assert iris.options["max_ongoing_requests"] == 1024
    assert (iris.options["max_surge_percent"], iris.options["rolling_update_percentage"]) == (50, 0.5)
    assert words.options["num_replicas"] == 1
    assert "autoscaling_config" not in words.options
    assert iris.plan.revision == 3


def test_cogs_predictor_has_everything_below_the_prefix(tmp_path):
    deployment = deployment_of(tmp_path, COG, "m")
    (one,) = applications(deployment, "d", 1, None)
    assert (one.route, one.plan.prefix) == ("/m", "/m")
    (one,) = applications(replace(deployment, options={"route": "/"}), "d", 1, None)
    assert (one.route, one.plan.prefix) == ("/", "")
    (one,) = applications(replace(deployment, options={"route": "models/m/"}), "d", 1, None)
    assert one.route == "/models/m"


def test_no_two_deployments_have_applications_of_one_name(tmp_path):
    service = deployment_of(tmp_path, COG).service
    (api,) = service.apis

    def name(deployment: str, called: str) -> str:
        apis = (replace(api, name=called),)
        return applications(Deployment(name=deployment, service=replace(service, apis=apis)), "d", 1, None)[0].name

    assert name("fraud", "eu-v2") != name("fraud-eu", "v2")


@pytest.mark.parametrize("route", ["{x}", "a//b", "a b", "a?b", "ä"])
def test_a_route_that_serve_would_refuse_is_refused_first(tmp_path, route):
    deployment = deployment_of(tmp_path, COG, "m", options={"route": route})
    with pytest.raises(LadingError) as refused:
        applications(deployment, "d", 1, None)
    (problem,) = refused.value.problems
    assert (problem.rule, problem.what) == ("usage", f'"{route}" is no path that APIs can lie below.')


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "8e3"])
def test_a_port_that_is_none_is_refused(tmp_path, port):
    deployment = deployment_of(tmp_path, COG, "m")
    with pytest.raises(LadingError, match=f'"{port}" is no port'):
        http_port(replace(deployment, options={"http_port": port}))
    wrong = replace(deployment, bundled=bundled(tmp_path / "one", COG), options={"http_port": port})
    with pytest.raises(LadingError, match="is no port"):
        RayEngine(Place(engine="ray"), {}).render(wrong)
    assert (http_port(deployment), http_port(replace(deployment, options={"http_port": "9000"}))) == (8000, 9000)


@pytest.mark.parametrize(
    ("surge", "unavailable", "expected"),
    [("25%", "25%", (25, 0.25)), (0, "50%", (0, 0.5)), ("100%", 0, (100, 1.0)), (0, 1, (0, 1.0)), ("300%", 0, (100, 1.0))],
)
def test_an_update_strategy_is_told_in_percent(tmp_path, surge, unavailable, expected):
    service = deployment_of(tmp_path, COG).service
    (api,) = service.apis
    settings = replace(api.cluster, update=UpdateStrategy(max_surge=surge, max_unavailable=unavailable))
    (one,) = applications(Deployment(name="m", service=replace(service, apis=(replace(api, cluster=settings),))), "d", 1, None)
    assert (one.options["max_surge_percent"], one.options["rolling_update_percentage"]) == expected


def test_a_replica_follows_cogs_variables(tmp_path):
    deployment = deployment_of(tmp_path, COG, "m", variables={"COG_MAX_CONCURRENCY": "3"})
    (application,) = applications(deployment, "d", 1, "m/1")
    spec = planned(deployment.service, application.plan, {"COG_SETUP_TIMEOUT": "7"}, {"COG_SETUP_TIMEOUT": "9"})
    assert (spec.apis[0].worker.threads, spec.setup_timeout) == (3, 7)


def test_a_model_sees_the_secrets_of_its_deployment_and_not_the_password_of_its_jobs(cortex):
    _iris, words, *_ = applications(replace(cortex, variables={"LADING_JOBS": "postgresql://u:hush@h/e"}), "d", 1, "fraud/1")
    spec = planned(cortex.service, words.plan, {"LADING_JOBS": "postgresql://u:hush@h/d", "TOKEN": "seen"}, {})
    seen = environment_of(spec.apis[0].worker, {"LADING_JOBS": "postgresql://u:hush@h/d"})
    assert "hush" not in str(seen)
    assert seen["TOKEN"] == "seen"


def test_an_application_is_the_same_after_json_and_is_scaled(cortex):
    iris, words, *_ = applications(cortex, "d", 1, "fraud/1")
    assert from_json(json.loads(json.dumps(iris.as_json()))) == iris
    assert scaled(words, 4).options["num_replicas"] == 4
    changed = scaled(iris, 20).options["autoscaling_config"]
    assert (changed["min_replicas"], changed["initial_replicas"], changed["max_replicas"]) == (2, 20, 20)


def test_the_application_sees_a_request_as_it_was_sent():
    async def seen(scope: Any, _receive: Any, _send: Any) -> None:
        scopes.append(below(scope, "/m"))

    scopes: list[Any] = []
    sent = {"type": "http", "path": "/m/predictions/a b", "raw_path": b"/m/predictions/a%20b", "root_path": "/m", "headers": [(b"a", b"b")]}
    asyncio.run(Unwatched(seen)(sent, None, None))
    wanted = {"type": "http", "path": "/predictions/a b", "raw_path": b"/predictions/a%20b", "root_path": "", "headers": [(b"a", b"b")]}
    assert scopes == [wanted]


@pytest.mark.parametrize(
    ("prefix", "place", "seen"),
    [("/m", b"/predictions/a", b"/m/predictions/a"), ("", b"/predictions/a", b"/predictions/a"), ("/m", b"http://b/c", b"http://b/c")],
)
def test_a_place_that_an_answer_names_is_where_its_client_finds_it(prefix, place, seen):
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def answer() -> None:
        pass_on = above(send, prefix)
        await pass_on({"type": "http.response.start", "status": 202, "headers": [(b"location", place), (b"a", b"/b")]})
        await pass_on({"type": "http.response.body", "body": b"{}"})

    asyncio.run(answer())
    assert sent[0]["headers"] == [(b"location", seen), (b"a", b"/b")]
    assert sent[1]["body"] == b"{}"


def test_what_was_scaled_by_hand_stays_so_with_an_update(cortex):
    before = applications(cortex, "d", 1, None)
    iris, words, many, nightly = applications(cortex, "e", 2, None)
    assert scaled_as((iris, words, many, nightly), before) == (iris, words, many, nightly)
    changed = scaled_as((iris, words, many, nightly), (before[0], scaled(before[1], 4), *before[2:]))
    assert changed == (iris, scaled(words, 4), many, nightly)
    assert scaled_as(changed, changed) == changed


def test_a_splitter_is_an_application_that_sends_requests_to_those_of_its_apis(tmp_path):
    deployment = deployment_of(tmp_path, SPLIT, "m")
    require(deployment, CAPABILITIES, Place(engine="ray"))
    made = applications(deployment, "d", 1, None)
    assert [(one.name, one.route) for one in made] == [("m.a", "/m/a"), ("m.b", "/m/b"), ("m.other", "/m/other"), ("m.both", "/m/both")]
    splitter = made[-1]
    assert splitter.kind == "TrafficSplitter"
    assert splitter.plan.split is not None
    assert [(one.name, one.route, one.weight) for one in splitter.plan.split.targets] == [("a", "/m/a", 90), ("b", "/m/b", 10)]
    assert [one.plan.split for one in made[:3]] == [None] * 3
    assert from_json(json.loads(json.dumps(splitter.as_json()))) == splitter


def test_an_api_that_a_splitter_needs_is_not_taken_away(tmp_path):
    made = applications(deployment_of(tmp_path, SPLIT, "m"), "d", 1, None)
    for name in (None, "other", "both"):
        require_unshared(name, made)
    with pytest.raises(LadingError, match="both sends requests to a"):
        require_unshared("a", made)


def test_apis_that_are_called_by_grpc_are_refused_before_anything_is_sent(tmp_path):
    deployment = deployment_of(tmp_path, COG, "m")
    (api,) = deployment.service.apis
    called = replace(api, worker=replace(api.worker, cortex={"grpc": {"path": "a.proto"}}))
    with pytest.raises(LadingError) as refused:
        require(replace(deployment, service=replace(deployment.service, apis=(called,))), CAPABILITIES, Place(engine="ray"))
    assert [problem.what for problem in refused.value.problems] == ["m needs gRPC, which ray does not do."]


def test_the_place_says_which_cluster_it_is_whatever_the_variables_say_later():
    assert RayEngine(Place(engine="ray"), {"RAY_ADDRESS": "10.0.0.5:6379"}).place.address == "10.0.0.5:6379"
    assert RayEngine(Place(engine="ray", address="10.0.0.6:6379"), {"RAY_ADDRESS": "10.0.0.5:6379"}).place.address == "10.0.0.6:6379"


def test_what_is_shown_has_no_secret(cortex, tmp_path):
    deployment = replace(cortex, bundled=bundled(tmp_path / "one", COG), secrets={"LADING_JOBS": Secret("postgresql://u:geheim@h/d")})
    rendered = RayEngine(Place(engine="ray"), {}).render(deployment)
    assert "geheim" not in str(rendered)
    assert "LADING_JOBS" in str(rendered[-1])

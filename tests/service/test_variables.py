"""Variables that the server follows, read from what it is started with."""

from __future__ import annotations

import pytest

from lading.model.project import ProjectKind
from lading.model.service import ServedApi, ServiceSpec, WorkerSpec
from lading.service.log import level_of
from lading.service.process import environment_of, slots_of
from lading.service.variables import of_server, with_cog_variables, with_options, with_threads


def api(style: str = "cog", concurrent: int = 1, threads: int = 1, **env: str) -> ServedApi:
    signature = {"concurrent": concurrent} if style == "cog" else None
    worker = WorkerSpec(python="python", root="/", style=style, file="x.py", object="X", env=env, signature=signature, threads=threads)
    return ServedApi(name="x", worker=worker)


def spec(*apis: ServedApi, setup_timeout: float | None = None) -> ServiceSpec:
    return ServiceSpec(kind=ProjectKind.COG, title="x", apis=apis, setup_timeout=setup_timeout)


def test_what_the_project_sets_wins_over_the_servers_own_and_a_cortex_predictors_is_its_own():
    assert of_server([api(A="model")], {"A": "server", "B": "server"}) == {"A": "model", "B": "server"}
    assert of_server([api("cortex", A="model")], {"A": "server"}) == {"A": "server"}
    assert of_server([], {"A": "server"}) == {"A": "server"}


@pytest.mark.parametrize(("given", "slots"), [("2", 2), ("1", 1), ("9", 9), ("0", 4), ("x", 4), ("", 4), ("5000", 4)])
def test_cogs_concurrency_wins_over_what_is_declared_unless_it_makes_no_sense(given: str, slots: int):
    [made] = with_cog_variables(spec(api(concurrent=4)), {"COG_MAX_CONCURRENCY": given}).apis
    assert slots_of(made.worker) == slots


def test_cogs_concurrency_is_not_for_cortex_predictors():
    [made] = with_cog_variables(spec(api("cortex", threads=4)), {"COG_MAX_CONCURRENCY": "2"}).apis
    assert slots_of(made.worker) == 4


def test_the_command_lines_threads_may_be_fewer_than_declared():
    assert slots_of(with_threads(api(concurrent=4).worker, 2)) == 2


def test_setup_timeout_from_the_project_unless_the_command_line_has_one():
    assert with_cog_variables(spec(api(COG_SETUP_TIMEOUT="2")), {"COG_SETUP_TIMEOUT": "1"}).setup_timeout == 2
    assert with_cog_variables(spec(api(COG_SETUP_TIMEOUT="2"), setup_timeout=3), {}).setup_timeout == 3
    assert with_cog_variables(spec(api()), {"COG_SETUP_TIMEOUT": "0"}).setup_timeout is None


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, "info"),
        ({"COG_LOG_LEVEL": "warn"}, "warning"),
        ({"COG_LOG_LEVEL": "loud"}, "info"),
        ({"COG_LOG_LEVEL": "error", "RUST_LOG": "debug"}, "debug"),
        ({"COG_LOG_LEVEL": "error", "RUST_LOG": "warn,coglet=trace"}, "debug"),
        ({"COG_LOG_LEVEL": "error", "RUST_LOG": "uv=debug"}, "error"),
        ({"LADING_LOG_LEVEL": "info", "RUST_LOG": "debug"}, "info"),
        ({"RUST_LOG": "coglet=off"}, "error"),
        ({"RUST_LOG": "=,,=="}, "info"),
    ],
)
def test_the_level_of_the_log(variables: dict[str, str], level: str):
    assert level_of(variables) == level


def test_a_containers_variables_stand_for_the_options_of_serve():
    variables = {
        "LADING_WORKERS": "2",
        "LADING_THREADS": "3",
        "LADING_UPLOAD_URL": "http://x/",
        "LADING_MAX_QUEUE": "7",
        "LADING_MAX_BODY": str(1 << 30),
        "LADING_TIMEOUT": "1.5",
        "LADING_AWAIT_EXPLICIT_SHUTDOWN": "1",
    }
    made = with_options(spec(api()), variables)
    [served] = made.apis
    assert (served.processes, slots_of(served.worker), served.worker.upload_url) == (2, 3, "http://x/")
    assert (made.max_queue, made.max_body_bytes, made.max_held_bytes) == (7, 1 << 30, 1 << 30)
    assert (made.predict_timeout, made.ignore_sigterm) == (1.5, True)


def test_a_containers_variables_that_make_no_sense_are_passed_over():
    nonsense = dict.fromkeys(("LADING_WORKERS", "LADING_THREADS", "LADING_MAX_QUEUE", "LADING_MAX_BODY", "LADING_TIMEOUT"), "-1")
    assert with_options(spec(api()), nonsense) == spec(api()) == with_options(spec(api()), {})


def test_no_model_sees_where_jobs_are_kept_whoever_says_it():
    """It has the password of the jobs' database; engines that hand secrets to a model hand it on with the others."""
    worker = api("cortex", LADING_JOBS="postgresql://u:hush@h/d", TOKEN="seen").worker
    seen = environment_of(worker, {"LADING_JOBS": "postgresql://u:hush@h/d", "OTHER": "seen"})
    assert "hush" not in str(seen)
    assert (seen["TOKEN"], seen["OTHER"]) == ("seen", "seen")

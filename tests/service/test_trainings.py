"""``/trainings``: a worker of their own, started when the first one is asked for."""

from __future__ import annotations

import time

from tests.service.support import api, running


def test_trainings_have_cogs_routes_and_a_worker_of_their_own(tmp_path):
    with running(tmp_path, training=api(tmp_path, "train")) as server:
        assert len(server.workers()) == 1
        places = server.client.get("/").json()
        assert places["trainings_url"] == "/trainings"
        assert places["trainings_idempotent_url"] == "/trainings/{training_id}"
        assert places["trainings_cancel_url"] == "/trainings/{training_id}/cancel"
        predicting = server.predict("pid").json()["output"]
        answer = server.client.post("/trainings", json={"id": "first", "input": {"do": "pid"}})
        assert (answer.status_code, answer.json()["status"], answer.json()["id"]) == (200, "succeeded", "first")
        assert answer.json()["output"] in server.workers()
        assert answer.json()["output"] != predicting
        assert server.client.get("/trainings/first").json()["status"] == "succeeded"
        assert server.client.get("/predictions/first").status_code == 404
        listed = server.client.get("/trainings?limit=1").json()
        assert [one["id"] for one in listed["results"]] == ["first"]
        paths = server.client.get("/openapi.json").json()["paths"]
        assert {"post", "get"} == set(paths["/trainings"])


def test_a_training_is_made_once_and_canceled_by_its_id(tmp_path):
    with running(tmp_path, training=api(tmp_path, "train")) as server:
        body = {"input": {"do": "sleep", "seconds": 30}}
        asked = server.client.put("/trainings/long", json=body, headers={"prefer": "respond-async"})
        assert (asked.status_code, asked.json()) == (202, {"id": "long", "status": "starting"})
        assert asked.headers["location"] == "/trainings/long"
        assert server.client.put("/trainings/long", json=body).status_code == 202
        assert server.client.post("/predictions/long/cancel").status_code == 404
        assert server.client.post("/trainings/long/cancel").status_code == 200
        until = time.monotonic() + 60
        while server.client.get("/trainings/long").json()["status"] != "canceled":
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_training_whose_setup_fails_says_so_and_predictions_go_on(tmp_path):
    with running(tmp_path, training=api(tmp_path, "train", setup="raises")) as server:
        answer = server.client.post("/trainings", json={"input": {}})
        assert (answer.status_code, answer.json()) == (503, {"error": "setup failed: RuntimeError: no weights", "status": "failed"})
        assert server.predict(value=1).json()["output"] == 1
        assert server.health()["status"] == "READY"


def test_a_training_that_cannot_be_started_leaves_no_folder_each_time(tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    training = api(tmp_path, "train")
    training["worker"]["python"] = str(tmp_path / "gone")
    with running(tmp_path, training=training, env={"TMPDIR": str(folder)}) as server:
        for _ in range(3):
            assert server.client.post("/trainings", json={"input": {}}).status_code == 503
        assert len(list(folder.glob("lading-*"))) == 2
        assert server.stop() == 0
    assert not list(folder.glob("lading-*"))


def test_trainings_give_no_event_stream(tmp_path):
    whole = {"generator": False, "streaming": False, "concurrent": 1, "inputs": [], "output": {"kind": "any"}}
    with running(tmp_path, training=api(tmp_path, "train", signature=whole)) as server:
        answer = server.client.post("/trainings", json={"input": {}}, headers={"accept": "text/event-stream"})
        assert answer.status_code == 406
        assert len(server.workers()) == 1


def test_a_project_without_training_has_no_such_place(tmp_path):
    with running(tmp_path) as server:
        assert server.client.post("/trainings", json={"input": {}}).status_code == 404
        assert "trainings_url" not in server.client.get("/").json()

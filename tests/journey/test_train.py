"""`lading train` and `/trainings`: from cog.yaml's `train` to weights that `predict` reads."""

from __future__ import annotations

import json

PROJECT = {
    "cog.yaml": 'build:\n  python_version: "3.11"\npredict: predict.py:Predictor\ntrain: train.py:train\n',
    "predict.py": """\
from cog import BasePredictor, Path

class Predictor(BasePredictor):
    def setup(self, weights: Path = None):
        self.style = weights.read_text() if weights else "untrained"

    def predict(self, name: str) -> str:
        return f"{self.style} {name}"
""",
    "train.py": """\
from cog import BaseModel, Input, Path

class TrainingOutput(BaseModel):
    weights: Path
    report: Path
    loss: float

def train(style: str = Input(choices=["plain", "ornate"]), times: int = Input(default=1, ge=1)) -> TrainingOutput:
    print("training", style)
    weights, report = Path("made.bin"), Path("made.txt")
    weights.write_text(style * times)
    report.write_text("fine")
    return TrainingOutput(weights=weights, report=report, loss=0.25)
""",
}


def test_weights_are_written_and_predict_reads_them(project, lading):
    folder = project(PROJECT)
    trained = lading("train", folder, "-i", "style=ornate", "-i", "times=2", cwd=folder)
    assert trained.code == 0, trained.err
    assert json.loads(trained.out) == {"weights": "weights", "report": "report.txt", "loss": 0.25}
    assert (folder / "weights").read_text() == "ornateornate"
    assert (folder / "report.txt").read_text() == "fine"
    assert "training ornate" in trained.err
    predicted = lading("predict", folder, "-i", "name=Ada", cwd=folder, COG_WEIGHTS=str(folder / "weights"))
    assert predicted.out == "ornateornate Ada\n"


def test_inputs_are_checked_before_anything_starts(project, lading):
    folder = project(PROJECT)
    wrong = lading("train", folder, "-i", "style=loud", "-i", "epochs=3")
    assert wrong.code == 2
    assert 'invalid input "style": must be one of: plain, ornate' in wrong.err
    assert 'unknown input "epochs"' in wrong.err
    assert not (folder / "pylock.lading.toml").exists()


def test_a_project_without_train_is_told_what_to_write(project, lading):
    folder = project({**PROJECT, "cog.yaml": PROJECT["cog.yaml"].replace("train: train.py:train\n", "")})
    told = lading("train", folder)
    assert told.code == 2
    assert "names nothing to train with" in told.err
    assert "train: train.py:train" in told.err


def test_a_train_function_without_types_is_a_problem_with_its_line(project, lading):
    folder = project({**PROJECT, "train.py": "def train(n):\n    return n\n"})
    told = lading("plan", folder)
    assert told.code == 2
    assert "train.py:1" in told.err


def test_the_server_trains_in_a_process_of_its_own(project, served):
    with served(project(PROJECT)) as service:
        answer = service.client.post("/trainings", json={"input": {"style": "plain"}})
        assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
        assert answer.json()["output"]["weights"].startswith("data:application/octet-stream;base64,")
        assert answer.json()["logs"] == "training plain\n"
        refused = service.client.post("/trainings", json={"input": {"style": "loud"}})
        assert refused.status_code == 422
        document = service.client.get("/openapi.json").json()
        assert "TrainingInput" in document["components"]["schemas"]
        assert document["components"]["schemas"]["TrainingInput"]["required"] == ["style"]
        assert service.client.post("/predictions", json={"input": {"name": "Ada"}}).json()["output"] == "untrained Ada"


def test_a_project_that_only_trains_has_a_schema_and_an_environment(project, lading):
    folder = project({**PROJECT, "cog.yaml": PROJECT["cog.yaml"].replace("predict: predict.py:Predictor\n", "")})
    document = lading("schema", folder).data
    assert "/trainings" in document["paths"]
    assert "/predictions" not in document["paths"]
    assert {"TrainingInput", "HTTPValidationError"} <= set(document["components"]["schemas"])
    assert lading("exec", "python", "-c", "print(40 + 2)", cwd=folder).out == "42\n"
    assert lading("train", folder, "-i", "style=plain", cwd=folder).code == 0


def test_a_project_that_names_nothing_still_has_an_environment(project, lading):
    folder = project({"cog.yaml": 'build:\n  python_version: "3.11"\n'})
    assert lading("exec", "python", "-c", "print(40 + 2)", cwd=folder).out == "42\n"
    told = lading("schema", folder)
    assert (told.code, "names no predictor" in told.err) == (2, True)

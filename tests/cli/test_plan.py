"""``plan``, ``explain``, ``schema`` and ``doctor``: they tell, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lading.locks.lockfile import write
from lading.model.lock import Lock
from tests.cli.process import run_lading
from tests.support.command import write_files

PREDICT = "def predict(number: int = 1) -> int:\n    return 2 * number\n"
PREDICTOR = (
    "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n"
)
CORTEX = "".join(
    f"- name: {name}\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n    dependencies:\n      pip: {name}.txt\n"
    for name in ("first", "second")
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_files(tmp_path, {"predict.py": PREDICT, "requirements.txt": "numpy==2.0.0\npandas\n", "requirements-dev.txt": "pytest\n"})


def one(name: str, version: str, **more: Any) -> dict[str, Any]:
    """A locked package."""
    file = f"{name}-{version}-py3-none-any.whl"
    wheel = {"name": file, "url": f"https://example.org/{file}", "hashes": {"sha256": "0" * 64}}
    return {"name": name, "version": version, "wheels": [wheel], **more}


def make_lock(folder: Path, *packages: dict[str, Any], python: str | None = None) -> None:
    """A lock that holds for the plan of a folder; or one that was made for another Python."""
    planned = run_lading("plan", "--json", cwd=folder).data["plans"][0]
    target = {key: planned["target"][key] for key in ("python", "implementation", "platform", "accelerator")}
    fingerprint = planned["fingerprint"] if python is None else "0" * 64
    document = {"lock-version": "1.0", "created-by": "lading", "packages": list(packages)}
    lock = Lock(document=document, fingerprint=fingerprint, target={**target, "python": python or target["python"]})
    (folder / "pylock.lading.toml").write_text(write(lock))


NUMPY, PANDAS = one("numpy", "2.0.0"), one("pandas", "2.2.2")


def test_a_plan_tells_everything_and_changes_nothing(project: Path):
    before = sorted(project.rglob("*"))
    shown = run_lading("plan", cwd=project)
    assert (shown.code, shown.err) == (0, "")
    for text in (
        "predict: predict.py:predict (cog style)",
        "requirements-dev.txt  ignored",
        "numpy==2.0.0  requirements.txt:1",
        "! pandas -> the resolver's choice",
        "pylock.lading.toml: not made yet; `lading lock` makes it",
    ):
        assert text in shown.out
    assert sorted(project.rglob("*")) == before


def test_a_plan_as_json_says_the_same(project: Path):
    (plan,) = run_lading("plan", "--json", cwd=project).data["plans"]
    assert [one["requirement"] for one in plan["requirements"]] == ["numpy==2.0.0", "pandas"]
    assert plan["lock_state"] == {"state": "missing"}
    assert {one["rule"] for one in plan["decisions"]} >= {"python-chosen", "predictor-found", "source-ignored", "versions-float"}


def test_every_set_of_apis_has_its_plan(tmp_path: Path):
    write_files(
        tmp_path, {"cortex.yaml": CORTEX, "predictor.py": PREDICTOR, "first.txt": "numpy==2.0.0\n", "second.txt": "numpy==1.26.4\n"}
    )
    plans = run_lading("plan", "--json", cwd=tmp_path).data["plans"]
    assert [(plan["variant"], plan["requirements"][0]["requirement"]) for plan in plans] == [
        ("first", "numpy==2.0.0"),
        ("second", "numpy==1.26.4"),
    ]
    text = run_lading("plan", cwd=tmp_path).out
    assert text.index("pylock.lading-first.toml: ") < text.index("pylock.lading-second.toml: ")
    explained = run_lading("explain", "numpy", "--json", cwd=tmp_path).data["explanations"]
    assert [one["declared"][0]["origin"] for one in explained] == ["first.txt:1", "second.txt:1"]


def test_the_machines_index_is_shown_as_the_machines_with_its_password_masked(project: Path):
    shown = run_lading("plan", cwd=project, env={"PIP_INDEX_URL": "https://user:s3cr3t@example.org/simple"})
    assert "https://user:****@example.org/simple (this machine's setting)" in " ".join(shown.out.split())
    assert "s3cr3t" not in shown.out


def test_a_lock_that_holds_ends_the_advice_to_pin_and_satisfies_locked(project: Path):
    assert run_lading("plan", "--locked", cwd=project).code == 4
    make_lock(project, NUMPY, PANDAS)
    shown = run_lading("plan", "--locked", cwd=project)
    assert shown.code == 0
    assert "pylock.lading.toml: up to date" in shown.out
    assert "versions-float" not in shown.out
    assert "source-ignored" in shown.out
    (plan,) = run_lading("plan", "--json", cwd=project).data["plans"]
    assert plan["lock_state"] == {"state": "fresh"}
    assert "versions-float" not in {one["rule"] for one in plan["decisions"]}


def test_a_lock_that_does_not_hold_is_told_with_the_cause(project: Path):
    make_lock(project, NUMPY, PANDAS)
    write_files(project, {"requirements.txt": "numpy==2.0.1\npandas\n"})
    shown = run_lading("plan", cwd=project)
    assert shown.code == 0
    assert "pylock.lading.toml: out of date: " in shown.out
    assert "versions-float" in shown.out
    (plan,) = run_lading("plan", "--json", cwd=project).data["plans"]
    assert plan["lock_state"]["state"] == "stale"
    refused = run_lading("plan", "--locked", "--json", cwd=project)
    assert (refused.code, refused.data["problems"][0]["rule"]) == (4, "lock-out-of-date")


def test_a_lock_for_another_python_than_the_project_now_wants_is_out_of_date(tmp_path: Path):
    pyproject = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.8"\ndependencies = ["numpy==2.0.0"]\n'
    write_files(tmp_path, {"predict.py": PREDICT, "pyproject.toml": pyproject})
    make_lock(tmp_path, NUMPY, python="3.7.16")
    shown = run_lading("plan", cwd=tmp_path)
    assert (shown.code, shown.err) == (0, "")
    assert "out of date: Python is " in shown.out
    assert "and the lock is for 3.7" in shown.out


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("plan", "--python", "9.9.9"), 3, "resolution"),
        (("plan", "--locked"), 4, "lock"),
        (("plan", "nowhere"), 2, "usage"),
        (("explain", "nobody"), 2, "usage"),
    ],
)
def test_the_exit_status_tells_the_class_of_failure(project: Path, words: tuple[str, ...], code: int, error: str):
    shown = run_lading(*words, "--json", cwd=project)
    assert (shown.code, shown.data["exit_code"], shown.data["error"]) == (code, code, error)


def test_explain_tells_who_asked_and_every_decision(project: Path):
    shown = run_lading("explain", "Pandas", cwd=project)
    assert shown.code == 0
    assert shown.out.splitlines()[:2] == ["pandas (not locked)", "  asked for: pandas (requirements.txt:2)"]
    assert "[versions-float]" in shown.out
    pinned = run_lading("explain", "numpy", cwd=project)
    assert "versions-float" not in pinned.out


def test_explain_tells_what_was_locked_and_who_needs_it(project: Path):
    make_lock(project, NUMPY, one("pandas", "2.2.2", dependencies=[{"name": "tzdata"}]), one("tzdata", "2024.1"))
    assert run_lading("explain", "tzdata", cwd=project).out.splitlines()[:3] == [
        "tzdata 2024.1",
        "  asked for: by nobody here; another package needs it",
        "  needed by: pandas",
    ]
    assert "versions-float" not in run_lading("explain", "pandas", cwd=project).out


def test_explain_of_what_is_not_known_says_what_to_do(project: Path):
    shown = run_lading("explain", "scipy", cwd=project)
    assert (shown.code, shown.out) == (2, "")
    assert "Run `lading lock` first." in shown.err
    make_lock(project, NUMPY, PANDAS)
    assert "`lading plan` lists what is declared" in run_lading("explain", "scipy", cwd=project).err


def test_a_schema_is_read_from_the_source_alone(tmp_path: Path):
    write_files(tmp_path, {"predict.py": "import a_module_that_is_nowhere\n\n\n" + PREDICT})
    schema: dict[str, Any] = run_lading("schema", cwd=tmp_path).data
    assert schema["components"]["schemas"]["Input"]["properties"]["number"]["default"] == 1
    assert run_lading("schema", "--json", cwd=tmp_path).data == schema


def test_doctor_tells_what_is_fine(project: Path):
    shown = run_lading("doctor", "--offline", "--json", cwd=project)
    assert (shown.code, shown.data["healthy"]) == (0, True)
    seen = {one["subject"]: one["seen"] for one in shown.data["findings"]}
    assert seen["uv"].startswith("uv ")
    assert seen["package index"] == "not asked (--offline)"
    assert seen["project"] == "plain, 1 API: predict (predict.py:predict)"
    assert seen["lock"] == "pylock.lading.toml is not made yet"
    text = run_lading("doctor", "--offline", cwd=project).out
    assert "✓ uv: uv " in text
    assert "- package index: not asked (--offline)" in text


def test_doctor_tells_what_is_wrong_and_goes_on(tmp_path: Path):
    write_files(tmp_path, {"predict.py": PREDICT, "requirements.txt": "numpy=1\n"})
    shown = run_lading("doctor", "--offline", cwd=tmp_path)
    assert shown.code == 2
    assert "x project: see below\nerror: requirements.txt:1: " in shown.out
    assert shown.out.splitlines()[-1] == "- lock: not checked: the project cannot be read"


def test_doctor_tells_that_the_store_cannot_be_written(project: Path):
    (project / "file").write_text("")
    shown = run_lading("doctor", "--offline", cwd=project, env={"LADING_HOME": str(project / "file")})
    assert shown.code == 2
    assert "x store: see below" in shown.out
    assert "✓ project: " in shown.out


def test_a_configuration_without_a_predictor_is_planned_and_not_served(tmp_path: Path):
    write_files(tmp_path, {"cog.yaml": 'build:\n  python_version: "3"\n'.replace('"3"', '"3.11"')})
    assert "nothing: no predictor is named" in run_lading("plan", "--python", "3", cwd=tmp_path).out
    refused = run_lading("predict", cwd=tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert "cog.yaml names no predictor" in refused.err

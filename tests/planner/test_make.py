"""Plans: advice on pins, builds, accelerators, indexes of single lines, fingerprints."""

from __future__ import annotations

import json

import pytest

from lading.model.decisions import Kind
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.planner.make import name_locked_versions, without_settled_advice
from tests.planner.planning import decision, plan
from tests.planner.test_sources import cog


def test_floating_versions_are_one_grouped_advice():
    made = plan(
        {
            "requirements.txt": "numpy==2.0.0\nscipy>=1\npandas\nrequests==2.*\n./wheel-1.0-py3-none-any.whl\n",
            "wheel-1.0-py3-none-any.whl": b"",
        }
    )
    advice = decision(made, "versions-float")
    assert advice.kind is Kind.ADVICE
    assert advice.asked == "scipy>=1, pandas, requests==2.*"
    assert advice.because.startswith("3 of 5 requirements have no exact version")
    assert str(advice.origin) == "requirements.txt:2"


@pytest.mark.parametrize(
    "line", ["numpy==2.0.0", "numpy===2.0.0", "numpy @ https://example.org/numpy-2.0.0-py3-none-any.whl", "./numpy-2.0.0-py3-none-any.whl"]
)
def test_what_fixes_a_version_is_no_reason_for_advice(line: str):
    made = plan({"requirements.txt": line, "numpy-2.0.0-py3-none-any.whl": b""})
    assert len(made.requirements) == 1
    assert not any(one.rule == "versions-float" for one in made.decisions)


def test_one_floating_requirement_is_told_in_good_grammar():
    assert decision(plan({"requirements.txt": "numpy"}), "versions-float").because.startswith("the only requirement has no exact version")
    made = plan({"requirements.txt": "numpy\nscipy==1.14.0"})
    assert decision(made, "versions-float").because.startswith("1 of 2 requirements has no exact version")


def lock_of(made: Plan, **versions: str) -> Lock:
    packages = tuple({"name": name, "version": version} for name, version in versions.items())
    return Lock(document={"packages": packages}, fingerprint=made.fingerprint, target=made.target.as_json())


def test_after_locking_the_advice_names_the_versions_and_where_to_write_them():
    made = plan({"requirements.txt": "numpy\n-r more.txt\nscipy==1.14.0", "more.txt": "pandas>=2"})
    advice = next(
        one
        for one in name_locked_versions(made, lock_of(made, numpy="2.0.0", pandas="2.2.2", scipy="1.14.0"))
        if one.rule == "versions-float"
    )
    assert advice.chose == "numpy==2.0.0, pandas==2.2.2"
    assert advice.instead == "`lading pin` writes these pins into requirements.txt and more.txt"


def test_a_lock_that_lacks_a_package_is_not_invented():
    made = plan({"requirements.txt": 'pywin32 ; sys_platform == "win32"'})
    advice = next(one for one in name_locked_versions(made, lock_of(made)) if one.rule == "versions-float")
    assert advice == decision(made, "versions-float")


def test_where_a_lock_holds_there_is_no_advice_to_pin_and_all_else_stays():
    made = plan({"requirements.txt": "numpy", "pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=[]\n"})
    assert {one.rule for one in made.decisions} - {one.rule for one in without_settled_advice(made).decisions} == {"versions-float"}


def test_an_unqualified_pin_of_torch_is_completed_and_told():
    made = plan({"requirements.txt": "numpy==1.26.4\ntorch==1.11.0\n"})
    told = decision(made, "torch-build-chosen")
    assert (told.asked, told.chose, str(told.origin)) == ("torch==1.11.0", "torch==1.11.0+cpu", "requirements.txt:2")
    assert [declared.pep508 for declared in made.requirements] == ["numpy==1.26.4", "torch==1.11.0+cpu"]
    assert "torch" in made.bound[0].packages
    assert told.instead


def test_a_pin_with_a_build_is_kept_and_told():
    made = plan({"requirements.txt": "torch==1.11.0+cu113\n"})
    told = decision(made, "torch-build-kept")
    assert (told.kind, told.asked, told.chose) == (Kind.KEPT, "torch==1.11.0+cu113", "torch==1.11.0+cu113")
    assert made.requirements[0].pep508 == "torch==1.11.0+cu113"


@pytest.mark.parametrize("accelerator", ["cpu", "cu121"])
def test_an_unqualified_pin_of_tensorflow_is_told_whatever_becomes_of_it(accelerator: str):
    made = plan({"requirements.txt": "tensorflow==2.8.0\n"}, accelerator=accelerator)
    told = [one for one in made.decisions if one.subject == "tensorflow"]
    assert told[0].asked == "tensorflow==2.8.0"
    assert all(one.because for one in told)


@pytest.mark.parametrize(
    ("build", "accelerator", "chose"),
    [
        (["gpu: true"], "cpu", "builds for the CPU"),
        (["gpu: true"], "cu121", "builds for cu121"),
        (["gpu: true", 'cuda: "11.8"'], "cpu", "builds for cu118"),
        (["gpu: false"], "cu121", None),
        ([], "cu121", None),
    ],
)
def test_what_became_of_the_wish_for_a_gpu_is_said(build: list[str], accelerator: str, chose: str | None):
    made = plan({"cog.yaml": cog(*build), "predict.py": "def predict(a: int) -> int: ...\n"}, accelerator=accelerator)
    assert [one.chose for one in made.decisions if one.rule == "accelerator-chosen"] == ([chose] if chose else [])


def test_an_index_on_a_line_serves_that_requirement_alone():
    text = "corp --index-url https://a/simple\nother --index-url https://a/simple\nlinked -f https://b/links\nnumpy\n"
    made = plan(
        {
            "cog.yaml": cog("python_packages:", *(f"  - {line}" for line in text.splitlines())),
            "predict.py": "def predict(a: int) -> int: ...\n",
        }
    )
    bound = [one for one in made.bound if "torch" not in one.packages]
    assert [(str(one.url), one.packages, one.kind) for one in bound] == [
        ("https://a/simple", ("corp", "other"), "index"),
        ("https://b/links", ("linked",), "find-links"),
    ]
    assert len({one.name for one in made.bound}) == len(made.bound)
    assert made.options.index_url is None


BASE = "numpy==2.0.0\nscipy>=1 ; python_version >= '3.9'\n"


@pytest.mark.parametrize(
    "text",
    [
        BASE + "# a comment\n",
        "\n" + BASE,
        "numpy == 2.0.0\nscipy>=1;python_version>='3.9'\n",
        "Numpy==2.0.0\nscipy>=1 ; python_version >= '3.9'\n",
    ],
)
def test_what_does_not_change_the_resolution_does_not_change_the_fingerprint(text: str):
    assert plan({"requirements.txt": text}).fingerprint == plan({"requirements.txt": BASE}).fingerprint


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("2.0.0", "2.0.1"),
        BASE.replace("3.9", "3.8"),
        BASE + "pandas\n",
        BASE + "--pre\n",
        BASE + "--extra-index-url https://a/simple\n",
        BASE + "--no-binary numpy\n",
        BASE + "-c constraints.txt\n",
        BASE.replace("numpy==", "numpy[fast]=="),
    ],
)
def test_what_changes_the_resolution_changes_the_fingerprint(text: str):
    files = {"constraints.txt": "numpy<3\n"}
    assert plan({"requirements.txt": text, **files}).fingerprint != plan({"requirements.txt": BASE, **files}).fingerprint


def test_a_password_that_changes_does_not_change_the_fingerprint():
    text = "--index-url https://user:{}@example.org/simple\nnumpy==2.0.0\n"
    first, second = (
        plan({"requirements.txt": text.format("${PASSWORD}")}, environ={"PASSWORD": password}) for password in ("a1b2c3", "d4e5f6")
    )
    assert first.fingerprint == second.fingerprint


def test_a_plan_is_the_same_json_every_time():
    files = {"requirements.txt": "torch\nnumpy\n", "pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=[]\n"}
    assert json.dumps(plan(files).as_json()) == json.dumps(plan(files).as_json())


def test_a_decision_is_told_once():
    made = plan({"requirements.txt": "torch==2.1.0\ntorchvision==0.16.0\nnumpy\n", "requirements-dev.txt": "pytest"})
    assert len(made.decisions) == len(set(made.decisions))


@pytest.mark.parametrize("accelerator", ["cpu", "cu121"])
def test_a_lock_of_another_tool_keeps_its_own_build_of_torch(accelerator: str):
    lock = (
        'version = 1\n[[package]]\nname = "x"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "torch" }]\n'
        '[[package]]\nname = "torch"\nversion = "2.1.0"\nsource = { registry = "https://pypi.org/simple" }\n'
        'wheels = [\n    { url = "https://files.pythonhosted.org/torch-2.1.0-cp311-cp311-manylinux1_x86_64.whl", hash = "sha256:aa" },\n]\n'
    )
    made = plan({"uv.lock": lock}, accelerator=accelerator)
    (torch,) = made.requirements
    assert (torch.pep508, torch.hashes) == ("torch==2.1.0", ("sha256:aa",))
    assert made.bound == ()
    assert made.complete
    assert decision(made, "lock-used").kind is Kind.KEPT

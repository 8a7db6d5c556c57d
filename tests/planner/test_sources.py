"""Which dependency file counts, and what is said of every other."""

from __future__ import annotations

import pytest

from tests.planner.planning import PREDICT, Files, decision, files_of, plan, plans, problems, rules, used
from tests.planner.test_find import PREDICTOR

PYPROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["pandas==2.2.2"]\n'


def cog(*build: str) -> str:
    return "build:\n" + "".join(f"  {line}\n" for line in ('python_version: "3.11"', *build)) + "predict: predict.py:predict\n"


def cortex(*names: str, **pip: str) -> str:
    parts = []
    for name in names:
        parts.append(f"- name: {name}\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n")
        parts.append(f"    dependencies:\n      pip: {pip[name]}\n" if name in pip else "")
    return "".join(parts)


@pytest.mark.parametrize(
    ("files", "source", "why"),
    [
        ({"requirements.txt": "numpy==2.0.0"}, "requirements.txt", "used: it is the project's dependency file"),
        ({"requirements.txt": "numpy==2.0.0", "pyproject.toml": PYPROJECT}, "requirements.txt", "used: it comes before pyproject.toml"),
        ({"pyproject.toml": PYPROJECT}, "pyproject.toml", "used: there is no requirements.txt, which would come first"),
        (
            {"cog.yaml": cog("python_requirements: r.txt"), "r.txt": "numpy==2.0.0", "requirements.txt": "scipy"},
            "r.txt",
            "used: cog.yaml:3 names it (python_requirements)",
        ),
        ({"cog.yaml": cog('python_packages: ["numpy==2.0.0"]'), "requirements.txt": "scipy"}, "cog.yaml", "used: it lists python_packages"),
        ({"cog.yaml": cog(), "requirements.txt": "numpy==2.0.0"}, "requirements.txt", "used: it is the project's dependency file"),
        (
            {"cortex.yaml": cortex("a", a="r.txt"), "r.txt": "numpy==2.0.0", "requirements.txt": "scipy"},
            "r.txt",
            "used: cortex.yaml:7 names it (dependencies.pip)",
        ),
        ({"cortex.yaml": cortex("a"), "requirements.txt": "numpy==2.0.0"}, "requirements.txt", "used: it is the project's dependency file"),
    ],
)
def test_one_source_counts_and_the_reason_is_said(files: Files, source: str, why: str):
    made = plan({"predict.py": PREDICT, "predictor.py": PREDICTOR, **files})
    assert files_of(made)[source] == why
    assert {declared.origin.path for declared in made.requirements} == {source}
    (hashed,) = [one for one in made.sources if one.path == source]
    assert len(hashed.sha256 or "") == 64


def test_a_source_that_is_passed_over_is_said_once_with_the_way_to_use_it():
    made = plan({"requirements.txt": "numpy==2.0.0", "pyproject.toml": PYPROJECT, "requirements-dev.txt": "pytest"})
    advice = {one.subject: one.instead for one in made.decisions if one.rule == "source-ignored"}
    assert advice == {
        "pyproject.toml": "move what is missing into requirements.txt",
        "requirements-dev.txt": "-r requirements-dev.txt in requirements.txt",
    }
    assert files_of(made)["pyproject.toml"] == "ignored: requirements.txt counts: it comes before pyproject.toml"


def test_a_file_that_another_api_uses_is_not_passed_over():
    files = {"cortex.yaml": cortex("a", "b", b="gpu.requirements.txt"), "predictor.py": PREDICTOR}
    first, second = plans({**files, "requirements.txt": "numpy==2.0.0", "gpu.requirements.txt": "torch==2.1.0+cu121"})
    assert (first.variant, second.variant) == ("", "b")
    assert (first.lock_path, second.lock_path) == ("pylock.lading.toml", "pylock.lading-b.toml")
    assert files_of(first)["gpu.requirements.txt"] == "ignored: it is for b"
    assert files_of(second)["requirements.txt"] == "ignored: it is for a"
    assert [one.rule for made in (first, second) for one in made.decisions].count("source-ignored") == 0


def test_apis_that_name_the_same_file_share_one_environment():
    files = {"cortex.yaml": cortex("a", "b", a="r.txt", b="r.txt"), "predictor.py": PREDICTOR, "r.txt": "numpy==2.0.0"}
    (made,) = plans(files)
    assert [api.name for api in made.apis] == ["a", "b"]
    assert made.variant == ""


@pytest.mark.parametrize("line", [".", "-e .", "./", ".[fast]"])
def test_what_the_projects_own_package_is_built_from_counts_as_used(line: str):
    made = plan({"requirements.txt": f"{line}\n", "setup.py": "", "pyproject.toml": PYPROJECT, "setup.cfg": ""})
    assert used(made) == ["requirements.txt", "pyproject.toml", "setup.cfg", "setup.py"]
    assert files_of(made)["setup.py"] == "used: requirements.txt:1 installs the project itself, which is built from it"
    assert not any(one.rule == "source-ignored" for one in made.decisions)


@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "Pipfile.lock", "pylock.toml", "environment.yml", "conda-lock.yml"])
@pytest.mark.parametrize("beside", [{}, {"requirements.txt": "numpy"}, {"pyproject.toml": PYPROJECT}])
def test_a_lock_that_would_come_first_and_is_not_read_stops_the_run(name: str, beside: Files):
    (problem,) = problems(lambda: plan({name: "", **beside}))
    assert problem.rule == ("conda-not-supported" if name in ("environment.yml", "conda-lock.yml") else "format-not-supported")
    assert str(problem.origin) == name
    assert problem.instead is not None
    assert name in problem.instead


@pytest.mark.parametrize("name", ["setup.py", "setup.cfg", "Pipfile", "requirements.in"])
def test_what_comes_later_stops_the_run_only_where_it_stands_alone(name: str):
    assert rules(lambda: plan({name: ""})) == ["format-not-supported"]
    assert files_of(plan({name: "", "requirements.txt": "numpy==2.0.0"}))[name].startswith("ignored: requirements.txt counts")


def test_every_unread_file_is_named_at_once():
    assert len(problems(lambda: plan({"uv.lock": "", "poetry.lock": "", "requirements.txt": "numpy"}))) == 2


def test_a_lock_beside_an_explicit_choice_is_ignored_and_listed():
    made = plan({"cog.yaml": cog('python_packages: ["numpy==2.0.0"]'), "predict.py": PREDICT, "uv.lock": ""})
    assert files_of(made)["uv.lock"] == "ignored: cog.yaml counts: it lists python_packages"


def test_problems_of_all_apis_are_shown_at_once():
    files = {"cortex.yaml": cortex("a", "b", a="a.txt", b="b.txt"), "predictor.py": PREDICTOR, "a.txt": "numpy=1", "b.txt": "scipy=1"}
    assert [str(problem.origin) for problem in problems(lambda: plans(files))] == ["a.txt:1", "b.txt:1"]


def test_lists_for_images_and_unnamed_constraints_are_listed_too():
    made = plan({"requirements.txt": "numpy==2.0.0", "apt.txt": "git", "Dockerfile": "", "constraints.txt": "", "dependencies.sh": ""})
    assert {path: why for path, why in files_of(made).items() if path != "requirements.txt"} == {
        "Dockerfile": "ignored: an image recipe, not used here",
        "apt.txt": "ignored: a list of system packages, not used here",
        "constraints.txt": "ignored: nothing names it; a requirements file would, by -c constraints.txt",
        "dependencies.sh": "ignored: it is for Cortex, and this is no Cortex project",
    }


def test_includes_and_constraints_are_used_because_a_file_names_them():
    made = plan({"requirements.txt": "-r a.txt\n-c constraints.txt\n", "a.txt": "numpy==2.0.0", "constraints.txt": "numpy<3"})
    assert used(made) == ["requirements.txt", "a.txt", "constraints.txt"]
    assert files_of(made)["constraints.txt"] == "used: requirements.txt includes it"


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        ({}, "no dependency file was found"),
        ({"requirements.txt": "# nothing yet\n"}, "requirements.txt lists no packages"),
        ({"pyproject.toml": "[tool.black]\nline-length = 100\n"}, "pyproject.toml lists no packages"),
    ],
)
def test_an_environment_without_packages_is_said(files: Files, asked: str):
    made = plan(files)
    assert made.requirements == ()
    assert decision(made, "nothing-declared").asked == asked


def test_locks_of_our_own_are_no_source():
    made = plan({"requirements.txt": "numpy==2.0.0", "pylock.lading.toml": "", "pylock.lading-cpu.toml": ""})
    assert list(files_of(made)) == ["requirements.txt"]

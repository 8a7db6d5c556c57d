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
        ({"pyproject.toml": PYPROJECT}, "pyproject.toml", "used: it is the project's dependency file"),
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
    advice = {one.subject: one.instead for one in made.decisions if one.rule in ("source-ignored", "sources-differ")}
    assert advice == {
        "pyproject.toml": "move what is missing into requirements.txt, or delete pyproject.toml",
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


LOCKS = {
    "uv.lock": 'version = 1\n[[package]]\nname = "x"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "numpy" }]\n'
    '[[package]]\nname = "numpy"\nversion = "2.0.0"\nsource = { registry = "https://pypi.org/simple" }\n',
    "poetry.lock": '[[package]]\nname = "numpy"\nversion = "2.0.0"\ngroups = ["main"]\nfiles = []\n',
    "pdm.lock": '[[package]]\nname = "numpy"\nversion = "2.0.0"\ngroups = ["default"]\nfiles = []\n',
    "Pipfile.lock": '{"default": {"numpy": {"version": "==2.0.0"}}}',
    "pylock.toml": 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "numpy"\nversion = "2.0.0"\n'
    'wheels = [{ name = "numpy-2.0.0-py3-none-any.whl", url = "https://example.org/numpy-2.0.0-py3-none-any.whl", '
    'hashes = { sha256 = "00" } }]\nindex = "https://pypi.org/simple"\n',
}
LATER = {
    "requirements.in": "numpy==2.0.0",
    "pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["numpy==2.0.0"]\n',
    "Pipfile": '[packages]\nnumpy = "==2.0.0"\n',
    "setup.cfg": "[options]\ninstall_requires = numpy==2.0.0\n",
    "setup.py": "from setuptools import setup\nsetup(install_requires=['numpy==2.0.0'])\n",
}


@pytest.mark.parametrize("name", [*LOCKS, *LATER])
def test_each_format_is_the_source_where_it_stands_alone(name: str):
    made = plan({name: {**LOCKS, **LATER}[name]})
    assert used(made) == [name]
    assert [declared.pep508 for declared in made.requirements] == ["numpy==2.0.0"]
    assert made.complete == (name in LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_comes_before_every_declaration_and_they_agree(lock: str):
    made = plan({lock: LOCKS[lock], "requirements.txt": "numpy", **LATER})
    assert used(made) == [lock]
    assert [declared.pep508 for declared in made.requirements] == ["numpy==2.0.0"]
    assert [one.rule for one in made.decisions if one.rule.startswith("source")] == []
    assert decision(made, "lock-used").chose == "1 package, exactly as locked"


def test_declarations_come_in_one_order():
    order = ["requirements.txt", *LATER]
    for position, name in enumerate(order):
        files = {"requirements.txt": "numpy==2.0.0", **LATER}
        assert used(plan({one: files[one] for one in order[position:]}))[0] == name


def test_a_standard_lock_comes_before_a_tools():
    assert used(plan({"pylock.toml": LOCKS["pylock.toml"], "uv.lock": LOCKS["uv.lock"]})) == ["pylock.toml"]


def test_two_tools_locks_stop_the_run_and_both_are_named():
    (problem,) = problems(lambda: plan({"uv.lock": LOCKS["uv.lock"], "poetry.lock": LOCKS["poetry.lock"], "requirements.txt": "numpy"}))
    assert problem.rule == "two-locks"
    assert "poetry.lock and uv.lock" in problem.what
    assert "--source" in str(problem.instead)


def test_several_standard_locks_stop_the_run_unless_one_has_the_plain_name():
    text = LOCKS["pylock.toml"]
    assert rules(lambda: plan({"pylock.cpu.toml": text, "pylock.gpu.toml": text})) == ["several-locks"]
    assert used(plan({"pylock.cpu.toml": text, "pylock.gpu.toml": text, "pylock.toml": text})) == ["pylock.toml"]
    assert used(plan({"pylock.cpu.toml": text})) == ["pylock.cpu.toml"]


def test_what_is_named_on_the_command_line_counts_before_everything():
    files = {"uv.lock": LOCKS["uv.lock"], "poetry.lock": LOCKS["poetry.lock"], "reqs/base.txt": "scipy==1.14.0"}
    made = plan(files, source="reqs/base.txt")
    assert [declared.pep508 for declared in made.requirements] == ["scipy==1.14.0"]
    assert files_of(made)["reqs/base.txt"] == "used: --source names it"
    assert used(plan(files, source="./poetry.lock")) == ["poetry.lock"]
    assert rules(lambda: plan(files, source="gone.txt")) == ["requirements-not-found"]
    assert rules(lambda: plan(files, source="README.md")) == ["requirements-not-found"]
    assert rules(lambda: plan({"README.md": "", **files}, source="README.md")) == ["source-unknown"]


def test_the_settings_may_name_the_source():
    made = plan({**LOCKS, "pyproject.toml": '[tool.lading]\nsource = "pdm.lock"\n'})
    assert used(made)[0] == "pdm.lock"
    assert files_of(made)["pdm.lock"] == "used: pyproject.toml:2 names it (source)"


@pytest.mark.parametrize("name", ["environment.yml", "conda.yaml"])
def test_conda_packages_are_planned_where_they_come_first(name: str):
    made = plan({name: "dependencies:\n  - python=3.11\n  - cudatoolkit=11.8\n"})
    assert made.conda is not None
    assert [spec.shown for spec in made.conda.specs] == ["python 3.11.*", "cudatoolkit 11.8.*"]
    assert used(made) == [name]


def test_a_conda_environment_of_pip_requirements_alone_needs_no_conda():
    made = plan({"environment.yml": "dependencies:\n  - python=3.10\n  - pip\n  - pip:\n    - numpy==2.0.0\n"})
    assert [declared.pep508 for declared in made.requirements] == ["numpy==2.0.0"]
    assert made.target.python == "3.10.13"


def test_a_script_block_counts_where_no_file_declares_anything():
    block = "# /// script\n# dependencies = ['numpy==2.0.0']\n# ///\n"
    assert used(plan({"predict.py": block + PREDICT})) == ["predict.py"]
    assert used(plan({"predict.py": block + PREDICT, "requirements.txt": "scipy==1.14.0"})) == ["requirements.txt"]


def test_files_beside_the_predictor_come_before_those_at_the_root():
    files = {"service/predict.py": PREDICT, "requirements.txt": "scipy==1.14.0"}
    assert used(plan(files, named="service/predict.py")) == ["requirements.txt"]
    assert used(plan({**files, "service/requirements.txt": "numpy==2.0.0"}, named="service/predict.py")) == ["service/requirements.txt"]


def test_files_beside_a_source_in_a_folder_are_compared_and_listed():
    files = {"service/predict.py": PREDICT, "service/requirements.txt": "numpy==2.0.0", "service/Pipfile": '[packages]\npandas = "*"\n'}
    made = plan(files, named="service/predict.py")
    assert files_of(made)["service/Pipfile"].startswith("ignored: service/requirements.txt counts")
    assert decision(made, "sources-differ").subject == "service/Pipfile"


def test_files_that_only_configure_tools_are_no_source():
    files = {"pyproject.toml": "[tool.black]\nline-length = 100\n", "setup.cfg": "[flake8]\nmax-line-length = 100\n"}
    assert used(plan({**files, "setup.py": LATER["setup.py"]})) == ["setup.py"]


# Comparing


def test_what_only_an_ignored_file_declares_is_a_warning_with_a_table():
    made = plan({"uv.lock": LOCKS["uv.lock"], "requirements.txt": "numpy>=2.1\npandas\npywin32 ; sys_platform == 'win32'\n"})
    told = decision(made, "sources-differ")
    assert (told.subject, str(told.origin)) == ("requirements.txt", "requirements.txt:1")
    assert told.asked == "requirements.txt declares 2 packages that uv.lock does not give"
    assert str(told.detail).splitlines() == [
        "package  requirements.txt                  uv.lock",
        "numpy    >=2.1 (requirements.txt:1)        ==2.0.0 (uv.lock:7)",
        "pandas   any version (requirements.txt:2)  -",
    ]


def test_under_strict_a_difference_is_a_problem():
    files = {"requirements.txt": "numpy==2.0.0", "pyproject.toml": PYPROJECT}
    (problem,) = problems(lambda: plan(files, strict=True))
    assert problem.rule == "sources-differ"
    assert "pandas" in str(problem.detail)
    assert plan({"requirements.txt": "pandas==2.2.2", "pyproject.toml": PYPROJECT}, strict=True).requirements


def test_two_files_that_pin_one_package_differently_are_told_whatever_was_chosen():
    files = {"cog.yaml": cog('python_packages: ["torch==2.1.0"]'), "predict.py": PREDICT, "requirements.txt": "torch==2.4.1\n"}
    assert "torch" in str(decision(plan(files), "sources-differ").detail)


def test_an_ignored_file_that_cannot_be_read_is_listed_and_stops_nothing():
    made = plan({"requirements.txt": "numpy==2.0.0", "Pipfile": "[packages\n"})
    assert decision(made, "source-ignored").subject == "Pipfile"


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
        "apt.txt": "used: system packages of all lists add up",
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
        ({"pyproject.toml": "[tool.black]\nline-length = 100\n"}, "no dependency file was found"),
        ({"pyproject.toml": '[project]\nname = "x"\nversion = "1"\n'}, "pyproject.toml lists no packages"),
    ],
)
def test_an_environment_without_packages_is_said(files: Files, asked: str):
    made = plan(files)
    assert made.requirements == ()
    assert decision(made, "nothing-declared").asked == asked


def test_locks_of_our_own_are_no_source():
    made = plan({"requirements.txt": "numpy==2.0.0", "pylock.lading.toml": "", "pylock.lading-cpu.toml": ""})
    assert list(files_of(made)) == ["requirements.txt"]

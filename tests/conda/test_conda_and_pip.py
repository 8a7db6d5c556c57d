"""Conda before pip in one environment: contradictions found before anything is downloaded, each package installed once."""

from __future__ import annotations

import pytest

from lading.model.lock import Lock
from lading.model.problems import ExitCode
from tests.conda.conftest import MINOR, PLAIN, TAG, Project, conda_of
from tests.support.index import LocalIndex


def both(conda: str, pip: str) -> dict[str, str]:
    return {"conda-packages.txt": conda, "requirements.txt": pip}


def conda(lock: Lock) -> dict[str, str]:
    return {package.name: f"{package.version} {package.build}" for package in conda_of(lock).packages}


@pytest.fixture(autouse=True)
def packages(index: LocalIndex) -> None:
    """What the package index has. Its numpy 1.26.4 is never offered: conda's is not looked up there."""
    index.add("numpy", "2.1.0")
    index.add("flask", "3.0.0", requires=["six", "click"])
    index.add("click", "8.1.7")
    index.add("needs-new", "1.0", requires=["numpy>=2"])
    index.add("needs-old", "1.0", requires=["numpy<1.25"])
    index.add("needs-any", "1.0", requires=["numpy>=1.20"])
    index.add("plots", "1.0", requires=["matplotlib>=3"])
    index.add("uvicorn", "0.29.0", extras={"standard": ["httptools"]})
    index.add("httptools", "0.6.1")
    index.add("serves", "1.0", requires=["uvicorn[standard]>=0.20"])
    index.add("torchvision", "0.16.0", requires=["torch==2.1.0"])


def test_what_conda_provides_is_taken_for_pip_as_well(cortex: Project, index: LocalIndex):
    cortex.write(both(f"numpy=1.26\nsix\npython={MINOR}\n", "flask==3.0.0\nneeds-any\n"))
    lock = cortex.lock()
    assert lock.versions == {"click": "8.1.7", "flask": "3.0.0", "needs-any": "1.0"}
    assert dict(conda_of(lock).shared) == {"numpy": "1.26.4", "six": "1.16.0"}
    assert not any(request.path.startswith(("/simple/numpy", "/simple/six")) for request in index.requests)


def test_a_package_in_both_lists_is_installed_once_by_conda_and_that_is_said(cortex: Project):
    cortex.write(both("numpy=1.26\n", "numpy>=1.20\nclick\n"))
    lock = cortex.lock()
    assert lock.versions == {"click": "8.1.7"}
    (decision,) = [one for one in lock.decisions if one.rule == "conda-provides"]
    assert (decision.asked, decision.chose, str(decision.origin)) == ("numpy>=1.20", "numpy 1.26.4 by conda", "requirements.txt:1")
    assert decision.because == "conda installs it already (conda-packages.txt:1: numpy=1.26), and a package is installed once"
    assert decision.instead == "numpy out of conda-packages.txt, if pip is to install it"


def test_two_lines_that_contradict_each_other_are_one_problem_before_any_download(cortex: Project, index: LocalIndex):
    cortex.write(both("six\nnumpy=1.26\n", "click\nnumpy>=2\n"))
    problem = cortex.problem()
    assert (problem.rule, problem.code, str(problem.origin)) == ("conda-pip-conflict", ExitCode.RESOLUTION, "requirements.txt:2")
    assert problem.what == (
        "Conda and pip contradict each other about numpy: numpy 1.26.4 by conda (conda-packages.txt:2: numpy=1.26), "
        "and requirements.txt:2 asks for numpy>=2."
    )
    assert problem.instead == (
        "Ask conda for numpy >=2 in conda-packages.txt:2; or change requirements.txt:2; "
        "or remove numpy from conda-packages.txt, so that pip installs it."
    )
    assert problem.detail == "conda-packages.txt:2: numpy=1.26\nrequirements.txt:2: numpy>=2"
    assert not index.requests
    assert not (cortex.root / "pylock.lading.toml").exists()


def test_what_a_pip_package_needs_contradicts_too(cortex: Project, index: LocalIndex):
    cortex.write(both("numpy=1.26\n", "click\nneeds-new==1.0\n"))
    problem = cortex.problem()
    assert (problem.rule, str(problem.origin)) == ("conda-pip-conflict", "requirements.txt:2")
    assert problem.what == (
        "Conda and pip contradict each other about numpy: numpy 1.26.4 by conda (conda-packages.txt:1: numpy=1.26), "
        "and needs-new (requirements.txt:2) needs numpy>=2."
    )
    assert not any(request.path.endswith(".whl") and request.method == "GET" and "numpy" in request.path for request in index.requests)


def test_a_package_that_another_brings_names_the_line_of_that_one(cortex: Project):
    cortex.write(both("rdkit\n", "numpy>=2\n"))
    problem = cortex.problem()
    assert "numpy 1.26.4 by conda (which rdkit brings, conda-packages.txt:1)" in problem.what
    assert "remove" not in (problem.instead or "")


@pytest.mark.parametrize("pip", ["numpy<1.25\n", "needs-old\n"])
def test_conda_takes_another_version_where_its_lines_allow_it(cortex: Project, pip: str):
    cortex.write(both("numpy\n", pip))
    lock = cortex.lock()
    assert conda(lock)["numpy"] == f"1.24.4 {TAG}_0"
    (decision,) = [one for one in lock.decisions if one.rule == "conda-version-for-pip"]
    assert decision.because == "conda alone would have taken 2.0.0; the conda lines allow both"
    assert decision.asked.startswith("numpy<1.25 (requirements.txt:1")


def test_names_are_mapped_as_the_channel_says_and_by_the_table(cortex: Project):
    cortex.write(both(f"matplotlib-base\npytorch\npython={MINOR}\n", "plots\ntorch==2.1.0\n"))
    lock = cortex.lock()
    assert lock.versions == {"plots": "1.0"}
    assert dict(conda_of(lock).shared) == {"matplotlib": "3.8.0", "torch": "2.1.0"}


def test_an_extra_of_what_conda_provides_is_pips_to_add(cortex: Project):
    cortex.write(both("uvicorn\n", "uvicorn[standard]>=0.20\n"))
    lock = cortex.lock()
    assert lock.versions == {"httptools": "0.6.1"}
    (decision,) = [one for one in lock.decisions if one.rule == "conda-provides"]
    assert decision.chose == "uvicorn 0.29.0 by conda, with the extras standard by pip"
    cortex.write(both("uvicorn\n", "serves\n"))
    assert cortex.lock(upgrade=True).versions == {"httptools": "0.6.1", "serves": "1.0"}


def test_a_pip_build_of_a_framework_beside_condas_is_a_problem(cortex: Project):
    cortex.write(both("pytorch=2.1.0\n", "torch==2.1.0+cu118\n"))
    problem = cortex.problem()
    assert problem.rule == "conda-pip-conflict"
    assert "torch 2.1.0 by conda (conda-packages.txt:1: pytorch=2.1.0)" in problem.what


def test_an_extension_of_pips_build_does_not_fit_condas(cortex: Project):
    cortex.write(both("pytorch=2.1.0\n", "torchvision==0.16.0\n"))
    problem = cortex.problem()
    assert (problem.rule, str(problem.origin)) == ("conda-pip-builds-mixed", "requirements.txt:1")
    assert problem.what == (
        "torchvision by pip (requirements.txt:1) does not fit pytorch 2.1.0 by conda (conda-packages.txt:1: pytorch=2.1.0)."
    )


def test_packages_that_the_list_says_pip_had_installed_are_pips_here_too(cortex: Project):
    listed = "# packages in environment at /opt/env:\n#\n# Name  Version  Build  Channel\n"
    cortex.write({"conda-packages.txt": f"{listed}numpy  1.26.4  {TAG}_0\nclick  8.1.7  pypi_0  pypi\n"})
    lock = cortex.lock()
    assert lock.versions == {"click": "8.1.7"}
    assert "conda-list-pip-packages" in [decision.rule for decision in lock.decisions]


def test_the_pip_part_of_an_environment_is_resolved_against_it(project: Project):
    lines = ["dependencies:", f"  - python={MINOR}", "  - numpy=1.26", "  - pip:", "    - -r more.txt", "    - click"]
    project.write({"environment.yml": "\n".join(lines) + "\n", "more.txt": "needs-any\nneeds-new\n"})
    problem = project.problem()
    assert (problem.rule, str(problem.origin)) == ("conda-pip-conflict", "more.txt:2")
    project.write({"more.txt": "needs-any\n"})
    assert project.lock().versions == {"click": "8.1.7", "needs-any": "1.0"}


def test_markers_that_do_not_hold_ask_for_nothing(cortex: Project):
    cortex.write(both("numpy=1.26\n", 'numpy>=2 ; python_version < "3.0"\nclick\n'))
    assert cortex.lock().versions == {"click": "8.1.7"}


def test_hashes_of_a_line_that_conda_satisfies_are_not_compared_with_condas_file(cortex: Project):
    cortex.write(both("numpy=1.26\n", f"numpy==1.26.4 --hash=sha256:{'0' * 64}\n"))
    lock = cortex.lock()
    assert lock.versions == {}
    assert dict(conda_of(lock).shared) == {"numpy": "1.26.4"}


def test_conda_alone_needs_no_requirements(cortex: Project):
    cortex.write({"conda-packages.txt": "numpy=1.26\n"})
    lock = cortex.lock()
    assert lock.versions == {}
    assert "numpy" in conda(lock)
    assert "nothing-declared" not in [decision.rule for decision in lock.decisions]


def test_what_a_predictor_imports_undeclared_is_condas_where_conda_has_it(cortex: Project):
    cortex.write({"conda-packages.txt": "rdkit\n", "predictor.py": f"import numpy\n{PLAIN}"})
    lock = cortex.lock()
    assert lock.versions == {}
    assert dict(conda_of(lock).shared) == {"numpy": "1.26.4"}


def test_two_sets_of_apis_have_environments_of_their_own(cortex: Project):
    second = CORTEX_OTHER
    cortex.write({"cortex.yaml": second, "conda-packages.txt": "six\n", "other/conda.txt": "numpy=1.26\n"})
    options = cortex.options()
    from lading import pipeline

    project = pipeline.read(options)
    locked = pipeline.lock(pipeline.plan(project, options), project, options)
    assert [(one.planned.plan.variant, sorted(conda(one.lock))) for one in locked] == [
        ("", ["python", "six"]),
        ("two", ["numpy", "python"]),
    ]


CORTEX_OTHER = """\
- name: one
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py}
- name: two
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py, dependencies: {conda: other/conda.txt}}
"""


def test_two_pip_lines_that_disagree_about_what_conda_provides_are_both_named(cortex: Project, index: LocalIndex):
    index.add("wants-new", "1.0", requires=["numpy>=1.26"])
    cortex.write(both("numpy\n", "needs-old\nwants-new\n"))
    problem = cortex.problem()
    assert problem.rule == "conda-pip-conflict"
    text = f"{problem.what} {problem.why}"
    assert "requirements.txt:1: needs-old" in text
    assert "wants-new (requirements.txt:2) needs numpy>=1.26" in text


def test_constraints_of_pip_count_as_its_requirements_do(cortex: Project):
    files = {**both("numpy=1.26\n", "-c limits.txt\nneeds-any\n"), "limits.txt": "numpy==1.25\n"}
    cortex.write(files)
    problem = cortex.problem()
    assert "limits.txt:1 asks for numpy==1.25" in problem.what
    cortex.write({"conda-packages.txt": "numpy\n", "limits.txt": "numpy<1.26\n"})
    assert conda(cortex.lock())["numpy"] == f"1.24.4 {TAG}_0"

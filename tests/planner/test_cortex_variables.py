"""Where `.env` and `predictor.env` say where packages come from, as they did for Cortex's pip."""

from __future__ import annotations

import json

import pytest

from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from tests.planner.planning import plans

CONFIG = "- name: a\n  kind: RealtimeAPI\n  predictor: {{type: python, path: p.py, env: {{{env}}}}}\n"
CLASS = "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return 1\n"


def project(env: str = "", dotenv: str = "", requirements: str = "six==1.16.0\n") -> MemoryFiles:
    files = {"cortex.yaml": CONFIG.format(env=env), "p.py": CLASS, "requirements.txt": requirements}
    return MemoryFiles({**files, ".env": dotenv} if dotenv else files)


def test_variables_name_indexes_and_the_decision_hides_their_passwords():
    dotenv = "# where ours are\nexport PIP_EXTRA_INDEX_URL=https://ci:s3cret@pypi.example/simple\n"
    (plan,) = plans(project(dotenv=dotenv))
    (url,) = plan.options.extra_index_urls
    assert url.reveal() == "https://ci:s3cret@pypi.example/simple"
    decision = next(one for one in plan.decisions if one.rule == "variables-name-indexes")
    assert (str(decision.origin), decision.asked) == (".env:2", "PIP_EXTRA_INDEX_URL")
    assert "pypi.example" in decision.chose
    assert "s3cret" not in json.dumps(plan.as_json())


def test_the_file_itself_counts_first_and_the_shell_before_all():
    (plan,) = plans(project(env="PIP_INDEX_URL: https://api.example/simple", requirements="--index-url https://file.example/simple\nsix\n"))
    assert str(plan.options.index_url) == "https://file.example/simple"
    (plan,) = plans(project(env="PIP_INDEX_URL: https://api.example/simple"))
    assert str(plan.options.index_url) == "https://api.example/simple"


def test_variables_stand_for_names_in_requirements():
    line = "private @ https://${TOKEN}@files.example/private-1.0-py3-none-any.whl\n"
    (plan,) = plans(project(dotenv="TOKEN=s3cret\n", requirements=line))
    assert plan.requirements[0].reveal() == line.strip().replace("${TOKEN}", "s3cret")
    assert "s3cret" not in json.dumps(plan.as_json())
    (plan,) = plans(project(dotenv="TOKEN=s3cret\n", requirements=line), environ={"TOKEN": "mine"})
    assert "mine@" in plan.requirements[0].reveal()
    with pytest.raises(LadingError):
        plans(project(requirements=line))


def test_nothing_is_said_where_no_variable_names_an_index():
    (plan,) = plans(project(env="MODE: fast", dotenv="A=1\n"))
    assert not [one for one in plan.decisions if one.rule == "variables-name-indexes"]

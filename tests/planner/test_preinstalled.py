"""What Cortex's images brought joins the plan where the sources import it and no file declares it, and nothing else does."""

from __future__ import annotations

import pytest

from lading.model.decisions import Decision
from lading.model.files import MemoryFiles
from lading.planner.find import find_config
from lading.planner.preinstalled import PREINSTALLED, files_of
from tests.planner.planning import plans

CONFIG = "- name: a\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n"
CLASS = "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        pass\n"


def _planned(source: str, config: str = CONFIG, **files: str) -> tuple[list[str], list[Decision]]:
    renamed = {name.replace("__", ".").replace("_0_", "/"): text for name, text in files.items()}
    (plan,) = plans({"cortex.yaml": config, "predictor.py": source + CLASS, **renamed})
    return [one.pep508 for one in plan.requirements], [one for one in plan.decisions if one.rule == PREINSTALLED]


def test_an_undeclared_import_that_cortex_had_joins_with_its_reason():
    names, (decision,) = _planned("import os\nimport requests\n")
    assert names == ["requests"]
    assert (decision.subject, str(decision.origin)) == ("requests", "predictor.py:2")
    assert decision.asked == "predictor.py:2 imports requests, and no file declares it"
    assert decision.because == "Cortex's images had requests 2.24.0, so the project may rely on it"


def test_what_is_declared_stays_as_it_is_declared():
    names, decisions = _planned("import requests, yaml\n", requirements__txt="requests==2.31.0\nPyYAML>=5\n")
    assert (names, decisions) == (["requests==2.31.0", "pyyaml>=5"], [])


@pytest.mark.parametrize(
    "source",
    [
        "import somewhere_else\n",
        "import json\n",
        "try:\n    import requests\nexcept ImportError:\n    requests = None\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\n",
        "# import numpy\n",
    ],
)
def test_nothing_else_is_added(source):
    assert _planned(source) == ([], [])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from fastapi import Response\n", "fastapi"),
        ("from starlette.responses import JSONResponse\n", "starlette"),
        ("def load():\n    import boto3\n", "boto3"),
        ("import numpy as np\n", "numpy"),
        ("from PIL import Image\n", "pillow"),
        ("from google.protobuf import message\n", "protobuf"),
        ("with open('x') as f:\n    import dill\n", "dill"),
    ],
)
def test_an_import_finds_its_distribution(source, name):
    assert _planned(source)[0] == [name]


def test_imports_of_the_projects_own_files_are_followed_and_none_of_them_is_taken_for_a_package():
    names, decisions = _planned(
        "import requests\nfrom lib import tools\nfrom lib.more import x\n",
        requests__py="import numpy\n",
        lib_0_tools__py="from . import other\n",
        lib_0_other__py="import boto3\n",
        lib_0_more__py="import dill\n",
        unused__py="import pandas\n",
    )
    assert sorted(names) == ["boto3", "dill", "numpy"]
    assert {str(one.origin) for one in decisions} == {"lib/other.py:1", "lib/more.py:1", "requests.py:1"}


def test_the_client_of_a_predictor_type_needs_its_runtime_once():
    onnx = CONFIG.replace("python", "onnx") + "    models: {path: model.onnx}\n"
    source = CLASS.replace("PythonPredictor", "ONNXPredictor").replace("config", "onnx_client, config")
    (plan,) = plans({"cortex.yaml": onnx, "predictor.py": source})
    assert [one.pep508 for one in plan.requirements] == ["onnxruntime"]
    (plan,) = plans({"cortex.yaml": onnx, "predictor.py": source, "requirements.txt": "onnxruntime-gpu==1.19.2\n"})
    assert [one.pep508 for one in plan.requirements] == ["onnxruntime-gpu==1.19.2"]


def test_models_elsewhere_and_messages_need_what_reads_them():
    models = CONFIG + "    multi_model_reloading: {paths: [{name: a, path: s3://b/a}, {name: c, path: gs://b/c}, {name: d, path: d}]}\n"
    (plan,) = plans({"cortex.yaml": models, "predictor.py": CLASS})
    assert [one.pep508 for one in plan.requirements] == ["s3fs", "gcsfs"]
    (plan,) = plans({"cortex.yaml": models, "predictor.py": CLASS, "requirements.txt": "s3fs==2024.6.0\ngcsfs\n"})
    assert [one.pep508 for one in plan.requirements] == ["s3fs==2024.6.0", "gcsfs"]
    name = CONFIG.partition("name: ")[2].split()[0]
    proto = f"package {name.replace('-', '_')}; service S {{ rpc Predict (M) returns (M); }} message M {{}}"
    (plan,) = plans({"cortex.yaml": CONFIG + "    protobuf_path: a.proto\n", "predictor.py": CLASS, "a.proto": proto})
    assert [one.pep508 for one in plan.requirements] == ["protobuf"]


def test_packages_of_conda_count_as_declared():
    names, decisions = _planned("import numpy, torch\n", **{"conda-packages__txt": "numpy\npytorch\n"})
    assert (names, decisions) == ([], [])


def test_another_kind_of_project_gets_nothing():
    (plan,) = plans({"predict.py": "import numpy\n\ndef predict(number: int = 1) -> int:\n    return number\n"})
    assert plan.requirements == ()


def test_the_files_of_an_api_are_what_it_imports_and_names():
    files = MemoryFiles(
        {
            "cortex.yaml": CONFIG,
            "predictor.py": "from lib import tools\nOPEN = open('data/labels.txt')\n" + CLASS,
            "lib/tools.py": "NAME = 'weights.bin'\n",
            "lib/unused.py": "",
            "data/labels.txt": "",
            "data/other.txt": "",
            "weights.bin": "",
        }
    )
    (api,) = find_config(files, None, {}).apis
    assert files_of(api, files) == ("predictor.py", "lib/tools.py", "data/labels.txt", "weights.bin")

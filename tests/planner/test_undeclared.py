"""Imports that nothing installs: what is certain is said, and nothing that may be right."""

from __future__ import annotations

import pytest

from lading.model.decisions import Decision
from lading.model.files import MemoryFiles
from lading.model.lock import Lock
from lading.model.modules import distribution_named_so, distributions_of, is_brought
from lading.planner.undeclared import known_imports, undeclared
from tests.planner.planning import plans

PREDICT = "def predict(x: int) -> int:\n    return x\n"


def told(source: str, *locked: str, files: dict[str, str] | None = None, commands: tuple[str, ...] = ()) -> Decision | None:
    """The advice about a predictor's file with these packages in the lock."""
    project = MemoryFiles({"predict.py": source + PREDICT, "requirements.txt": "flask==3.0.0\n", **(files or {})})
    (plan,) = plans(project)
    lock = Lock(document={"packages": [{"name": name, "version": "1"} for name in locked]}, fingerprint="", target={})
    found = undeclared(known_imports(plan.apis, project), plan, lock, commands)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("import numpy as np\n", "numpy"),
        ("from PIL import Image\n", "pillow"),
        ("import cv2, sklearn.svm\n", "opencv-python and scikit-learn"),
        ("class A:\n    import yaml\n", "pyyaml"),
        ("def load():\n    import torch\n", "torch"),
        ("import os\nwith open(os.devnull):\n    import pandas\n", "pandas"),
        ("import helper\n", "scipy"),
    ],
)
def test_an_import_that_nothing_brings_is_said_with_what_to_add(source: str, named: str):
    decision = told(source, "flask", files={"helper.py": "import scipy\ndef later():\n    import wandb\n"})
    assert decision is not None
    assert decision.instead == f"{named} in requirements.txt"
    assert decision.origin is not None
    assert decision.origin.line is not None


@pytest.mark.parametrize(
    ("source", "locked"),
    [
        ("import json, sys, flask\n", ["flask"]),
        ("import corp_model, something_else\n", ["flask"]),
        ("import cv2\n", ["opencv-python-headless"]),
        ("import onnxruntime\n", ["onnxruntime-gpu"]),
        ("import faiss\n", ["faiss-gpu-cu12"]),
        ("import tensorflow\n", ["tensorflow-cpu"]),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None\n", []),
        ("import os\nif os.name == 'nt':\n    import numpy\n", []),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\n", []),
        ("import whisper\nfrom redis import x\n", []),
        ("from . import numpy\n", []),
        ("import numpy  # broken\ndef (\n", []),
    ],
)
def test_what_may_be_right_is_not_said(source: str, locked: list[str]):
    own = {"whisper/__init__.py": "", "redis.py": "x = 1\n"}
    project = MemoryFiles({"predict.py": PREDICT, "other.py": source, "requirements.txt": "", **own})
    (plan,) = plans(project)
    (api,) = plan.apis
    from lading.model.records import replace

    found = known_imports([replace(api, file="other.py")], project)
    lock = Lock(document={"packages": [{"name": name, "version": "1"} for name in locked]}, fingerprint="", target={})
    assert undeclared(found, plan, lock, ()) == ()


def test_what_a_command_of_the_project_installs_is_not_said():
    assert told("import cv2\n", "flask", commands=("pip install opencv-python",)) is None
    assert told("import cv2\n", "flask", commands=("echo done",)) is not None


def test_names_to_import_and_names_to_install():
    assert distributions_of("PIL.Image")[0] == "pillow"
    assert distributions_of("huggingface_hub") == ("huggingface-hub",)
    assert distributions_of("corp") == ()
    assert is_brought("corp", frozenset())
    assert (distribution_named_so("cv2"), distribution_named_so("torch"), distribution_named_so("flask")) == ("opencv-python", None, None)

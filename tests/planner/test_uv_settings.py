"""``[tool.uv]`` of a pyproject.toml beside a requirements file or a cog.yaml: how packages are found and built."""

from __future__ import annotations

import pytest

from lading.model.files import MemoryFiles
from lading.model.plan import Role
from lading.model.problems import LadingError
from lading.model.secrets import SecretText
from tests.planner.planning import plans

PREDICTOR = "def predict(x: int) -> int:\n    return x\n"
SETTINGS = """[tool.uv]
no-build-isolation-package = ["flash-attn"]
override-dependencies = ["numpy==1.26.4"]
exclude-dependencies = ["opencv-python"]

[tool.uv.extra-build-variables]
xformers = { MAX_JOBS = "4" }

[tool.uv.sources]
corp = { index = "private" }

[[tool.uv.index]]
name = "private"
url = "https://private.example/simple"
explicit = true
"""
COG = "build:\n  python_packages:\n    - corp\n    - flash-attn==2.5.6\npredict: predict.py:predict\n"


@pytest.mark.parametrize("files", [{"requirements.txt": "corp\nflash-attn==2.5.6\n"}, {"cog.yaml": COG}])
def test_its_settings_hold_for_what_is_declared(files: dict[str, str]):
    (plan,) = plans(MemoryFiles({"predict.py": PREDICTOR, "pyproject.toml": SETTINGS, **files}))
    assert plan.build.no_isolation == ("flash-attn",)
    assert plan.build.variables == (("xformers", "MAX_JOBS", SecretText("4")),)
    assert [one.pep508 for one in plan.overrides] == ["numpy==1.26.4"]
    assert plan.excludes == ("opencv-python",)
    corp = next(one for one in plan.requirements if one.name == "corp")
    assert str(corp.index) == "https://private.example/simple"
    assert "uv-settings-used" in [decision.rule for decision in plan.decisions]
    used = {source.path: source.because for source in plan.sources if source.role is Role.USED}
    assert used["pyproject.toml"] == "its [tool.uv] says how packages are found and built"


def test_a_pyproject_that_declares_too_is_still_compared_with():
    files = {"predict.py": PREDICTOR, "requirements.txt": "six\n", "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n' + SETTINGS}
    (plan,) = plans(MemoryFiles(files))
    assert plan.build.no_isolation == ("flash-attn",)
    assert [source.path for source in plan.sources if source.role is Role.IGNORED] == ["pyproject.toml"]


def test_without_the_table_nothing_changes():
    (plan,) = plans(MemoryFiles({"predict.py": PREDICTOR, "requirements.txt": "six\n", "pyproject.toml": "[tool.ruff]\n"}))
    assert not plan.build


def test_a_mistake_in_it_is_not_passed_over():
    with pytest.raises(LadingError) as caught:
        plans(MemoryFiles({"predict.py": PREDICTOR, "requirements.txt": "six\n", "pyproject.toml": "[tool.uv]\nresolution = 'lowest'\n"}))
    assert caught.value.problems[0].rule == "table-not-supported"

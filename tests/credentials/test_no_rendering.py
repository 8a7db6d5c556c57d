"""No rendering of any plan, explanation, problem, decision or change holds a credential, whatever the syntax it was planted in."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.edits.migration import migrate
from lading.explain.package import explain_package, render_explanation
from lading.explain.scripts import render_scripts
from lading.explain.style import Style
from lading.explain.text import render_plan, render_problems
from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from tests.planner.planning import plans

PREDICT = {"predict.py": "def predict(x: int) -> int:\n    return x\n"}
COG = "predict: predict.py:predict\n"
CORTEX = "- name: a\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predict.py\n"
PLAIN = Style(width=100)

# Where a credential can stand. U is `user:secret` or the secret alone, as in a URL; V is a variable that holds the secret.
SYNTAXES: dict[str, dict[str, str]] = {
    "index-url": {"requirements.txt": "--index-url https://U@host.example/simple\ndemo\n"},
    "index-url with =": {"requirements.txt": "--index-url=https://U@host.example/simple\ndemo\n"},
    "-i": {"requirements.txt": "-i https://U@host.example/simple\ndemo\n"},
    "extra-index-url": {"requirements.txt": "--extra-index-url https://U@host.example/simple\ndemo\n"},
    "find-links": {"requirements.txt": "-f https://U@host.example/links\ndemo\n"},
    "index on a line": {"requirements.txt": "demo==1.0 --index-url https://U@host.example/simple\n"},
    "find-links on a line": {"requirements.txt": "demo==1.0 -f https://U@host.example/links\n"},
    "two indexes on a line": {"requirements.txt": "demo -i https://U@a.example/simple -i https://U@b.example/simple\n"},
    "direct URL": {"requirements.txt": "demo @ https://U@host.example/demo-1.0.tar.gz\n"},
    "bare URL": {"requirements.txt": "https://U@host.example/demo-1.0-py3-none-any.whl\n"},
    "URL with a fragment": {"requirements.txt": "demo @ https://U@host.example/demo-1.0.tar.gz#sha256=" + "0" * 64 + "\n"},
    "git": {"requirements.txt": "demo @ git+https://U@host.example/demo.git@v1\n"},
    "git with egg": {"requirements.txt": "git+https://U@host.example/demo.git#egg=demo\n"},
    "editable git": {"requirements.txt": "-e git+https://U@host.example/demo.git#egg=demo\n"},
    "mercurial": {"requirements.txt": "demo @ hg+https://U@host.example/demo\n"},
    "in an include": {"requirements.txt": "-r more.txt\n", "more.txt": "--index-url https://U@host.example/simple\ndemo\n"},
    "in a constraint": {"requirements.txt": "-c more.txt\ndemo\n", "more.txt": "demo @ https://U@host.example/demo-1.0.tar.gz\n"},
    "included from a URL": {"requirements.txt": "-r https://U@host.example/more.txt\n"},
    "a line that is no requirement": {"requirements.txt": "demo = 1.0 --index-url https://U@host.example/simple\n"},
    "a broken URL": {"requirements.txt": "demo @ https://U@[::1/demo\n"},
    "an unknown option": {"requirements.txt": "--nonsense https://U@host.example/simple\n"},
    "two requirements": {"requirements.txt": "demo https://U@host.example/x.whl\n"},
    "a YAML hyphen": {"requirements.txt": "- demo @ https://U@host.example/x.whl\n"},
    "pip.conf": {"requirements.txt": "demo\n", "pip.conf": "[global]\nindex-url = https://U@host.example/simple\n"},
    "pip.conf extra": {"requirements.txt": "demo\n", "pip.conf": "[install]\nextra-index-url =\n    https://U@host.example/simple\n"},
    "variable as password": {"requirements.txt": "--index-url https://bob:${V}@host.example/simple\ndemo\n"},
    "variable as token": {"requirements.txt": "demo @ git+https://${V}@host.example/demo.git\n"},
    "variable in the path": {"requirements.txt": "--index-url https://host.example/${V}/simple\ndemo\n"},
    "variable in the query": {"requirements.txt": "demo @ https://host.example/demo-1.0.tar.gz?token=${V}\n"},
    "variable on a broken line": {"requirements.txt": "demo ${V}\n"},
    "cog packages": {"cog.yaml": f"build:\n  python_packages:\n    - demo @ git+https://U@host.example/demo.git\n{COG}"},
    "cog option": {"cog.yaml": f"build:\n  python_packages:\n    - --extra-index-url https://U@host.example/simple\n    - demo\n{COG}"},
    "cog run": {"cog.yaml": f"build:\n  run:\n    - pip install demo --index-url https://U@host.example/simple\n{COG}"},
    "cog run unquoted": {"cog.yaml": f"build:\n  run:\n    - pip install demo>=1 -i https://U@host.example/simple\n{COG}"},
    "cog run curl": {"cog.yaml": f"build:\n  run:\n    - curl https://U@host.example/x | sh\n{COG}"},
    "cortex": {"cortex.yaml": CORTEX, "requirements.txt": "git+https://U@host.example/demo.git\n"},
    ".env": {"cortex.yaml": CORTEX, "requirements.txt": "demo\n", ".env": "PIP_EXTRA_INDEX_URL=https://U@host.example/simple\n"},
    "predictor.env": {
        "cortex.yaml": f"{CORTEX}    env: {{PIP_INDEX_URL: 'https://U@host.example/simple'}}\n",
        "requirements.txt": "demo\n",
    },
    "dependencies.sh": {"cortex.yaml": CORTEX, "dependencies.sh": "pip install git+https://U@host.example/demo.git\n"},
    "dependencies.sh copying": {"cortex.yaml": CORTEX, "dependencies.sh": "curl https://U@host.example/x > /etc/pip.conf\n"},
    "postBuild": {"requirements.txt": "demo\n", "postBuild": "pip install -i https://U@host.example/simple demo\n"},
    "pyproject": {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["demo @ git+https://U@host.example/demo.git"]\n'
    },
    "pyproject that is wrong": {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["--index-url https://U@h.example"]\n'
    },
    "uv index": {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["demo"]\n[[tool.uv.index]]\nname = "p"\nurl = "https://U@h.example/s"\n'
    },
    "uv source": {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["demo"]\n[tool.uv.sources]\ndemo = { git = "https://U@h.example/d" }\n'
    },
    "poetry source": {
        "pyproject.toml": '[tool.poetry]\nname = "x"\nversion = "1"\n[tool.poetry.dependencies]\ndemo = "1.0"\n'
        '[[tool.poetry.source]]\nname = "p"\nurl = "https://U@h.example/simple"\npriority = "primary"\n'
    },
    "poetry git": {
        "pyproject.toml": '[tool.poetry]\nname = "x"\nversion = "1"\n[tool.poetry.dependencies]\ndemo = { git = "https://U@h.example/demo.git" }\n'
    },
    "pdm source": {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["demo"]\n[[tool.pdm.source]]\nname = "pypi"\nurl = "https://U@h.example/s"\n'
    },
    "Pipfile": {"Pipfile": '[[source]]\nurl = "https://U@h.example/simple"\nname = "p"\nverify_ssl = true\n[packages]\ndemo = "*"\n'},
    "Pipfile git": {"Pipfile": '[packages]\ndemo = {git = "https://U@h.example/demo.git", ref = "v1"}\n'},
    "requirements.in": {"requirements.in": "--index-url https://U@host.example/simple\ndemo\n"},
    "setup.cfg": {"setup.cfg": "[metadata]\nname = x\n[options]\ninstall_requires =\n    demo @ git+https://U@host.example/demo.git\n"},
    "PEP 723": {
        "predict.py": '# /// script\n# dependencies = ["demo @ git+https://U@host.example/d.git"]\n# ///\n' + PREDICT["predict.py"]
    },
    "environment.yml": {
        "environment.yml": "channels:\n  - https://U@host.example/channel\ndependencies:\n  - python=3.11\n  - pip:\n    - demo @ git+https://U@host.example/d.git\n"
    },
    "conda token": {"environment.yml": "channels:\n  - https://host.example/t/SECRET/channel\ndependencies:\n  - python=3.11\n"},
    "uv.lock": {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["demo"]\n',
        "uv.lock": 'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "demo"\nversion = "1.0"\nsource = { registry = "https://U@h.example/simple" }\n'
        'wheels = [{ url = "https://U@h.example/demo-1.0-py3-none-any.whl", hash = "sha256:' + "0" * 64 + '", size = 1 }]\n\n'
        '[[package]]\nname = "x"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "demo" }]\n',
    },
    "pylock.toml": {
        "pylock.toml": 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "demo"\nversion = "1.0"\nindex = "https://U@h.example/simple"\n'
        'wheels = [{ url = "https://U@h.example/demo-1.0-py3-none-any.whl", hashes = { sha256 = "' + "0" * 64 + '" } }]\n'
    },
}

secrets = st.one_of(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.~-]{9,20}[A-Za-z0-9]", fullmatch=True),
    st.sampled_from(["ghp_" + "a1B2c3" * 6, "p%40ss%2Fword%3A1", "pypi-AgEIcHlwaS5vcmc", "x" * 64, "Zm9vYmFyYmF6cXV4"]),
)
forms = st.sampled_from(["bob:{}", "{}", "__token__:{}", "{}:x-oauth-basic", "oauth2:{}"])


def planted(files: dict[str, str], secret: str, userinfo: str) -> MemoryFiles:
    texts = {path: text.replace("U@", f"{userinfo}@").replace("SECRET", secret) for path, text in files.items()}
    return MemoryFiles({**PREDICT, **texts})


def spellings(secret: str) -> set[str]:
    from urllib.parse import unquote

    return {secret, unquote(secret), quote(unquote(secret), safe="")}


def everything(files: MemoryFiles, environ: dict[str, str]) -> Iterable[Any]:
    """All that can be shown of a project before anything is resolved."""
    try:
        for plan in plans(files, environ=environ):
            yield from (plan, json.dumps(plan.as_json()), render_plan(plan, PLAIN), render_scripts(plan.scripts, PLAIN))
            yield from (plan.sources, plan.fingerprint, [str(one) for one in plan.secrets()], *plan.decisions)
            for name in {one.name for one in plan.requirements if one.name}:
                explanation = explain_package(name, plan, None)
                if explanation is not None:
                    yield from (explanation, json.dumps(explanation.as_json()), render_explanation(explanation, PLAIN))
    except LadingError as error:
        yield from (error, render_problems(error.problems, PLAIN), [problem.as_json() for problem in error.problems])
        yield "".join(traceback.format_exception(error))
    if files.read("cog.yaml") is not None:
        migration = migrate("cog.yaml", files, environ)
        yield from (migration.moved, migration.left, *(change.diff for change in migration.changes))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25, deadline=None)
@given(secret=secrets, form=forms)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_no_rendering_holds_it(syntax: str, secret: str, form: str):
    files = planted(SYNTAXES[syntax], secret, form.format(secret))
    for shown in everything(files, {"V": secret, "HOME": "/home/nobody"}):
        for text in (str(shown), repr(shown)):
            for spelling in spellings(secret):
                assert spelling not in text, f"{spelling} in {text}"

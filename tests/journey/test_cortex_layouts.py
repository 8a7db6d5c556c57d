"""Each layout of dependencies that Cortex's documentation shows, installed and asked as it lies there; and an API called by gRPC."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.index import LocalIndex
from tests.support.installed import repack
from tests.support.wheels import wheel

ONE = "- name: shouter\n  kind: RealtimeAPI\n  predictor: {type: python, path: predictor.py}\n"
PREDICTOR = """\
import shout

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return shout.__version__
"""
_GIT = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
SETUP = "from setuptools import setup\nsetup(name='shout', version='{version}', py_modules=['shout'])\n"
MODULE = "__version__ = '{version}'\n"


def _make_repository(folder: Path) -> None:
    """A repository with two versions, the first one tagged."""
    folder.mkdir()
    for version in ("3.0", "3.1"):
        (folder / "setup.py").write_text(SETUP.format(version=version))
        (folder / "shout.py").write_text(MODULE.format(version=version))
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", version], *([["tag", "v3.0"]] if version == "3.0" else [])):
            subprocess.run(["git", *_GIT, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(autouse=True)
def published(index: LocalIndex) -> None:
    """What the layouts ask for: a package in two versions, and what builds others."""
    for version in ("1.0", "2.0"):
        index.publish(wheel("shout", version, files={"shout/__init__.py": MODULE.format(version=version)}))
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("this Python has no setuptools, which builds what setup.py describes")
    index.publish(repack("setuptools"))


def _asked(finished: Any) -> Any:
    assert finished.code == 0, finished.err
    return finished.out.strip()


@pytest.mark.slow
def test_packages_of_a_git_repository_at_a_tag_and_at_its_head(project, lading, tmp_path, index):
    _make_repository(tmp_path / "repo")
    url = f"git+{index.share('git', tmp_path / 'repo' / '.git', git=True)}"
    for number, (line, version) in enumerate({f"{url}@v3.0#egg=shout": "3.0", f"{url}#egg=shout": "3.1"}.items()):
        folder = project({"cortex.yaml": ONE, "predictor.py": PREDICTOR, "requirements.txt": line + "\n"}, f"git-{number}")
        assert _asked(lading("predict", folder, "--json", "1")) == version


def test_setup_py_by_a_dot_in_a_file_below_the_root(project, lading):
    files = {
        "setup.py": SETUP.format(version="4.0"),
        "shout.py": MODULE.format(version="4.0"),
        "reqs/all.txt": ".\n-r base.txt\n",
        "reqs/base.txt": "",
    }
    config = ONE.replace("predictor.py}", "predictor.py, dependencies: {pip: reqs/all.txt}}")
    folder = project({"cortex.yaml": config, "predictor.py": PREDICTOR, **files})
    assert _asked(lading("predict", folder, "--json", "1")) == "4.0"


def test_a_private_index_in_a_pip_conf_that_dependencies_sh_copies(project, lading, index):
    index.publish(wheel("shout", "5.0", files={"shout/__init__.py": MODULE.format(version="5.0")}), to="private")
    index.protect("private", "me", "pass-word-1")
    files = {
        "pip.conf": f"[global]\nextra-index-url = {index.url_of('private', user='me', password='pass-word-1')}\n",
        "dependencies.sh": "#!/bin/bash\n\ncp pip.conf /etc/pip.conf\n",
        "requirements.txt": "shout==5.0\n",
    }
    folder = project({"cortex.yaml": ONE, "predictor.py": PREDICTOR, **files})
    finished = lading("predict", folder, "--json", "1")
    assert _asked(finished) == "5.0"
    assert "pass-word-1" not in finished.err + (folder / "pylock.lading.toml").read_text()


def test_two_apis_with_customised_paths_have_environments_of_their_own(project, served):
    config = """\
- name: cpu
  kind: RealtimeAPI
  predictor: {type: python, path: src/predictor.py, python_path: src, dependencies: {pip: reqs/cpu.txt}}
- name: gpu
  kind: RealtimeAPI
  predictor: {type: python, path: src/predictor.py, python_path: src, dependencies: {pip: reqs/gpu.txt}}
  compute: {gpu: 1}
"""
    files = {
        "src/predictor.py": "import beside\n" + PREDICTOR,
        "src/beside.py": "",
        "reqs/cpu.txt": "shout==1.0\n",
        "reqs/gpu.txt": "shout==2.0\n",
    }
    with served(project({"cortex.yaml": config, **files})) as service:
        assert [service.client.post(f"/{name}", json=1).text for name in ("cpu", "gpu")] == ["1.0", "2.0"]


def test_what_cortexs_images_had_is_there_without_being_declared(project, lading, index):
    index.publish(wheel("requests", "2.24.0", files={"requests/__init__.py": MODULE.format(version="2.24.0")}))
    folder = project({"cortex.yaml": ONE, "predictor.py": PREDICTOR.replace("shout", "requests")})
    finished = lading("predict", folder, "--json", "1")
    assert _asked(finished) == "2.24.0"
    assert "predictor.py:1 imports requests, and no file declares it" in finished.err


def test_an_api_is_called_by_grpc_with_what_the_project_declares_and_no_more(project, lading, served, index):
    grpc = pytest.importorskip("grpc", reason="this Python has no grpcio, which is the extra lading[grpc]")
    index.publish(repack("protobuf"))
    folder = project(
        {
            "cortex.yaml": ONE.replace("predictor.py}", "predictor.py, protobuf_path: shouter.proto}"),
            "shouter.proto": 'syntax = "proto3";\npackage shouter;\nmessage Text { string text = 1; }\n'
            "service Shouter { rpc Predict (Text) returns (Text); }\n",
            "predictor.py": "from shouter_pb2 import Text\n\nclass PythonPredictor:\n    def __init__(self, config): pass\n"
            "    def predict(self, payload): return Text(text=payload.text.upper())\n",
        }
    )
    with served(folder) as service:
        service.wait_for_log("predictor.protobuf_path needs it")
        channel = grpc.insecure_channel(f"127.0.0.1:{service.port}")
        assert channel.unary_unary("/shouter.Shouter/Predict")(b"\x0a\x02hi") == b"\x0a\x02HI"
        channel.close()
        sample = folder.parent / "sample.json"
        sample.write_text('{"text": "hello"}')
        finished = lading("predict", "shouter", sample, "--url", f"http://127.0.0.1:{service.port}", cwd=folder)
        assert json.loads(_asked(finished)) == {"text": "HELLO"}
        assert "shouter" in lading("get", "shouter", cwd=folder).out
    refused = lading("predict", folder, "--json", "{}")
    assert (refused.code, "is called by gRPC" in refused.err) == (2, True)

"""Overrides, exclusions, build requirements and stages, as a project's own settings ask for them: with the real uv and a real index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import uv

from lading.model.build import ALL, BuildOptions, KnownMetadata
from lading.model.lock import Lock
from lading.model.plan import BoundIndex, Role, Source
from lading.model.problems import Problem
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretText, SecretUrl
from lading.resolvers.builds import of_lock
from tests.support.index import LocalIndex
from tests.support.plans import declared, local, plan_of
from tests.support.wheels import Archive, _tarred, core_metadata, project

Resolve = Callable[..., Lock]


def sdist_that_runs(code: str, name: str, version: str, requires: tuple[str, ...] = ()) -> Archive:
    """A source distribution whose build backend runs ``code`` first: its metadata can be had by building only."""
    module = name.replace("-", "_")
    root = f"{module}-{version}"
    tree = project(name, version, requires=requires)
    tree["own_backend.py"] = f"{code}\n{tree['own_backend.py']}"
    content = {f"{root}/PKG-INFO": core_metadata(name, version, requires=requires, metadata_version="2.1")}
    content |= {f"{root}/{path}": text.encode() for path, text in tree.items()}
    return Archive(name, version, f"{root}.tar.gz", _tarred(content))


def package(lock: Lock, name: str) -> dict[str, Any]:
    return dict(next(one for one in lock.packages if one["name"] == name))


def test_an_override_replaces_what_packages_ask_for(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0", requires=["other==1.0"])
    index.add("other", "1.0")
    index.add("other", "2.0")
    assert lock(plan_of("demo", index=index.url)).versions["other"] == "1.0"
    assert lock(plan_of("demo", index=index.url, overrides=(declared("other==2.0"),))).versions["other"] == "2.0"


def test_an_excluded_package_is_left_out_whoever_needs_it(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0", requires=["telemetry"])
    assert lock(plan_of("demo", index=index.url, excludes=("telemetry",))).versions == {"demo": "1.0"}


def test_further_build_requirements_and_variables_are_there_when_the_package_is_built(index: LocalIndex, lock: Resolve):
    index.publish(sdist_that_runs("import helper, os; assert os.environ['MODE'] == 'fast'", "demo", "1.0"))
    index.add("helper", "1.0")
    build = BuildOptions(requirements=(("demo", declared("helper")),), variables=(("demo", "MODE", SecretText("fast")),))
    locked = lock(plan_of("demo", index=index.url, build=build))
    assert package(locked, "demo")["tool"]["lading"] == {"build-requires": ["helper"], "build-variables": {"MODE": "fast"}}


def test_build_constraints_hold_build_requirements_down(index: LocalIndex, lock: Resolve):
    index.publish(sdist_that_runs("import helper; assert helper.__version__ == '1.0'", "demo", "1.0"))
    index.add("helper", "1.0")
    index.add("helper", "2.0")
    build = BuildOptions(requirements=(("demo", declared("helper")),), constraints=(declared("helper<2"),))
    assert lock(plan_of("demo", index=index.url, build=build)).versions == {"demo": "1.0"}


def test_a_build_that_imports_another_package_finds_the_one_that_is_locked(index: LocalIndex, lock: Resolve):
    index.add("torch", "2.0")
    index.add("torch", "2.1")
    index.publish(sdist_that_runs("import torch; assert torch.__version__ == '2.0'", "flash-attn", "1.0", ("torch", "einops")))
    index.add("einops", "1.0")
    build = BuildOptions(no_isolation=("flash-attn",))
    locked = lock(plan_of("torch==2.0", "flash-attn", index=index.url, build=build))
    assert locked.versions == {"torch": "2.0", "flash-attn": "1.0", "einops": "1.0"}
    assert package(locked, "flash-attn")["tool"]["lading"] == {"build-requires": ["torch==2.0"]}


def test_where_every_build_may_need_the_others_only_one_that_fails_alone_gets_them(index: LocalIndex, lock: Resolve):
    index.add("torch", "2.0")
    index.publish(sdist_that_runs("import torch", "flash-attn", "1.0", ("torch",)))
    index.publish(sdist_that_runs("", "plain", "1.0"))
    locked = lock(plan_of("torch", "flash-attn", "plain", index=index.url, build=BuildOptions(no_isolation=(ALL,))))
    assert package(locked, "flash-attn")["tool"]["lading"] == {"build-requires": ["plain==1.0", "torch==2.0"]}
    assert "tool" not in package(locked, "plain")


def test_a_build_that_fails_with_the_others_at_hand_is_told(index: LocalIndex, fail: Callable[..., Problem]):
    index.add("torch", "2.0")
    index.publish(sdist_that_runs("import torch, nothing_has_this", "flash-attn", "1.0", ("torch",)))
    problem = fail(plan_of("torch", "flash-attn", index=index.url, build=BuildOptions(no_isolation=("flash-attn",))))
    assert problem.rule == "build-failed"
    assert "nothing_has_this" in str(problem.detail)


def test_a_build_finds_a_package_that_is_bound_to_an_index_of_its_own(index: LocalIndex, lock: Resolve):
    torch = index.add("torch", "2.0+cpu", to="cpu")
    index.publish(sdist_that_runs("import torch; assert torch.__version__ == '2.0+cpu'", "flash-attn", "1.0", ("torch",)))
    bound = (BoundIndex("torch", SecretUrl(index.url_of("cpu")), ("torch",)),)
    plan = plan_of("torch==2.0+cpu", "flash-attn", index=index.url, bound=bound, build=BuildOptions(no_isolation=("flash-attn",)))
    locked = lock(plan)
    assert package(locked, "flash-attn")["tool"]["lading"]["build-requires"] == [f"torch @ {index.file_url(torch, 'cpu')}"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("setup.py", "setup(\n    name='cuda-ops',\n)\n"),
        ("setup.cfg", "[metadata]\nname = Cuda_Ops\n"),
        ("pyproject.toml", '[project]\nname = "cuda.ops"\n'),
    ],
)
def test_a_local_package_is_built_after_what_it_imports(index: LocalIndex, lock: Resolve, root: Path, file: str, text: str):
    index.add("torch", "2.0")
    tree = project("cuda-ops", "1.0", requires=["torch"])
    tree["own_backend.py"] = f"import torch\n{tree['own_backend.py']}"
    tree[file] = tree.get(file, "") + text.replace("[project]\n", "[project]\nversion = '1.0'\n")
    for path, content in tree.items():
        (root / "ops" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "ops" / path).write_text(content)
    locked = lock(plan_of("torch", local("ops"), index=index.url, build=BuildOptions(no_isolation=("cuda-ops",))))
    assert package(locked, "cuda-ops")["tool"]["lading"] == {"build-requires": ["torch==2.0"]}


def test_a_build_requirement_that_must_match_gets_the_version_of_the_environment(index: LocalIndex, lock: Resolve):
    for version in ("2.0", "2.1"):
        index.add("torch", version)
    index.publish(sdist_that_runs("import torch; assert torch.__version__ == '2.0'", "deep-ep", "1.0"))
    build = BuildOptions(requirements=(("deep-ep", declared("torch")),), matching=(("deep-ep", "torch"),))
    locked = lock(plan_of("torch==2.0", "deep-ep", index=index.url, build=build))
    assert package(locked, "deep-ep")["tool"]["lading"] == {"build-requires": ["torch==2.0"]}


def test_the_lock_alone_is_enough_to_install_such_a_package(index: LocalIndex, lock: Resolve, tmp_path: Path):
    index.add("torch", "2.0")
    index.publish(sdist_that_runs("import torch", "flash-attn", "1.0", ("torch",)))
    build = BuildOptions(no_isolation=("flash-attn",))
    locked = lock(plan_of("torch", "flash-attn", index=index.url, build=build), cache_dir=tmp_path / "first")
    (tmp_path / "uv.toml").write_text(of_lock(locked))
    (tmp_path / "pylock.toml").write_text(tomli_w.dumps(dict(locked.document)))
    program, place = uv.find_uv_bin(), tmp_path / "env"
    common = ["--cache-dir", str(tmp_path / "second"), "--default-index", index.url, "--config-file", str(tmp_path / "uv.toml"), "-q"]
    subprocess.run([program, "venv", "-q", "--no-project", "--python", sys.executable, str(place)], check=True)
    python = str(place / "bin" / "python")
    subprocess.run([program, "pip", "sync", "--python", python, *common, str(tmp_path / "pylock.toml")], check=True, cwd=tmp_path)
    done = subprocess.run([python, "-c", "import flash_attn, torch; print(torch.__version__)"], check=True, capture_output=True, text=True)
    assert done.stdout == "2.0\n"


def test_a_package_whose_needs_the_project_tells_is_not_built_to_find_out(index: LocalIndex, lock: Resolve):
    index.publish(sdist_that_runs("raise SystemExit('it was built')", "flash-attn", "1.0", ("other",)))
    index.add("torch", "2.0")
    known = KnownMetadata(name="flash-attn", version="1.0", requires=(declared("torch"),))
    assert lock(plan_of("flash-attn", index=index.url, build=BuildOptions(metadata=(known,)))).versions == {
        "flash-attn": "1.0",
        "torch": "2.0",
    }


def test_settings_for_build_backends_are_locked_with_what_is_built(index: LocalIndex, lock: Resolve):
    index.add_sdist("demo", "1.0")
    index.add("ready", "1.0")
    build = BuildOptions(settings=((ALL, "level", SecretText("3")), ("demo", "kind", SecretText("x"))))
    locked = lock(plan_of("demo", "ready", index=index.url, build=build))
    assert package(locked, "demo")["tool"]["lading"] == {"config-settings": {"level": "3", "kind": "x"}}
    assert "tool" not in package(locked, "ready")


def test_the_build_backend_is_asked_where_only_it_knows_the_requirements(index: LocalIndex, lock: Resolve, root: Path):
    index.add("numpy", "2.0")
    for path, text in project("doubler", "1.0", requires=["numpy"]).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "setup.py").write_text("# the backend lies beside it\n")
    source = Source(path="setup.py", role=Role.USED, format="setup.py", because="it is there", sha256="1" * 64)
    locked = lock(plan_of(index=index.url, dynamic=("setup.py",), sources=(source,)))
    assert locked.versions == {"numpy": "2.0"}


# What another tool has locked


def test_a_whole_lock_is_installed_as_it_is(index: LocalIndex, lock: Resolve):
    demo = index.add("demo", "1.0", requires=["other>=1", "forgotten"])
    other = index.add("other", "1.0")
    index.add("demo", "2.0")
    index.add("other", "2.0")
    index.add("forgotten", "1.0")
    pins = [declared(f"{one.name}==1.0", hashes=(f"sha256:{one.sha256}",)) for one in (demo, other)]
    locked = lock(plan_of(*pins, index=index.url, complete=True))
    assert locked.versions == {"demo": "1.0", "other": "1.0"}
    assert package(locked, "demo")["wheels"][0]["hashes"] == {"sha256": demo.sha256}


def test_a_file_with_another_hash_than_the_locked_one_is_refused(index: LocalIndex, fail: Callable[..., Problem]):
    index.add("demo", "1.0")
    problem = fail(plan_of(declared("demo==1.0", hashes=("sha256:" + "0" * 64,)), index=index.url, complete=True))
    assert problem.rule == "hash-mismatch"


def test_locked_packages_come_from_the_index_that_the_lock_names(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0")
    private = index.add("demo", "1.0", to="corp", files={"demo/extra.py": ""})
    pin = declared("demo==1.0", hashes=(f"sha256:{private.sha256}",), index=SecretUrl(index.url_of("corp")))
    plan = plan_of(pin, complete=True, options=IndexOptions(index_url=SecretUrl(index.url)))
    assert package(lock(plan), "demo")["wheels"][0]["url"] == index.file_url(private, "corp")

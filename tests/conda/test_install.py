"""Prefixes in the store: conda's packages linked, pip's on top, each whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lading.environments.activation import activation
from lading.environments.store import list_environments, prune
from lading.model.conda import CondaPackage
from lading.model.events import Phase
from lading.model.problems import ExitCode, LadingError
from lading.pipeline import Ready
from tests.conda.conftest import MINOR, PYTHON, TAG, Channels, Project, conda_of
from tests.support.conda_channel import Channel, Served
from tests.support.index import LocalIndex


def prefix(ready: Ready) -> Path:
    (environment,) = {one.path for one in ready.environments.values()}
    return Path(environment)


def run(place: Path, *words: str) -> str:
    return subprocess.run([str(place / "bin" / words[0]), *words[1:]], capture_output=True, text=True, check=True, env={}).stdout.strip()


def conda_list(place: Path) -> dict[str, str]:
    """What ``conda list`` shows: it reads these records."""
    records = [json.loads(path.read_text()) for path in (place / "conda-meta").glob("*.json")]
    return {record["name"]: f"{record['version']} {record['build']}" for record in records}


def pip_list(place: Path) -> dict[str, str]:
    code = "import importlib.metadata as m, json; print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    found: dict[str, str] = json.loads(run(place, "python", "-I", "-c", code))
    return found


@pytest.fixture
def both(project: Project, index: LocalIndex) -> Project:
    """A project that needs conda and pip: compiled and noarch packages, scripts of both, one that conda provides for pip."""
    index.add("greets", "1.0", requires=["six"], entry_points={"greet": "greets:main"}, files={"greets/__init__.py": GREETS})
    lines = [f"python={MINOR}", "rdkit", "six", "shout", "msgspec", "pip:", "  - greets"]
    text = "dependencies:\n" + "".join(f"  - {line}\n" for line in lines[:-1]) + "    - greets\nvariables:\n  LEVEL: high\n"
    project.write({"environment.yml": text})
    return project


GREETS = "import six\n\n__version__ = '1.0'\n\n\ndef main():\n    print('hello', six.__version__)\n"


def test_what_is_installed_agrees_with_the_lock_for_conda_and_for_pip(both: Project):
    place = prefix(both.install())
    lock = both.lock()
    assert conda_list(place) == {package.name: f"{package.version} {package.build}" for package in conda_of(lock).packages}
    listed = pip_list(place)
    assert {name: listed[name] for name in ("greets", "numpy", "six", "rdkit")} == {
        "greets": "1.0",
        "numpy": "1.26.4",
        "six": "1.16.0",
        "rdkit": "2024.3.1",
    }
    assert set(listed) == {"greets", "numpy", "six", "rdkit", "shout", "msgspec"}
    assert run(place, "python", "-c", "import sys, msgspec; print(sys.prefix, sys.version.split()[0], msgspec.json.encode(1))") == (
        f"{place} {PYTHON} b'1'"
    )


def test_a_prefix_knows_the_place_where_it_lies(both: Project):
    place = prefix(both.install())
    assert run(place, "shout") == "HEY"
    assert run(place, "greet") == "hello 1.16.0"
    assert (place / "share/boost/where.txt").read_text() == f"{place}/share/boost\n"
    assert f"{place}/share/boost\0".encode() in (place / "lib/libboost.bin").read_bytes()
    building = both.root.parent
    for path in [*(place / "bin").iterdir(), *place.rglob("_sysconfigdata*.py")]:
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 100_000:
            assert b"/building/" not in path.read_bytes()
    assert building


def test_files_are_linked_from_a_cache_and_not_copied(both: Project, lading_home: Path):
    place = prefix(both.install())
    module = place / f"lib/python{MINOR}/site-packages/numpy/__init__.py"
    cached = next((lading_home / "conda" / "pkgs").glob(f"numpy-1.26.4-{TAG}_0/lib/python{MINOR}/site-packages/numpy/__init__.py"))
    assert module.stat().st_ino == cached.stat().st_ino


def test_the_same_packages_are_one_environment_and_other_variables_another(both: Project):
    place = prefix(both.install())
    text = (both.root / "environment.yml").read_text()
    both.write({"environment.yml": f"# a comment\n{text}"})
    assert prefix(both.install()) == place
    both.write({"environment.yml": text.replace("high", "low")})
    other = prefix(both.install())
    assert other != place
    assert activation(str(other), {}).variables["LEVEL"] == "low"
    assert len(list_environments()) == 2


def test_activating_sets_what_conda_and_the_packages_say(both: Project):
    place = prefix(both.install())
    found = activation(str(place), {"PATH": "/usr/bin:/bin", "LEFT_OVER": "x", "PYTHONHOME": "/else", "CONDA_PREFIX": "/else", "KEPT": "1"})
    assert found.variables == {
        "CONDA_PREFIX": str(place),
        "CONDA_DEFAULT_ENV": str(place),
        "CONDA_SHLVL": "1",
        "PATH": f"{place}/share/boost/bin:{place}/bin:/usr/bin:/bin",
        "BOOST_HOME": f"{place}/share/boost",
        "BOOST_LEVEL": "3",
        "LEVEL": "high",
    }
    assert found.removed == ("LEFT_OVER", "PYTHONHOME")
    assert (place / "conda-meta" / "state").stat().st_mode & 0o777 == 0o600


def test_activation_scripts_that_fail_are_told(both: Project):
    place = prefix(both.install())
    script = place / "etc/conda/activate.d/zzz.sh"
    script.write_text("echo broken >&2\nexit 3\n")
    with pytest.raises(LadingError) as caught:
        activation(str(place), dict(os.environ))
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code) == ("conda-activation-failed", ExitCode.BUILD)
    assert "broken" in (problem.detail or "")


def test_what_is_no_prefix_is_not_activated(tmp_path: Path):
    assert activation(str(tmp_path), {"A": "1"}).variables == {}


def test_it_is_installed_offline_from_the_cache(both: Project, index: LocalIndex, channels: Channels):
    served = channels.main.folder
    with Served(served) as server:
        both.write({".condarc": f"channels:\n  - http://{server.host}\n"})
        both.install()
        prune()
        asked = len(server.requests)
        index.requests.clear()
    (both.root / "pylock.lading.toml").write_text((both.root / "pylock.lading.toml").read_text())
    place = prefix(both.install(offline=True))
    assert run(place, "greet") == "hello 1.16.0"
    assert asked > 5
    assert not index.requests


def test_offline_without_a_cache_names_what_is_missing(both: Project, channels: Channels, lading_home: Path):
    with Served(channels.main.folder) as server:
        both.write({".condarc": f"channels:\n  - http://{server.host}\n"})
        assert both.problem(offline=True).rule == "conda-not-cached"
        both.lock()
        with pytest.raises(LadingError) as caught:
            both.install(offline=True)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code) == ("conda-not-cached", ExitCode.NETWORK)
    assert f"python {PYTHON}" in problem.what


def test_a_file_with_another_hash_is_refused_and_leaves_nothing(both: Project, lading_home: Path):
    both.lock()
    path = both.root / "pylock.lading.toml"
    sha256 = next(package.sha256 for package in conda_of(both.lock()).packages if package.name == "numpy")
    path.write_text(path.read_text().replace(sha256, "0" * 64))
    with pytest.raises(LadingError) as caught:
        both.install(frozen=True)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code) == ("hash-mismatch", ExitCode.RESOLUTION), problem
    assert not list_environments()
    assert not list((lading_home / "envs").glob("*"))
    assert not list((lading_home / "building").glob("*"))


def test_progress_counts_packages_and_bytes(both: Project, channels: Channels):
    with Served(channels.main.folder) as server:
        both.write({".condarc": f"channels:\n  - http://{server.host}\n"})
        both.install()
    told = [event for event in both.events if event.step == "Installing conda packages"]
    assert [told[0].phase, told[-1].phase] == [Phase.STARTED, Phase.FINISHED]
    assert {event.unit for event in told if event.phase is Phase.PROGRESS} == {"bytes", "packages"}
    linked = [event for event in told if event.unit == "packages"]
    assert all(event.total == 7 for event in linked)


@pytest.mark.parametrize("seconds", [pytest.param(0.15, marks=pytest.mark.slow), 0.4, pytest.param(0.8, marks=pytest.mark.slow)])
def test_a_killed_builder_leaves_nothing_that_is_taken_for_an_environment(both: Project, lading_home: Path, seconds: float):
    both.lock()
    command = [sys.executable, "-m", "lading", "install", "-C", str(both.root), "-q"]
    process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(0.3 + seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for one in list_environments():
        assert pip_list(Path(one.path))["greets"] == "1.0"
    place = prefix(both.install())
    assert run(place, "greet") == "hello 1.16.0"
    assert not place.is_symlink()
    assert not list((lading_home / "building").glob("*"))


def test_ctrl_c_while_it_is_built_leaves_nothing(both: Project, lading_home: Path):
    both.lock()
    command = [sys.executable, "-m", "lading", "install", "-C", str(both.root), "-q"]
    process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not list((lading_home / "building").glob("*/env/lib/*")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode in (ExitCode.INTERRUPTED, 0)
    assert not list((lading_home / "building").glob("*"))
    finished = list_environments()  # none, unless what we saw was all but finished when the signal came
    assert {str(path) for path in (lading_home / "envs").glob("*")} == {one.path for one in finished}
    assert all(pip_list(Path(one.path))["greets"] == "1.0" for one in finished)


def test_two_processes_build_it_once(both: Project):
    both.lock()
    command = [sys.executable, "-m", "lading", "install", "-C", str(both.root), "-q"]
    started = [subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = {process.communicate()[0] for process in started}
    assert len(outputs) == 1
    assert [process.returncode for process in started] == [0, 0]
    assert len(list_environments()) == 1


def test_a_channel_inside_the_project_travels_with_it(project: Project, channels: Channels):
    shutil.copytree(channels.main.folder, project.root / "channel")
    project.write({"environment.yml": f"channels:\n  - ./channel\n  - nodefaults\ndependencies:\n  - python={MINOR}\n  - six\n"})
    (project.root / ".condarc").unlink()
    lock = project.lock()
    assert {package.url.rpartition("/")[0] for package in conda_of(lock).packages} == {"./channel/linux-64", "./channel/noarch"}
    assert str(project.root) not in (project.root / "pylock.lading.toml").read_text()
    moved = project.root.with_name("moved")
    project.root.rename(moved)
    project.root = moved
    assert conda_list(prefix(project.install(locked=True))) == {"python": f"{PYTHON} 0_cpython", "six": "1.16.0 0"}


@pytest.mark.parametrize("kind", ["token", "password"])
def test_credentials_of_a_channel_reach_it_and_nothing_else(
    project: Project, channels: Channels, monkeypatch: pytest.MonkeyPatch, kind: str, lading_home: Path
):
    monkeypatch.setenv("CHANNEL_SECRET", "tok-5ecret")
    token, password = ("tok-5ecret", None) if kind == "token" else (None, ("me", "tok-5ecret"))
    with Served(channels.main.folder, token=token, password=password) as server:
        url = f"http://{server.host}/t/${{CHANNEL_SECRET}}/." if kind == "token" else f"http://me:${{CHANNEL_SECRET}}@{server.host}"
        url = url.removesuffix("/.")
        project.write({"environment.yml": f"channels:\n  - {url}\n  - nodefaults\ndependencies:\n  - python={MINOR}\n  - six\n"})
        (project.root / ".condarc").unlink()
        place = prefix(project.install())
        assert conda_list(place)["six"] == "1.16.0 0"
        monkeypatch.setenv("CHANNEL_SECRET", "another")
        shutil.rmtree(lading_home / "conda" / "repodata")
        problem = project.problem(upgrade=True)
    assert (problem.rule, problem.code) == ("conda-channel-refused", ExitCode.NETWORK)
    texts = [path.read_text("utf-8", "replace") for path in (place / "conda-meta").glob("*.json")]
    texts += [(project.root / "pylock.lading.toml").read_text(), json.dumps(project.plan().as_json()), repr(project.events), repr(problem)]
    assert not any("tok-5ecret" in text for text in texts)


def test_an_explicit_list_is_installed_as_it_is_and_can_be_made(project: Project):
    project.write({"environment.yml": f"dependencies:\n  - python={MINOR}\n  - six\n  - tzdata\n"})
    command = [sys.executable, "-m", "lading", "lock", "-C", str(project.root), "-q", "--explicit"]
    listed = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True).stdout
    assert listed.startswith("# platform: linux-64\n@EXPLICIT\nfile:///")
    for name in ("environment.yml", "pylock.lading.toml", ".condarc"):
        (project.root / name).unlink()
    project.write({"conda-linux-64.lock": listed})
    lock = project.lock()
    assert [package.name for package in conda_of(lock).packages] == ["python", "six", "tzdata"]
    assert conda_list(prefix(project.install()))["tzdata"] == "2024a h0_0"


def test_a_mirror_answers_for_its_channel_and_the_lock_names_the_channel(project: Project, channels: Channels):
    with Served(channels.main.folder) as server:
        configured = f"channels: [corp]\nmirrored_channels:\n  corp: ['http://{server.host}']\n"
        project.write({"environment.yml": f"dependencies:\n  - python={MINOR}\n  - six\n", ".condarc": configured})
        lock = project.lock()
        place = prefix(project.install())
        asked = [path for path in server.requests if path.endswith((".conda", ".bz2"))]
    assert {package.url.rpartition("/")[0] for package in conda_of(lock).packages} == {
        "https://conda.anaconda.org/corp/linux-64",
        "https://conda.anaconda.org/corp/noarch",
    }
    assert conda_list(place)["six"] == "1.16.0 0"
    assert len(asked) == 2


def test_credentials_of_rattlers_own_file_count(project: Project, channels: Channels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with Served(channels.main.folder, password=("me", "pa55word")) as server:
        project.write(
            {"environment.yml": f"dependencies:\n  - python={MINOR}\n  - six\n", ".condarc": f"channels: ['http://{server.host}']\n"}
        )
        assert project.problem().rule == "conda-channel-refused"
        secrets = tmp_path / "auth.json"
        secrets.write_text(json.dumps({server.host.partition(":")[0]: {"BasicHTTP": {"username": "me", "password": "pa55word"}}}))
        monkeypatch.setenv("RATTLER_AUTH_FILE", str(secrets))
        assert {package.name for package in conda_of(project.lock()).packages} == {"python", "six"}


@pytest.mark.parametrize(("happens", "rule"), [("gone", "conda-file-gone"), ("down", "conda-channel-unreachable")])
def test_a_channel_that_fails_after_the_lock_was_made_is_named(
    project: Project, channels: Channels, tmp_path: Path, happens: str, rule: str
):
    copy = tmp_path / "copy"
    shutil.copytree(channels.main.folder, copy)
    with Served(copy) as server:
        project.write(
            {"environment.yml": f"dependencies:\n  - python={MINOR}\n  - six\n", ".condarc": f"channels: ['http://{server.host}']\n"}
        )
        project.lock()
        if happens == "gone":
            (copy / "noarch" / "six-1.16.0-0.tar.bz2").unlink()
            with pytest.raises(LadingError) as caught:
                project.install()
    if happens == "down":
        with pytest.raises(LadingError) as caught:
            project.install()
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code, str(problem.origin)) == (rule, ExitCode.NETWORK, "pylock.lading.toml")
    assert not list_environments()


@pytest.mark.parametrize(
    ("python", "why"),
    [
        ("#!/bin/sh\necho a library is missing >&2\nexit 127\n", "Its Python does not run: a library is missing."),
        ("#!/bin/sh\necho Python 3.4.1\n", f"Its Python is 3.4.1, not {PYTHON}."),
    ],
)
def test_a_prefix_whose_python_does_not_run_is_not_published(project: Project, tmp_path: Path, python: str, why: str):
    extra = Channel(tmp_path / "extra")
    extra.add("python", PYTHON, "0_broken", files={"bin/python": python})
    extra.add("data", "1.0", files={"share/data": "x"})
    extra.index()
    project.write({"environment.yml": f"channels: ['{extra.url}', nodefaults]\ndependencies: [python, data]\n"})
    (project.root / ".condarc").unlink()
    with pytest.raises(LadingError) as caught:
        project.install()
    (problem,) = caught.value.problems
    assert (problem.rule, problem.why) == ("environment-incomplete", why)
    assert not list_environments()


def test_a_wrong_guess_about_a_name_is_found_when_it_is_installed(cortex: Project, channels: Channels, tmp_path: Path, index: LocalIndex):
    index.add("uses-odd", "1.0", requires=["odd>=1"])
    extra = Channel(tmp_path / "extra")
    extra.add_python_package("odd", "1.0", distribution_name="something-else")
    extra.index()
    cortex.write({"conda-packages.txt": f"{extra.url}::odd\n", "requirements.txt": "uses-odd\n"})
    with pytest.raises(LadingError) as caught:
        cortex.install()
    (problem,) = caught.value.problems
    assert problem.rule == "environment-incomplete"
    assert problem.why == "Conda was taken to install odd 1.0, and no package does."
    assert not list_environments()


def test_the_projects_own_package_and_a_source_distribution_are_built_with_condas_python(project: Project, index: LocalIndex):
    index.add_sdist("built", "1.0")
    pyproject = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n\n[project]\nname = "mine"\nversion = "0.1"\n'
    )
    text = f"dependencies:\n  - python={MINOR}\n  - six\n  - pip:\n    - -e .\n    - built\n"
    project.write({"environment.yml": text, "pyproject.toml": pyproject, "backend.py": BACKEND, "mine/__init__.py": "import six\n"})
    place = prefix(project.install())
    assert pip_list(place)["mine"] == "0.1"
    assert pip_list(place)["built"] == "1.0"
    assert run(place, "python", "-c", "import mine; print(mine.__file__)") == str(project.root / "mine" / "__init__.py")


BACKEND = '''"""Builds the project without any tool."""

import os
import zipfile

INFO = "mine-0.1.dist-info"


def _wheel(folder, extra):
    name = "mine-0.1-py3-none-any.whl"
    files = {
        f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: mine\\nVersion: 0.1\\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        **extra,
    }
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{INFO}/RECORD", "".join(f"{path},,\\n" for path in [*files, f"{INFO}/RECORD"]))
    return name


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, {"mine.pth": os.getcwd() + "\\n"})


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open("mine/__init__.py") as stream:
        return _wheel(wheel_directory, {"mine/__init__.py": stream.read()})
'''


@pytest.mark.parametrize("kind", ["conda-lock.yml", "pixi.lock"])
def test_locks_of_conda_tools_are_installed_as_they_are(project: Project, index: LocalIndex, kind: str):
    index.add("greets", "1.0", requires=["six"])
    project.write({"environment.yml": f"dependencies:\n  - python={MINOR}\n  - six\n  - numpy=1.24\n"})
    packages = conda_of(project.lock()).packages
    for name in ("environment.yml", "pylock.lading.toml", ".condarc"):
        (project.root / name).unlink()
    project.write({kind: _conda_lock(packages) if kind == "conda-lock.yml" else _pixi_lock(packages)})
    lock = project.lock()
    assert [(one.name, one.sha256) for one in conda_of(lock).packages] == [(one.name, one.sha256) for one in packages]
    place = prefix(project.install())
    assert conda_list(place)["numpy"] == f"1.24.4 {TAG}_0"
    assert pip_list(place)["greets"] == "1.0"


def _conda_lock(packages: tuple[CondaPackage, ...]) -> str:
    items = [
        f"- {{name: {one.name}, version: {one.version}, manager: conda, platform: linux-64, url: '{one.url}', hash: {{sha256: {one.sha256}}}}}"
        for one in packages
    ]
    pip = "- {name: greets, version: '1.0', manager: pip, platform: linux-64, url: 'https://h.org/greets-1.0-py3-none-any.whl', hash: {}}"
    return "\n".join(["version: 1", "package:", *items, pip, ""])


def _pixi_lock(packages: tuple[CondaPackage, ...]) -> str:
    wheel = "https://files.pythonhosted.org/packages/greets-1.0-py3-none-any.whl"
    head = ["version: 6", "environments:", "  default:", "    channels: []", "    packages:", "      linux-64:"]
    uses = [f"      - conda: {one.url}" for one in packages]
    items = [f"- conda: {one.url}\n  sha256: {one.sha256}" for one in packages]
    return "\n".join(
        [*head, *uses, f"      - pypi: {wheel}", "packages:", *items, f"- pypi: {wheel}\n  name: greets\n  version: '1.0'", ""]
    )


def test_a_lock_is_taken_as_it_is_even_where_nothing_asks_for_conda_any_more(both: Project):
    both.lock()
    (both.root / "environment.yml").unlink()
    place = prefix(both.install(frozen=True))
    assert run(place, "greet") == "hello 1.16.0"


def test_what_a_killed_builder_left_under_the_final_name_is_swept(both: Project, lading_home: Path):
    gone = lading_home / "building" / "py399-gone" / "env"
    gone.mkdir(parents=True)
    (lading_home / "envs").mkdir()
    (lading_home / "envs" / "py399-gone").symlink_to(gone)
    both.install()
    assert [path.name for path in (lading_home / "envs").iterdir()] == [prefix(both.install()).name]

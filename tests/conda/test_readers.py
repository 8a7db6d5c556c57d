"""Files that list conda packages, in every shape in which they are found."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.formats import conda_lock_yml, conda_packages, condarc, environment_yml, pixi_lock, pixi_toml
from lading.model.conda import CondaDependencies
from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from lading.model.requirements import Declaration
from tests.formats.reading import problems

EXPORT = """\
# This file may be used to create an environment using:
# $ conda create --name <env> --file <this file>
# platform: linux-64
_libgcc_mutex=0.1=main
numpy=1.26.4=py310h4bfa8fc_0
flask=2.0=pypi_0
Jinja2=3.0=pypi_0
"""
TABLE = """\
# packages in environment at /opt/conda/envs/env:
#
# Name                    Version                   Build  Channel
numpy                     1.26.4          py310h4bfa8fc_0    conda-forge
flask                     2.0                      pypi_0    pypi
old-pip                   1.0                       <pip>
python                    3.8.5                h7579374_1
"""
URL = "https://conda.anaconda.org/conda-forge/linux-64/numpy-1.26.4-py310h4bfa8fc_0.conda"


def packages(text: str | bytes, **environ: str):
    return conda_packages.parse("conda-packages.txt", MemoryFiles({"conda-packages.txt": text}), environ)


def conda(declaration: Declaration) -> CondaDependencies:
    assert declaration.conda is not None
    return declaration.conda


def shown(declaration):
    return [spec.shown for spec in conda(declaration).specs]


def pips(declaration):
    return [declared.pep508 for declared in declaration.requirements]


def test_plain_specifications():
    found = packages("# comment\n\nrdkit\nconda-forge::numpy=1.26  # why\npython=3.8.5\n")
    assert shown(found) == ["rdkit", "conda-forge::numpy 1.26.*", "python 3.8.5.*"]
    assert [str(spec.origin) for spec in conda(found).specs] == [f"conda-packages.txt:{line}" for line in (3, 4, 5)]
    assert found.python is not None
    assert (found.python.specifier, found.python.text) == ("==3.8.5.*", "python=3.8.5")
    assert not any(spec.frozen for spec in conda(found).specs)


@pytest.mark.parametrize("text", [EXPORT, EXPORT.replace("\n", "\r\n"), EXPORT.encode("utf-16"), "\ufeff" + EXPORT])
def test_an_export_with_what_pip_had_installed(text: str | bytes):
    found = packages(text)
    assert shown(found) == ["_libgcc_mutex ==0.1 main", "numpy ==1.26.4 py310h4bfa8fc_0"]
    assert pips(found) == ["flask==2.0", "jinja2==3.0"]
    assert conda(found).platform == "linux-64"
    (decision,) = found.decisions
    assert decision.chose == "pip requirements: flask==2.0, jinja2==3.0"
    assert all(spec.frozen for spec in conda(found).specs)


def test_a_table_as_conda_list_prints_it():
    found = packages(TABLE)
    assert shown(found) == ["conda-forge::numpy ==1.26.4 py310h4bfa8fc_0", "python ==3.8.5 h7579374_1"]
    assert pips(found) == ["flask==2.0", "old-pip==1.0"]
    assert shown(packages(TABLE.partition("Channel\n")[2])) == shown(found)


def test_what_was_installed_in_development_mode_cannot_be_installed():
    (problem,) = problems(lambda: packages(TABLE + "mine  0.1  dev_0  <develop>\n"))
    assert (problem.rule, str(problem.origin)) == ("conda-develop-package", "conda-packages.txt:8")


def test_an_explicit_list():
    found = packages(f"# platform: linux-64\n@EXPLICIT\n{URL}#{'a' * 32}\n")
    assert conda(found).explicit
    assert [(spec.name, spec.md5) for spec in conda(found).specs] == [("numpy", "a" * 32)]
    (problem,) = problems(lambda: packages(f"@EXPLICIT\n{URL}\nnumpy=1.2\n"))
    assert (problem.rule, problem.origin and problem.origin.line) == ("conda-spec-invalid", 3)


def test_every_bad_line_is_told_at_once():
    found = problems(lambda: packages("nump y\nok\n- six\n"))
    assert [problem.origin.line for problem in found if problem.origin] == [1, 3]


ENVIRONMENT = """\
name: model
channels:
  - https://me:${PASSWORD}@h.org/c
  - conda-forge
  - nodefaults
dependencies:
  - python=3.9
  - numpy>=1.2,<2   # why
  - conda-forge::rdkit
  - pip
  - pip:
    - -r more.txt
    - --extra-index-url https://x.org/simple
    - -e .
  - pip:
      - flask==2
prefix: /home/me/miniconda3/envs/model
variables:
  LEVEL: 3
  TOKEN: s3cr3t
"""


def environment(text: str, **files: str):
    all_files = {"environment.yml": text, "more.txt": "six\n", "setup.py": "", **files}
    return environment_yml.parse("environment.yml", MemoryFiles(all_files), {"PASSWORD": "pa55word"})


def test_an_environment_with_channels_variables_and_two_pip_sections():
    found = environment(ENVIRONMENT)
    assert shown(found) == ["python 3.9.*", "numpy >=1.2,<2", "conda-forge::rdkit", "pip"]
    assert [str(channel) for channel in conda(found).channels] == ["https://me:****@h.org/c", "conda-forge"]
    assert conda(found).alone
    assert pips(found) == ["six", ".", "flask==2"]
    assert [declared.editable for declared in found.requirements] == [False, True, False]
    assert [str(declared.origin) for declared in found.requirements] == ["more.txt:1", "environment.yml:14", "environment.yml:16"]
    assert [str(url) for url in found.options.extra_index_urls] == ["https://x.org/simple"]
    assert found.read == ("environment.yml", "more.txt")
    assert [(name, value.reveal()) for name, value in conda(found).variables] == [("LEVEL", "3"), ("TOKEN", "s3cr3t")]
    assert [(decision.rule, str(decision.origin)) for decision in found.decisions] == [("conda-prefix-ignored", "environment.yml:17")]
    record = f"{found!r} {found.as_json()}"
    assert "pa55word" not in record
    assert "s3cr3t" not in record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- numpy\n", [("config-not-a-map", 1)]),
        ("", [("config-not-a-map", 1)]),
        ("dependencis:\n  - numpy\n", [("unknown-key", 1)]),
        ("dependencies: numpy\n", [("wrong-type", 1)]),
        ("dependencies:\n  - nump y=1\n  - [a]\n  - npm:\n    - x\n", [("conda-spec-invalid", 2), ("wrong-type", 3), ("unknown-key", 4)]),
        ("dependencies:\n  - pip:\n    - flask=2\n    - a: b\n", [("requirement-invalid", 3), ("wrong-type", 4)]),
        ("channel_priority: strickt\ndependencies: []\n", [("wrong-value", 1)]),
        ("variables:\n  A: [1]\n", [("wrong-type", 2)]),
    ],
)
def test_what_is_wrong_in_an_environment_is_told_with_its_line(text: str, expected: list[tuple[str, int]]):
    found = problems(lambda: environment(text))
    assert [(problem.rule, problem.origin.line) for problem in found if problem.origin] == expected


CONDA_LOCK = """\
version: 1
metadata:
  channels:
  - url: conda-forge
    used_env_vars: []
  platforms: [linux-64, osx-64]
package:
- name: python
  version: 3.11.7
  manager: conda
  platform: linux-64
  dependencies: {libffi: '>=3.4'}
  url: https://conda.anaconda.org/conda-forge/linux-64/python-3.11.7-hab00c5b_1_cpython.conda
  hash: {md5: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, sha256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb}
  category: main
- {name: python, version: 3.11.6, manager: conda, platform: osx-64, category: main, hash: {md5: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa},
   url: https://conda.anaconda.org/conda-forge/osx-64/python-3.11.6-h30d4d87_0_cpython.conda}
- {name: six, version: 1.16.0, manager: pip, platform: linux-64, category: main, url: https://h.org/six-1.16.0-py3-none-any.whl,
   hash: {sha256: cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc}}
- {name: six, version: 1.16.0, manager: pip, platform: osx-64, category: main, url: https://h.org/six-1.16.0-py3-none-any.whl,
   hash: {sha256: cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc}}
- {name: only, version: '2.0', manager: pip, platform: osx-64, category: main, url: https://h.org/only-2.0.tar.gz, hash: {}}
- {name: pytest, version: '8.0', manager: pip, platform: linux-64, category: dev, url: https://h.org/pytest-8.0.tar.gz, hash: {}}
"""


def test_a_lock_of_conda_lock_holds_every_platform():
    found = conda_lock_yml.parse("conda-lock.yml", MemoryFiles({"conda-lock.yml": CONDA_LOCK}))
    assert [(spec.name, spec.version, spec.platform, bool(spec.sha256)) for spec in conda(found).specs] == [
        ("python", "==3.11.7", "linux-64", True),
        ("python", "==3.11.6", "osx-64", False),
    ]
    assert conda(found).explicit
    assert pips(found) == ["six==1.16.0", 'only==2.0 ; sys_platform == "darwin" and platform_machine == "x86_64"']
    assert found.requirements[0].hashes == (f"sha256:{'c' * 64}",)
    assert [decision.rule for decision in found.decisions] == ["conda-lock-categories"]


PIXI_LOCK = """\
version: 6
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    indexes:
    - https://pypi.org/simple
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.11.7-hab00c5b_1_cpython.conda
      - pypi: https://files.pythonhosted.org/packages/six-1.16.0-py2.py3-none-any.whl
      - pypi: ./
  test:
    channels: []
packages:
- conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.11.7-hab00c5b_1_cpython.conda
  sha256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
- pypi: https://files.pythonhosted.org/packages/six-1.16.0-py2.py3-none-any.whl
  name: six
  version: 1.16.0
  sha256: cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
- pypi: ./
  name: mine
  editable: true
"""


def test_the_default_environment_of_a_lock_of_pixi():
    found = pixi_lock.parse("pixi.lock", MemoryFiles({"pixi.lock": PIXI_LOCK}))
    assert [(spec.name, spec.platform, spec.sha256) for spec in conda(found).specs] == [("python", "linux-64", "b" * 64)]
    assert [(declared.pep508, declared.editable) for declared in found.requirements] == [("six==1.16.0", False), ("./", True)]
    assert found.options.extra_index_urls == ()


def test_a_lock_that_rattler_wrote_is_read(tmp_path):
    lock = pytest.importorskip("rattler.lock", reason="py-rattler is not installed")
    from rattler import BuildString, PackageRecord, RepoDataRecord

    platform = lock.LockPlatform("linux-64")
    made = lock.LockFile([platform])
    made.set_channels("default", [lock.LockChannel("https://conda.anaconda.org/conda-forge/")])
    record = PackageRecord("zlib", "1.3", BuildString("h1_0"), 0, "linux-64", sha256=bytes(32), depends=[])
    url = "https://conda.anaconda.org/conda-forge/linux-64/zlib-1.3-h1_0.conda"
    made.add_conda_package(
        "default", platform, RepoDataRecord(record, "zlib-1.3-h1_0.conda", url, "https://conda.anaconda.org/conda-forge/")
    )
    made.to_path(tmp_path / "pixi.lock")
    found = pixi_lock.parse("pixi.lock", MemoryFiles({"pixi.lock": (tmp_path / "pixi.lock").read_bytes()}))
    assert [(spec.name, spec.platform, str(spec.url)) for spec in conda(found).specs] == [("zlib", "linux-64", url)]


PIXI = """\
[workspace]
channels = ["conda-forge", {channel = "pytorch"}]
platforms = ["linux-64"]
channel-priority = "strict"

[dependencies]
python = "3.11.*"
numpy = ">=1.26,<2"
pytorch = {version = "2.1", build = "*cuda*", channel = "pytorch"}
six = "*"

[pypi-dependencies]
flask = ">=3"
torchx = {version = "==1.0", extras = ["dev"]}
mine = {path = ".", editable = true}

[target.linux-64.dependencies]
cudatoolkit = "11.8"

[activation.env]
LEVEL = "3"

[feature.test.dependencies]
pytest = "*"
"""


def test_the_default_feature_of_a_pixi_project():
    found = pixi_toml.parse("pixi.toml", MemoryFiles({"pixi.toml": PIXI, "setup.py": ""}))
    assert [(spec.shown, spec.platform) for spec in conda(found).specs] == [
        ("python 3.11.*", ""),
        ("numpy >=1.26,<2", ""),
        ("pytorch::pytorch ==2.1 *cuda*", ""),
        ("six", ""),
        ("cudatoolkit ==11.8", "linux-64"),
    ]
    assert [str(channel) for channel in conda(found).channels] == ["conda-forge", "pytorch"]
    assert conda(found).priority == "strict"
    assert pips(found) == ["flask>=3", "torchx[dev]==1.0", "."]
    assert [name for name, _ in conda(found).variables] == ["LEVEL"]
    assert [(decision.rule, decision.asked) for decision in found.decisions] == [("pixi-tables-not-used", "feature")]
    assert str(conda(found).specs[1].origin) == "pixi.toml:8"


def test_what_a_pixi_project_says_without_effect_is_told_with_its_line():
    text = (
        "[workspace]\nchannels = ['conda-forge']\n[dependencies]\nsix = '*'\n[system-requirements]\ncuda = '12.1'\n"
        "[pypi-options]\nno-build-isolation = ['x']\nfind-links = [{path = './wheels'}, {url = 'https://me:pw@h.org/links'}]\n"
        "[activation]\nscripts = ['a.sh']\n"
    )
    found = pixi_toml.parse("pixi.toml", MemoryFiles({"pixi.toml": text}))
    assert [(decision.asked, str(decision.origin)) for decision in found.decisions] == [
        ("activation.scripts, pypi-options.no-build-isolation", "pixi.toml:11"),
        ("system-requirements", "pixi.toml:5"),
    ]
    assert [str(url) for url in found.options.find_links] == ["./wheels", "https://me:****@h.org/links"]


def test_what_is_wrong_in_the_others_is_told():
    read = {"pixi.toml": pixi_toml.parse, "pixi.lock": pixi_lock.parse, "conda-lock.yml": conda_lock_yml.parse}
    texts = [
        ("pixi.toml", "[dependencies]\nx = {git = 'y'}\n", "wrong-type", 2),
        ("pixi.toml", "dependencies = 1\n", "wrong-type", 1),
        ("pixi.lock", "version: 99\n", "lock-of-other-tool-damaged", 1),
        ("pixi.lock", PIXI_LOCK.replace("packages:\n- conda", "packages:\n- other"), "lock-of-other-tool-damaged", 10),
        ("conda-lock.yml", "version: 1\npackage: []\n", "lock-of-other-tool-damaged", 1),
        ("conda-lock.yml", CONDA_LOCK.replace("_cpython.conda\n  hash", ".zip\n  hash"), "lock-of-other-tool-damaged", 8),
    ]
    for path, text, rule, line in texts:
        (problem,) = problems(partial(read[path], path, MemoryFiles({path: text})))
        assert (problem.rule, problem.origin and problem.origin.line) == (rule, line)


def test_condas_own_configuration_is_joined_the_strongest_first():
    files = {
        "/home/me/.condarc": "channels: [corp, defaults]\ncustom_channels: {corp: 'https://me:${PW}@h.org/conda'}\nchannel_priority: strict\n",
        "/etc/conda/.condarc": "channels: [defaults]\ndefault_channels: [https://mirror.org/main]\nchannel_priority: disabled\nssl_verify: false\n"
        "proxy_servers: {http: 'http://me:${PW}@proxy:3128', 'http://10.0.0.1': 'http://other:3128'}\npinned_packages: [numpy]\n",
    }
    environ = {"HOME": "/home/me", "PW": "pa55word"}
    found = condarc.read_all(condarc.search_path(environ), MemoryFiles(files), environ)
    assert [str(channel) for channel in found.channels] == ["corp", "defaults"]
    assert [str(channel) for channel in found.defaults] == ["https://mirror.org/main"]
    assert str(found.custom["corp"]) == "https://me:****@h.org/conda"
    assert (found.priority, found.verify, found.paths) == ("strict", "no", tuple(files))
    assert {scheme: str(url) for scheme, url in found.proxies.items()} == {"http": "http://me:****@proxy:3128"}
    assert found.ignored == ("pinned_packages", "proxy_servers: http://10.0.0.1")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("true", "yes"),
        ("False", "no"),
        ("truststore", "yes"),
        ("~/ca.pem", "/home/me/ca.pem"),
        ("$CERTS/ca.pem", "/certs/ca.pem"),
        ("''", ""),
    ],
)
def test_ssl_verify_is_a_word_or_a_path(written: str, read: str):
    files = MemoryFiles({".condarc": f"ssl_verify: {written}\n"})
    assert condarc.read(".condarc", files, {"HOME": "/home/me", "CERTS": "/certs"}).verify == read


def test_every_shape_is_recognised_by_its_name():
    assert conda_packages.recognises("x/conda-packages.txt")
    assert conda_packages.recognises("conda-linux-64.lock")
    assert environment_yml.recognises("environment.yaml")
    assert environment_yml.recognises("environment-gpu.yml")
    assert not environment_yml.recognises("conda-lock.yml")
    assert conda_lock_yml.recognises("gpu.conda-lock.yml")
    assert pixi_lock.recognises("pixi.lock")
    assert pixi_toml.recognises("pixi.toml")


READERS = {
    "conda-packages.txt": lambda files: conda_packages.parse("conda-packages.txt", files),
    "environment.yml": lambda files: environment_yml.parse("environment.yml", files),
    "conda-lock.yml": lambda files: conda_lock_yml.parse("conda-lock.yml", files),
    "pixi.lock": lambda files: pixi_lock.parse("pixi.lock", files),
    "pixi.toml": lambda files: pixi_toml.parse("pixi.toml", files),
    ".condarc": lambda files: condarc.read(".condarc", files),
}
SAMPLES = [EXPORT, TABLE, ENVIRONMENT, CONDA_LOCK, PIXI_LOCK, PIXI]


@given(st.sampled_from(sorted(READERS)), st.sampled_from(SAMPLES), st.integers(0, 2000), st.integers(0, 40), st.text(max_size=12))
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_read_or_refused_and_nothing_else(path: str, sample: str, at: int, length: int, inserted: str):
    text = sample[:at] + inserted + sample[at + length :]
    try:
        READERS[path](MemoryFiles({path: text}))
    except LadingError as error:
        assert all(problem.origin is not None for problem in error.problems)  # noqa: PT017 -- either is right

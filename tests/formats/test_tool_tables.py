"""The tables of uv, Poetry and PDM in pyproject.toml, and what they mean for pip's world."""

from __future__ import annotations

import pytest
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from lading.formats import pyproject_toml
from lading.formats._markers import both, either, opposite
from lading.formats._poetry_versions import alternatives
from lading.model.build import ALL
from lading.model.files import MemoryFiles
from lading.model.requirements import Declaration, Via
from tests.formats.reading import problems

PATH = "pyproject.toml"
PACKAGE = "[project]\nname = 'geometry'\n"


def read(text: str, **environ: str) -> Declaration:
    files = {PATH: text, "packages/geometry/pyproject.toml": PACKAGE, "packages/notes.txt": "", "lib/setup.py": ""}
    return pyproject_toml.parse(PATH, MemoryFiles(files), environ)


def shown(text: str, **environ: str) -> list[str]:
    return [declared.pep508 for declared in read(text, **environ).requirements]


# Poetry


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("*", [""]), ("1.2.3", ["==1.2.3"]), ("==1.2", ["==1.2"]), ("=1.2", ["==1.2"]), ("1.2.*", ["==1.2.*"]), ("!=1.2.*", ["!=1.2.*"]),
        ("^1.2.3", [">=1.2.3,<2"]), ("^1.2", [">=1.2,<2"]), ("^1", [">=1,<2"]), ("^0.2.3", [">=0.2.3,<0.3"]), ("^0.0.3", [">=0.0.3,<0.0.4"]),
        ("^0.0", [">=0.0,<0.1"]), ("^0", [">=0,<1"]), ("~1.2.3", [">=1.2.3,<1.3"]), ("~1.2", [">=1.2,<1.3"]), ("~1", [">=1,<2"]),
        ("~=1.4.2", ["~=1.4.2"]), (">=1.2,<2", [">=1.2,<2"]), (">=1.2 <2", [">=1.2,<2"]), (">= 1.2, < 2.0", [">=1.2,<2.0"]),
        ("<1 || >=2", ["<1", ">=2"]), ("^1.0|^2.0", [">=1.0,<2", ">=2.0,<3"]), ("2.1.0+cu121", ["==2.1.0+cu121"]), ("v1.2", ["==1.2"]),
        ("^2.0.0rc1", [">=2.0.0rc1,<3"]), ("nonsense", None), ("1.2 beta", None), (">=1.2;<2", None), ("^", None),
    ],
)  # fmt: skip
def test_poetrys_versions_are_ranges_of_pep_440(written, meant):
    assert alternatives(written) == meant
    for specifier in meant or ():
        SpecifierSet(specifier)


def test_poetrys_dependencies_in_every_form():
    text = """
[tool.poetry.dependencies]
python = ">=3.9,<3.13"
numpy = "^2.0"
torch = { version = "2.4.1", source = "pytorch" }
uvicorn = { version = "*", extras = ["standard"] }
pywin32 = { version = "306", platform = "win32" }
tomli = { version = "^2", python = "<3.11" }
scipy = [
  { version = "1.13.*", python = "3.9" },
  { version = "^1.14", markers = "python_version > '3.9' or os_name == 'nt'" },
]
model = { git = "git@example.org:team/model.git", tag = "v1", subdirectory = "python" }
wheel = { url = "https://example.org/wheel-1.0-py3-none-any.whl" }
lib = { path = "lib", develop = true }
plots = { version = "^1", optional = true }

[tool.poetry.group.dev.dependencies]
pytest = "*"

[tool.poetry.group.lading.dependencies]
idna = "3.7"

[tool.poetry.extras]
plots = ["plots"]

[[tool.poetry.source]]
name = "pytorch"
url = "https://download.pytorch.org/whl/cpu"
priority = "explicit"
"""
    found = read(text)
    assert shown(text) == [
        "numpy>=2.0,<3",
        "torch==2.4.1",
        "uvicorn[standard]",
        'pywin32==306 ; sys_platform == "win32"',
        'tomli>=2,<3 ; python_version < "3.11"',
        'scipy==1.13.* ; python_version == "3.9"',
        'scipy>=1.14,<2 ; python_version > "3.9" or os_name == "nt"',
        "model @ git+ssh://git@example.org/team/model.git@v1#subdirectory=python",
        "wheel @ https://example.org/wheel-1.0-py3-none-any.whl",
        "./lib",
        "idna==3.7",
    ]
    assert str(found.requirements[1].index) == "https://download.pytorch.org/whl/cpu"
    assert found.requirements[9].editable
    assert [declared.origin.line for declared in found.requirements[:3]] == [4, 5, 6]
    assert found.python is not None
    assert found.python.specifier == ">=3.9,<3.13"
    assert found.options.index_url is None


@pytest.mark.parametrize(
    ("sources", "default", "extra"),
    [
        ([("a", "primary")], "https://a/", []),
        ([("a", "primary"), ("b", "primary")], "https://b/", ["https://a/"]),
        ([("a", "primary"), ("PyPI", "primary")], None, ["https://a/"]),
        ([("a", "supplemental")], None, ["https://a/"]),
        ([("a", "explicit")], None, []),
        ([("a", "default"), ("b", "secondary")], "https://a/", ["https://b/"]),
    ],
)
def test_poetrys_sources_by_their_priority(sources, default, extra):
    tables = "".join(
        f"[[tool.poetry.source]]\nname = '{name}'\npriority = '{priority}'\n{'' if name == 'PyPI' else f'url = {chr(39)}https://{name}/{chr(39)}'}\n"
        for name, priority in sources
    )
    options = read(f"[tool.poetry.dependencies]\nnumpy = '*'\n{tables}").options
    assert (options.index_url.reveal() if options.index_url else None) == default
    assert [url.reveal() for url in options.extra_index_urls] == extra


def test_poetrys_table_adds_to_the_standard_one():
    text = """
[project]
dependencies = ["torch>=2", "numpy"]
[tool.poetry.dependencies]
python = "^3.9"
torch = { source = "pt" }
other = "*"
[[tool.poetry.source]]
name = "pt"
url = "https://pt/"
priority = "explicit"
"""
    found = read(text)
    assert [declared.pep508 for declared in found.requirements] == ["torch>=2", "numpy"]
    assert str(found.requirements[0].index) == "https://pt/"
    assert [(one.rule, one.asked) for one in found.decisions] == [("poetry-entry-without-effect", "other")]


def test_credentials_of_named_indexes_come_from_variables():
    poetry = "[tool.poetry.dependencies]\nx = '*'\n[[tool.poetry.source]]\nname = 'my-corp'\nurl = 'https://corp/simple'\n"
    found = read(poetry, POETRY_HTTP_BASIC_MY_CORP_USERNAME="bob", POETRY_HTTP_BASIC_MY_CORP_PASSWORD="p@ss")
    assert found.options.index_url is not None
    assert found.options.index_url.reveal() == "https://bob:p%40ss@corp/simple"
    assert "p%40ss" not in str(found.as_json())
    uv = "[project]\ndependencies = ['x']\n[[tool.uv.index]]\nname = 'corp'\nurl = 'https://corp/simple'\ndefault = true\n"
    found = read(uv, UV_INDEX_CORP_USERNAME="bob", UV_INDEX_CORP_PASSWORD="s3cret")
    assert str(found.options.index_url) == "https://bob:****@corp/simple"


# uv


def test_uvs_indexes_keep_their_order_and_their_kind():
    text = """
[project]
dependencies = ["torch", "numpy", "links"]
[tool.uv]
extra-index-url = ["https://d/"]
find-links = ["https://e/page.html", "wheels"]
no-build-package = ["Numpy"]
no-binary-package = ["scipy"]
prerelease = "allow"
[[tool.uv.index]]
name = "a"
url = "https://a/"
[[tool.uv.index]]
url = "https://b/"
default = true
[[tool.uv.index]]
name = "c"
url = "https://c/"
explicit = true
[[tool.uv.index]]
name = "flat"
url = "https://flat/"
format = "flat"
explicit = true
[tool.uv.sources]
torch = { index = "c" }
links = { index = "flat" }
"""
    found = read(text)
    options = found.options
    assert options.index_url is not None
    assert options.index_url.reveal() == "https://b/"
    assert [url.reveal() for url in options.extra_index_urls] == ["https://a/", "https://d/"]
    assert [url.reveal() for url in options.find_links] == ["https://e/page.html", "wheels"]
    assert (options.only_binary, options.no_binary, options.pre) == (("numpy",), ("scipy",), True)
    torch, _, links = found.requirements
    assert (str(torch.index), str(links.find_links)) == ("https://c/", "https://flat/")


def test_uvs_sources_in_every_form():
    text = """
[project]
dependencies = ["a>=1", "b[x]", "c ; os_name == 'posix'", "geometry", "d", "e", "plain"]
[tool.uv.workspace]
members = ["packages/*"]
[tool.uv.sources]
a = { git = "https://example.org/a", branch = "main", subdirectory = "python" }
B = { url = "https://example.org/b.zip" }
c = { path = "lib", editable = true }
geometry = { workspace = true }
d = [
  { git = "https://example.org/d", tag = "v1", marker = "sys_platform == 'linux' and python_version >= '3.10'" },
  { url = "https://example.org/d.zip", marker = "sys_platform == 'darwin'" },
]
e = { index = "nowhere", extra = "gpu" }
"""
    assert shown(text) == [
        "a @ git+https://example.org/a@main#subdirectory=python",
        "b[x] @ https://example.org/b.zip",
        './lib ; os_name == "posix"',
        "./packages/geometry",
        'd @ git+https://example.org/d@v1 ; sys_platform == "linux" and python_version >= "3.10"',
        'd @ https://example.org/d.zip ; sys_platform == "darwin"',
        'd ; (sys_platform != "linux" or python_version < "3.10") and sys_platform != "darwin"',
        "e",
        "plain",
    ]


def test_uvs_settings_for_resolving_and_building():
    text = """
[project]
dependencies = ["flash-attn"]
[tool.uv]
override-dependencies = ["protobuf==4"]
constraint-dependencies = ["numpy<2"]
exclude-dependencies = ["Open_CV"]
build-constraint-dependencies = ["setuptools<70"]
no-build-isolation-package = ["Flash_Attn"]
exclude-newer = "2026-01-01"
config-settings = { level = 3, flags = ["a", "b"] }
index-strategy = "unsafe-best-match"
[tool.uv.extra-build-dependencies]
Flash_Attn = ["ninja", { requirement = "torch", match-runtime = true }]
[tool.uv.extra-build-variables]
flash-attn = { SKIP = "TRUE" }
[tool.uv.config-settings-package]
numpy = { blas = true }
[[tool.uv.dependency-metadata]]
name = "Flash_Attn"
version = "2.6.3"
requires-dist = ["torch", "einops"]
provides-extra = ["fast"]
[[tool.uv.dependency-metadata]]
name = "empty"
"""
    found = read(text)
    assert [declared.pep508 for declared in (*found.overrides, *found.constraints)] == ["protobuf==4", "numpy<2"]
    assert (found.excludes, found.exclude_newer) == (("open-cv",), "2026-01-01")
    build = found.build
    assert build is not None
    assert build.no_isolation == ("flash-attn",)
    assert [(package, declared.pep508) for package, declared in build.requirements] == [("flash-attn", "ninja"), ("flash-attn", "torch")]
    assert build.matching == (("flash-attn", "torch"),)
    assert [declared.pep508 for declared in build.constraints] == ["setuptools<70"]
    assert [(package, name, value.reveal()) for package, name, value in build.variables] == [("flash-attn", "SKIP", "TRUE")]
    assert [(package, name, value.reveal()) for package, name, value in build.settings] == [
        (ALL, "level", "3"),
        (ALL, "flags", "a"),
        (ALL, "flags", "b"),
        ("numpy", "blas", "true"),
    ]
    assert [one.as_json() for one in build.metadata] == [
        {"name": "flash-attn", "version": "2.6.3", "requires-dist": ["torch", "einops"], "provides-extra": ["fast"]},
        {"name": "empty", "requires-dist": []},
    ]
    assert [one.rule for one in found.decisions] == ["index-strategy-not-kept"]
    everything = read("[project]\ndependencies = ['a']\n[tool.uv]\nno-build-isolation = true\n").build
    assert everything is not None
    assert everything.no_isolation == (ALL,)


def test_uvs_default_groups_join_but_development():
    text = """
[project]
dependencies = ["a"]
[dependency-groups]
dev = ["pytest"]
serve = ["uvicorn"]
docs = ["sphinx"]
[tool.uv]
default-groups = ["dev", "serve"]
"""
    assert shown(text) == ["a", "uvicorn"]
    assert shown(text.replace('["dev", "serve"]', '"all"')) == ["a", "uvicorn", "sphinx"]


# PDM


def test_pdms_sources_overrides_and_excludes():
    text = """
[project]
dependencies = ["numpy", "corp-a", "corp-b"]
[[tool.pdm.source]]
name = "pypi"
url = "https://mirror/simple"
[[tool.pdm.source]]
name = "corp"
url = "https://${USER}:${TOKEN}@corp/simple"
include_packages = ["corp-*", "Hidden_One"]
[[tool.pdm.source]]
name = "links"
type = "find_links"
url = "https://links/"
[tool.pdm.resolution]
excludes = ["Telemetry"]
allow-prereleases = true
[tool.pdm.resolution.overrides]
a = "1.0"
b = ">=2"
c = "https://example.org/c.zip"
"""
    found = read(text, USER="bob", TOKEN="t0ken")
    assert found.options.index_url is not None
    assert found.options.index_url.reveal() == "https://mirror/simple"
    assert [url.reveal() for url in found.options.find_links] == ["https://links/"]
    assert found.options.pre
    (bound,) = found.bound
    assert bound.packages == ("hidden-one", "corp-a", "corp-b")
    assert bound.url.reveal() == "https://bob:t0ken@corp/simple"
    assert "t0ken" not in str(found.as_json())
    assert [declared.pep508 for declared in found.overrides] == ["a==1.0", "b>=2", "c @ https://example.org/c.zip"]
    assert found.excludes == ("telemetry",)
    assert [problem.rule for problem in problems(lambda: read(text))] == ["variable-not-set", "variable-not-set"]


# setuptools


def test_setuptools_takes_dynamic_dependencies_from_files():
    text = "[project]\ndynamic = ['dependencies']\n[tool.setuptools.dynamic]\ndependencies = { file = 'reqs.txt' }\n"
    found = pyproject_toml.parse(PATH, MemoryFiles({PATH: text, "reqs.txt": "# c\nnumpy==2.0  # d\n"}))
    assert [str(declared.origin) for declared in found.requirements] == ["reqs.txt:2"]
    assert found.read == (PATH, "reqs.txt")
    option = problems(lambda: pyproject_toml.parse(PATH, MemoryFiles({PATH: text, "reqs.txt": "-r other.txt\n"})))
    assert [(problem.rule, str(problem.origin)) for problem in option] == [("option-in-setuptools-file", "reqs.txt:1")]
    missing = problems(lambda: pyproject_toml.parse(PATH, MemoryFiles({PATH: text})))
    assert [(problem.rule, str(problem.origin)) for problem in missing] == [("file-not-found", "pyproject.toml:4")]
    assert read("[project]\ndynamic = ['dependencies']\n").dynamic
    assert read("[project]\ndynamic = ['dependencies']\n[tool.setuptools.dynamic]\ndependencies = { attr = 'x.y' }\n").dynamic


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[project]\nname = 'x'\n", True),
        ("[tool.poetry.dependencies]\npython = '*'\n", True),
        ("[dependency-groups]\nLading = ['a']\n", True),
        ("[dependency-groups]\ndev = ['a']\n", False),
        ("[tool.ruff]\nline-length = 100\n", False),
        ("", False),
    ],
)
def test_a_file_that_configures_tools_alone_declares_nothing(text, expected):
    assert pyproject_toml.declares(PATH, MemoryFiles({PATH: text})) is expected


# Markers


@pytest.mark.parametrize(
    "marker",
    [
        'sys_platform == "linux"',
        'python_version >= "3.10" and os_name == "nt"',
        'sys_platform == "darwin" or python_version < "3.9"',
        '(sys_platform == "linux" or os_name == "nt") and python_version != "3.11"',
        'sys_platform in "linux darwin" or (os_name not in "nt" and python_version <= "3.8")',
    ],
)
@pytest.mark.parametrize("facts", [("linux", "posix", "3.11"), ("win32", "nt", "3.8"), ("darwin", "posix", "3.10")])
def test_the_opposite_of_a_marker_holds_where_it_does_not(marker, facts):
    environment = dict(zip(("sys_platform", "os_name", "python_version"), facts, strict=True))
    found = opposite(marker)
    assert found is not None
    assert Marker(found).evaluate(environment) is not Marker(marker).evaluate(environment)


@pytest.mark.parametrize("marker", ['python_version ~= "3.8"', 'python_version === "3.8"', "nonsense"])
def test_a_marker_without_an_opposite_is_told(marker):
    assert opposite(marker) is None


def test_markers_are_put_together_without_changing_them():
    assert both(None, 'a == "1"', None) == 'a == "1"'
    assert both('a == "1" or b == "2"', 'c == "3"') == '(a == "1" or b == "2") and c == "3"'
    assert either('a == "1" and b == "2"', 'c == "3"') == '(a == "1" and b == "2") or c == "3"'
    assert either('a == "1"', None) is None
    assert both() is None


def test_a_url_requirement_stays_what_it_is_whatever_the_sources_say():
    (declared,) = read("[project]\ndependencies = ['a @ https://x/a.zip']\n[tool.uv.sources]\na = { index = 'gone' }\n").requirements
    assert declared.via is Via.URL

"""The locks of uv, Poetry, PDM and Pipenv, and PEP 751: what is read of them, and what a target needs of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.formats._lock_toml import read_lock_toml
from lading.formats.known import lookup
from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from lading.model.requirements import Declaration
from lading.model.target import Target
from lading.planner.locked import select
from tests.formats.reading import problems
from tests.formats.test_projects import load

LINUX = Target(python="3.11.7", platform="x86_64-manylinux_2_36")
WINDOWS = Target(python="3.9.13", platform="x86_64-pc-windows-msvc")
MAC = Target(python="3.12.1", platform="aarch64-apple-darwin")


def parse(path: str, files: MemoryFiles | Mapping[str, str], **environ: str) -> Declaration:
    entry = lookup(path)
    assert entry is not None
    found: Declaration = import_module(f"lading.formats.{entry.reader}").parse(
        path, files if isinstance(files, MemoryFiles) else MemoryFiles(files), environ
    )
    return found


def chosen(path: str, files: MemoryFiles | Mapping[str, str], target: Target = LINUX) -> list[str]:
    return [declared.pep508 for declared in select(parse(path, files), target)]


UV = """version = 1
revision = 3
requires-python = ">=3.9"

[[package]]
name = "app"
version = "0.1"
source = { virtual = "." }
dependencies = [
    { name = "numpy", version = "1.26.4", source = { registry = "https://pypi.org/simple" }, marker = "python_full_version < '3.10'" },
    { name = "numpy", version = "2.2.0", source = { registry = "https://pypi.org/simple" }, marker = "python_full_version >= '3.10'" },
    { name = "uvicorn", extra = ["standard"] },
    { name = "torch" },
]

[package.dev-dependencies]
dev = [
    { name = "pytest" },
]
lading = [
    { name = "idna" },
]

[[package]]
name = "numpy"
version = "1.26.4"
source = { registry = "https://pypi.org/simple" }
resolution-markers = [
    "python_full_version < '3.10'",
]
sdist = { url = "https://files.pythonhosted.org/numpy-1.26.4.tar.gz", hash = "sha256:0a", size = 15 }
wheels = [
    { url = "https://files.pythonhosted.org/numpy-1.26.4-cp39-cp39-manylinux_2_17_x86_64.whl", hash = "sha256:0b", size = 18 },
]

[[package]]
name = "numpy"
version = "2.2.0"
source = { registry = "https://pypi.org/simple" }
resolution-markers = [
    "python_full_version >= '3.10'",
]
wheels = [
    { url = "https://files.pythonhosted.org/numpy-2.2.0-cp311-cp311-manylinux_2_17_x86_64.whl", hash = "sha256:0c" },
]

[[package]]
name = "uvicorn"
version = "0.30.0"
source = { registry = "https://pypi.org/simple" }
dependencies = [
    { name = "click" },
    { name = "colorama", marker = "sys_platform == 'win32'" },
]

[package.optional-dependencies]
standard = [
    { name = "uvloop", marker = "sys_platform != 'win32'" },
]
other = [
    { name = "httptools" },
]

[[package]]
name = "torch"
version = "2.4.1+cpu"
source = { registry = "https://download.pytorch.org/whl/cpu" }
wheels = [
    { url = "https://download.pytorch.org/whl/cpu/torch-2.4.1%2Bcpu-cp311-cp311-linux_x86_64.whl", hash = "sha256:0d" },
]

[[package]]
name = "click"
version = "8.1.8"
source = { git = "https://example.org/click?rev=main&subdirectory=src#0123456789abcdef0123456789abcdef01234567" }

[[package]]
name = "colorama"
version = "0.4.6"
source = { url = "https://example.org/colorama-0.4.6.zip" }
sdist = { hash = "sha256:0e" }

[[package]]
name = "uvloop"
version = "0.21.0"
source = { directory = "vendored/uvloop" }

[[package]]
name = "httptools"
version = "0.6.4"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "idna"
version = "3.10"
source = { registry = "wheels" }

[[package]]
name = "pytest"
version = "8.3.4"
source = { registry = "https://pypi.org/simple" }
"""
UV_FILES = {"uv.lock": UV, "vendored/uvloop/setup.py": ""}


def test_uvs_graph_is_walked_for_the_target():
    assert chosen("uv.lock", UV_FILES) == [
        "numpy==2.2.0",
        "uvicorn==0.30.0",
        "torch==2.4.1+cpu",
        "click @ git+https://example.org/click@0123456789abcdef0123456789abcdef01234567#subdirectory=src",
        "./vendored/uvloop",
        "idna==3.10",
    ]
    assert chosen("uv.lock", UV_FILES, WINDOWS) == [
        "numpy==1.26.4",
        "uvicorn==0.30.0",
        "torch==2.4.1+cpu",
        "click @ git+https://example.org/click@0123456789abcdef0123456789abcdef01234567#subdirectory=src",
        "colorama @ https://example.org/colorama-0.4.6.zip",
        "idna==3.10",
    ]


def test_pins_carry_their_line_their_hashes_and_their_index():
    found = {declared.pep508: declared for declared in select(parse("uv.lock", UV_FILES), WINDOWS)}
    numpy, torch = found["numpy==1.26.4"], found["torch==2.4.1+cpu"]
    assert (numpy.hashes, numpy.index, numpy.origin.line) == (("sha256:0a", "sha256:0b"), None, 24)
    assert str(torch.index) == "https://download.pytorch.org/whl/cpu"
    assert str(found["idna==3.10"].find_links) == "wheels"
    assert found["colorama @ https://example.org/colorama-0.4.6.zip"].hashes == ("sha256:0e",)


def test_the_credentials_of_an_index_come_from_the_project_file_or_its_variables():
    pyproject = "[project]\nname = 'app'\n[[tool.uv.index]]\nname = 'pt'\nurl = 'https://download.pytorch.org/whl/cpu/'\nexplicit = true\n"
    files = {**UV_FILES, "pyproject.toml": pyproject}
    secret = {"UV_INDEX_PT_USERNAME": "bob", "UV_INDEX_PT_PASSWORD": "s3cret"}
    found = parse("uv.lock", files, **secret)
    torch = next(pin for pin in select(found, LINUX) if pin.name == "torch")
    assert torch.index is not None
    assert torch.index.reveal() == "https://bob:s3cret@download.pytorch.org/whl/cpu/"
    assert "s3cret" not in str(found.as_json())
    inline = parse("uv.lock", {**files, "pyproject.toml": pyproject.replace("https://", "https://eve:pw1234@")})
    torch = next(pin for pin in select(inline, LINUX) if pin.name == "torch")
    assert torch.index is not None
    assert torch.index.reveal() == "https://eve:pw1234@download.pytorch.org/whl/cpu/"
    poetry = parse("poetry.lock", {"poetry.lock": POETRY_1, "pyproject.toml": PYPROJECT}, POETRY_HTTP_BASIC_CORP_PASSWORD="t0ken")
    (private,) = [pin for pin in select(poetry, LINUX) if pin.index]
    assert private.index is not None
    assert private.index.reveal() == "https://:t0ken@corp/simple"


def test_a_src_layout_is_installed_as_uv_does_it_and_told():
    lock = 'version = 1\n[[package]]\nname = "app"\nversion = "1"\nsource = { editable = "." }\n'
    inside = parse("uv.lock", {"uv.lock": lock, "src/app/__init__.py": "", "pyproject.toml": ""})
    (declared,) = select(inside, LINUX)
    assert (declared.pep508, declared.editable) == (".", True)
    assert [one.rule for one in inside.decisions] == ["project-installed"]
    assert select(parse("uv.lock", {"uv.lock": lock, "app.py": "", "pyproject.toml": ""}), LINUX) == ()


def test_a_lock_in_a_folder_names_paths_from_there():
    lock = UV.replace('source = { virtual = "." }', 'source = { virtual = "." }', 1)
    files = {"service/uv.lock": lock, "service/vendored/uvloop/setup.py": ""}
    assert "./service/vendored/uvloop" in chosen("service/uv.lock", files)


def test_the_lock_of_a_script_names_what_the_script_needs():
    lock = 'version = 1\n[manifest]\nrequirements = [{ name = "numpy" }]\n[[package]]\nname = "numpy"\nversion = "2.0"\n'
    lock += 'source = { registry = "https://pypi.org/simple" }\n'
    assert chosen("uv.lock", {"uv.lock": lock}) == ["numpy==2.0"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("version = 2\n", "lock-unreadable"),
        ("version = 1\n", "lock-unreadable"),
        ('version = 1\n[manifest]\nmembers = ["a", "b"]\n', "lock-unreadable"),
        ('version = 1\n<<<<<<< HEAD\n[[package]]\nname = "a"\n', "lock-merge-conflict"),
        ('version = 1\n[[package]]\nname = "a"\n', "lock-unreadable"),
        ("version = 1\npackage = 3\n", "lock-unreadable"),
        ("version = 1\n[[package]]\nname = 3\n", "lock-unreadable"),
        (UV.replace('dependencies = [\n    { name = "click" }', 'dependencies = [\n    3, { name = "click" }').replace('version = "0.30.0"\n', ""), "lock-unreadable"),
    ],
)  # fmt: skip
def test_what_is_no_lock_of_uv_is_told(text, rule):
    assert problems(lambda: parse("uv.lock", {"uv.lock": text, "vendored/uvloop/setup.py": ""}))[0].rule == rule


def test_a_lock_that_lacks_a_package_is_told_with_who_needs_it():
    lock = UV[: UV.index('[[package]]\nname = "click"')] + UV[UV.index('[[package]]\nname = "colorama"') :]
    (problem,) = problems(lambda: chosen("uv.lock", {**UV_FILES, "uv.lock": lock}))
    assert (problem.rule, problem.origin and problem.origin.line) == ("lock-incomplete", 47)
    assert "no click" in problem.what


def test_a_marker_that_cannot_be_evaluated_is_told():
    lock = UV.replace("sys_platform != 'win32'", "nonsense")
    assert [one.rule for one in problems(lambda: chosen("uv.lock", {**UV_FILES, "uv.lock": lock}))] == ["marker-invalid"]


# Poetry

POETRY_1 = """[[package]]
name = "a"
version = "1.0"
optional = false
files = [
    {file = "a-1.0.tar.gz", hash = "sha256:01"},
]

[package.dependencies]
B = [
    {version = "^1.0", markers = "python_version < '3.10'"},
    {version = "^2.0", markers = "python_version >= '3.10'"},
]
c = {version = "*", optional = true}
d = {version = "*", python = "<3.0"}

[package.extras]
more = ["C (>=1)"]

[[package]]
name = "b"
version = "1.5"
optional = false
files = []

[[package]]
name = "b"
version = "2.5"
optional = false
files = []

[[package]]
name = "c"
version = "3.0"
optional = true
files = []

[package.source]
type = "legacy"
url = "https://corp/simple"
reference = "corp"

[[package]]
name = "g"
version = "0.1"
optional = false
files = []

[package.source]
type = "git"
url = "https://example.org/g.git"
reference = "v1"
resolved_reference = "fedcba"
subdirectory = "x"

[[package]]
name = "pytest"
version = "8.0"
optional = false
files = []

[metadata]
lock-version = "2.0"
python-versions = "^3.8"
"""
PYPROJECT = "[tool.poetry.dependencies]\npython = '^3.8'\na = { version = '*', extras = ['more'] }\ng = '*'\n[tool.poetry.group.dev.dependencies]\npytest = '*'\n"


def test_an_older_lock_of_poetry_is_walked_from_pyproject():
    files = {"poetry.lock": POETRY_1, "pyproject.toml": PYPROJECT}
    expected = ["a==1.0", "b==2.5", "c==3.0", "g @ git+https://example.org/g.git@fedcba#subdirectory=x"]
    assert chosen("poetry.lock", files) == expected
    assert chosen("poetry.lock", files, WINDOWS)[1] == "b==1.5"
    found = parse("poetry.lock", files)
    assert found.read == ("poetry.lock", "pyproject.toml")
    assert found.python is not None
    assert found.python.specifier == ">=3.8,<4"
    assert [str(package.pin.index) for package in found.locked.packages if package.pin.index] == ["https://corp/simple"]  # type: ignore[union-attr]
    assert [one.rule for one in problems(lambda: parse("poetry.lock", {"poetry.lock": POETRY_1}))] == ["lock-unreadable"]


def test_the_oldest_locks_of_poetry_list_hashes_at_the_end():
    text = '[[package]]\nname = "a"\nversion = "1.0"\ncategory = "main"\n[metadata]\nlock-version = "1.1"\n[metadata.files]\n'
    text += 'a = [\n    {file = "a-1.0.tar.gz", hash = "sha256:0f"},\n]\n'
    found = select(parse("poetry.lock", {"poetry.lock": text, "pyproject.toml": "[tool.poetry.dependencies]\na = '*'\n"}), LINUX)
    assert [declared.hashes for declared in found] == [("sha256:0f",)]


def test_a_lock_of_poetry_2_tells_groups_and_markers_itself():
    text = (
        '[[package]]\nname = "a"\nversion = "1.0"\ngroups = ["main", "dev"]\nfiles = []\n'
        'markers = {main = "sys_platform == \\"win32\\"", dev = "os_name == \\"posix\\""}\n'
        '[[package]]\nname = "b"\nversion = "1.0"\ngroups = ["dev"]\nfiles = []\n'
        '[[package]]\nname = "c"\nversion = "1.0"\ngroups = ["main"]\nfiles = []\nmarkers = "python_version < \\"3.10\\""\n'
    )
    assert chosen("poetry.lock", {"poetry.lock": text}) == []
    assert chosen("poetry.lock", {"poetry.lock": text}, WINDOWS) == ["a==1.0", "c==1.0"]


@pytest.mark.parametrize("project", ["lock_poetry", "lock_poetry_1"])
def test_both_generations_of_poetrys_locks_say_the_same(project):
    names = {declared.name for declared in select(parse("poetry.lock", load(project)), LINUX)}
    assert names == {
        "anyio",
        "certifi",
        "click",
        "h11",
        "h2",
        "hpack",
        "httpcore",
        "httpx",
        "hyperframe",
        "idna",
        "pyyaml",
        "sniffio",
        "typing-extensions",
    }


# PDM, Pipenv, PEP 751


def test_pdms_entries_with_and_without_extras_are_one_package():
    assert chosen("pdm.lock", load("lock_pdm")) == ["click==8.1.8", "httpx==0.27.2", "h2==4.1.0", "idna==3.10", "sniffio==1.3.1"]
    assert "colorama==0.4.6" in chosen("pdm.lock", load("lock_pdm"), WINDOWS)


def test_a_lock_of_pdm_without_groups_is_walked_from_pyproject():
    text = (
        '[metadata]\nlock_version = "4.3"\n'
        '[[package]]\nname = "a"\nversion = "1.0"\ndependencies = ["b>=1; os_name == \'posix\'", "c"]\nfiles = []\n'
        '[[package]]\nname = "b"\nversion = "1.0"\nfiles = []\n[[package]]\nname = "c"\nversion = "1.0"\ngit = "https://x/c.git"\nrevision = "abc"\n'
        '[[package]]\nname = "d"\nversion = "1.0"\nfiles = []\n'
    )
    pyproject = "[project]\ndependencies = ['a']\n"
    assert chosen("pdm.lock", {"pdm.lock": text, "pyproject.toml": pyproject}) == ["a==1.0", "b==1.0", "c @ git+https://x/c.git@abc"]
    assert chosen("pdm.lock", {"pdm.lock": text, "pyproject.toml": pyproject}, WINDOWS) == ["a==1.0", "c @ git+https://x/c.git@abc"]
    assert [one.rule for one in problems(lambda: parse("pdm.lock", {"pdm.lock": text}))] == ["lock-unreadable"]


PIPENV = """{
    "_meta": {
        "requires": {"python_version": "3.11"},
        "sources": [
            {"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": true},
            {"name": "corp", "url": "https://bob:${TOKEN}@corp/simple", "verify_ssl": true}
        ]
    },
    "default": {
        "numpy": {
            "hashes": ["sha256:aa", "md5:bb"],
            "index": "pypi",
            "markers": "python_version >= '3.10'",
            "version": "==2.0.0"
        },
        "corp-utils": {
            "index": "corp",
            "version": "==1.0"
        },
        "model": {
            "git": "https://example.org/model.git",
            "ref": "abc"
        },
        "lib": {"path": "./lib", "editable": true},
        "colorama": {"version": "*"}
    },
    "develop": {"pytest": {"version": "==8.0"}}
}
"""
PIPENV_FILES = {
    "Pipfile.lock": PIPENV,
    "lib/setup.py": "",
    "Pipfile": "[packages]\ncolorama = {version = '*', sys_platform = \"== 'win32'\"}\n",
}


def test_pipenvs_lock_with_indexes_markers_and_places():
    found = parse("Pipfile.lock", PIPENV_FILES, TOKEN="t0ken")
    pins = select(found, LINUX)
    assert [declared.pep508 for declared in pins] == [
        "numpy==2.0.0",
        "corp-utils==1.0",
        "model @ git+https://example.org/model.git@abc",
        "./lib",
    ]
    assert (pins[0].hashes, pins[0].index, pins[0].origin.line) == (("sha256:aa",), None, 10)
    assert pins[1].index is not None
    assert pins[1].index.reveal() == "https://bob:t0ken@corp/simple"
    assert "t0ken" not in str(found.as_json())
    assert found.python is not None
    assert found.python.specifier == "==3.11.*"


def test_a_package_that_pipenv_left_without_a_version_is_told_where_it_is_needed():
    found = parse("Pipfile.lock", PIPENV_FILES, TOKEN="t0ken")
    (problem,) = problems(lambda: select(found, Target(python="3.11.0", platform="x86_64-pc-windows-msvc")))
    assert (problem.rule, problem.origin and problem.origin.line) == ("lock-incomplete", 25)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "lock-unreadable"),
        ("[]", "lock-unreadable"),
        ('{"default": []}', "lock-unreadable"),
        ('{"default": {"a": 3}}', "lock-unreadable"),
        ('{"default": {"a": {"hg": "x"}}}', "vcs-not-supported"),
    ],
)
def test_what_is_no_lock_of_pipenv_is_told(text, rule):
    assert problems(lambda: parse("Pipfile.lock", {"Pipfile.lock": text}))[0].rule == rule


PYLOCK = """lock-version = "1.0"
requires-python = ">=3.9"
extras = ["gpu"]
dependency-groups = ["dev"]
default-groups = ["default"]
created-by = "x"

[[packages]]
name = "a"
version = "1.0"
index = "https://corp/simple"
wheels = [{ name = "a-1.0-py3-none-any.whl", url = "https://corp/a-1.0-py3-none-any.whl", hashes = { sha256 = "01" } }]

[[packages]]
name = "b"
version = "1.0"
marker = "'gpu' in extras"
wheels = [{ name = "b-1.0-py3-none-any.whl", url = "https://corp/b-1.0-py3-none-any.whl", hashes = { sha256 = "02" } }]

[[packages]]
name = "c"
marker = "sys_platform == 'linux'"
vcs = { type = "git", url = "https://example.org/c", requested-revision = "v1", commit-id = "abc", subdirectory = "x" }

[[packages]]
name = "d"
directory = { path = "lib", editable = true }

[[packages]]
name = "e"
archive = { url = "https://example.org/e.zip", hashes = { sha256 = "03" } }

[[packages]]
name = "f"
version = "1.0"
wheels = [{ name = "f-1.0-py3-none-any.whl", path = "wheels/f-1.0-py3-none-any.whl", hashes = { sha256 = "04" } }]

[[packages]]
name = "g"
version = "1.0"
wheels = [{ name = "g-1.0-py3-none-any.whl", url = "https://elsewhere/g-1.0-py3-none-any.whl", hashes = { sha256 = "05" } }]
"""


def test_the_standard_lock_in_all_its_kinds_of_packages():
    files = {"pylock.toml": PYLOCK, "lib/setup.py": "", "wheels/f-1.0-py3-none-any.whl": ""}
    pins = select(parse("pylock.toml", files), LINUX)
    assert [declared.pep508 for declared in pins] == [
        "a==1.0",
        "c @ git+https://example.org/c@abc#subdirectory=x",
        "./lib",
        "e @ https://example.org/e.zip",
        "./wheels/f-1.0-py3-none-any.whl",
        "g @ https://elsewhere/g-1.0-py3-none-any.whl",
    ]
    assert [declared.hashes for declared in pins] == [("sha256:01",), (), (), ("sha256:03",), ("sha256:04",), ("sha256:05",)]
    assert str(pins[0].index) == "https://corp/simple"
    assert len(select(parse("pylock.toml", files), MAC)) == 5


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('lock-version = "2.0"\n', "lock-unreadable"),
        ("", "lock-unreadable"),
        ('lock-version = "1.0"\n[[packages]]\nname = "a"\n', "lock-unreadable"),
        ('lock-version = "1.0"\npackages = 1\n', "lock-unreadable"),
        ('lock-version = "1.0"\nrequires-python = "x"\n', "requires-python-invalid"),
    ],
)
def test_what_is_no_standard_lock_is_told(text, rule):
    assert problems(lambda: parse("pylock.toml", {"pylock.toml": text}))[0].rule == rule


def test_two_versions_of_one_package_for_one_target_are_told():
    one = '[[packages]]\nname = "a"\nversion = "{}"\nindex = "https://pypi.org/simple"\nwheels = [{{ url = "https://x/a.whl", hashes = {{ sha256 = "0" }} }}]\n'
    text = 'lock-version = "1.0"\n' + one.format("1.0") + one.format("2.0")
    assert [one.rule for one in problems(lambda: chosen("pylock.toml", {"pylock.toml": text}))] == ["lock-ambiguous"]


def test_the_same_project_locked_by_uv_and_exported_is_the_same():
    exported = {declared.pep508 for declared in select(parse("pylock.toml", load("lock_pylock_uv")), LINUX)}
    assert exported == {declared.pep508 for declared in select(parse("uv.lock", load("lock_uv")), LINUX)}
    for target in (WINDOWS, MAC):
        exported = {declared.pep508 for declared in select(parse("pylock.toml", load("lock_pylock_uv")), target)}
        assert exported == {declared.pep508 for declared in select(parse("uv.lock", load("lock_uv")), target)}


# Reading lists of files by pattern


FILES = st.lists(
    st.one_of(
        st.builds(
            '{{ url = "https://x/{}.whl", hash = "sha256:{:x}", size = {} }}'.format,
            st.integers(0, 99),
            st.integers(0, 99),
            st.integers(0, 99),
        ),
        st.builds('{{file = "{}", hash = "sha256:{:x}"}}'.format, st.integers(0, 99), st.integers(0, 99)),
        st.just('{ url = "https://x/y" }'),
        st.just("{ hash = 'sha256:0', note = \"}\" }"),
    ),
    max_size=4,
)


@given(lists=st.lists(FILES, min_size=1, max_size=4), loose=st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_fast_reading_of_files_is_what_a_toml_parser_reads(lists, loose):
    separator = ",\n        " if loose else ",\n    "
    blocks = []
    for number, files in enumerate(lists):
        body = separator.join(files)
        blocks.append(f'[[package]]\nname = "p{number}"\nwheels = [\n    {body}{"," if body else ""}\n]\nafter = {number}\n')
    text = "\n".join(blocks)
    lock = read_lock_toml("uv.lock", MemoryFiles({"uv.lock": text}), "package")
    data = tomllib.loads(text)["package"]
    assert [package["after"] for package in lock.packages] == list(range(len(lists)))
    assert [set(found) for found in lock.hashes] == [{file["hash"] for file in package["wheels"] if "hash" in file} for package in data]
    assert [text.splitlines()[(line or 0) - 1] for line in lock.lines] == ["[[package]]"] * len(lists)


def test_something_that_only_looks_like_a_package_is_none():
    text = 'note = \'\'\'\n[[package]]\nwheels = [\n    { url = "x", hash = "sha256:0" },\n]\n\'\'\'\n[[package]]\nname = "a"\nfiles = [{ hash = "sha256:1" }]\n'
    lock = read_lock_toml("uv.lock", MemoryFiles({"uv.lock": text}), "package")
    assert ([package["name"] for package in lock.packages], lock.hashes, lock.lines) == (["a"], (("sha256:1",),), (None,))


def test_no_lock_is_half_read():
    with pytest.raises(LadingError):
        parse("uv.lock", {"uv.lock": UV + "\n[[package]]\nname = "})

"""`lading migrate`: packages and pip commands of a cog.yaml become declarations, and everything else of the file stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.edits.changes import Overlay
from lading.edits.migration import Migration, migrate
from lading.formats import requirements_txt
from lading.formats.cog_yaml import parse_config
from lading.model.files import MemoryFiles

PREDICTOR = "class Predictor:\n    def predict(self, x: int) -> int:\n        return x\n"


def migrated(cog: str, more: dict[str, str | bytes] | None = None) -> tuple[dict[str, str], Migration]:
    files = MemoryFiles({"cog.yaml": cog, "predict.py": PREDICTOR, **(more or {})})
    found = migrate("cog.yaml", files, {})
    return {change.path: change.after.decode() for change in found.changes}, found


def reasons(found: Migration) -> dict[str, str]:
    return {left.what: left.because for left in found.left}


def test_packages_move_with_their_comments_and_the_rest_stays():
    after, found = migrated(
        "# my model\n"
        "build:\n"
        "  gpu: true   # yes\n"
        "  python_packages:   # the model's\n"
        "    - torch==2.1.0   # in step with the weights\n"
        "    # images\n"
        "    - \"pillow>=9,<11 ; python_version > '3'\"\n"
        "\n"
        "    - --find-links https://host/links\n"
        "  python_version: '3.11'\n"
        'predict: "predict.py:Predictor"   # ours\n'
    )
    assert after == {
        "cog.yaml": (
            "# my model\n"
            "build:\n"
            "  gpu: true   # yes\n"
            "  python_requirements: requirements.txt  # the model's\n"
            "  python_version: '3.11'\n"
            'predict: "predict.py:Predictor"   # ours\n'
        ),
        "requirements.txt": (
            "torch==2.1.0  # in step with the weights\n# images\npillow>=9,<11 ; python_version > '3'\n\n--find-links https://host/links\n"
        ),
    }
    assert [(moved.what, str(moved.origin), moved.became) for moved in found.moved] == [
        ("3 python_packages", "cog.yaml:4", "requirements.txt")
    ]


@pytest.mark.parametrize(
    "packages",
    [
        'python_packages: ["torch==2.1.0", pillow]',
        'python_packages: [  # two\n    "torch==2.1.0",  # one\n    pillow,\n  ]',
        "python_packages:\n  - torch==2.1.0\n  - 'pillow'",
    ],
)
def test_lists_in_brackets_and_with_other_indents(packages: str):
    after, _ = migrated(f"build:\n  {packages}\npredict: predict.py:Predictor\n")
    assert [line.partition("  #")[0] for line in after["requirements.txt"].splitlines()] == ["torch==2.1.0", "pillow"]
    assert after["cog.yaml"].splitlines()[1].startswith("  python_requirements: requirements.txt")
    assert after["cog.yaml"].splitlines()[2] == "predict: predict.py:Predictor"


def test_windows_line_ends_and_a_byte_order_mark_stay():
    cog = "build:\r\n  python_packages:\r\n    - torch==2.1.0  # größer\r\npredict: predict.py:Predictor\r\n"
    files = MemoryFiles({"cog.yaml": cog.encode("utf-8-sig"), "predict.py": PREDICTOR})
    found = migrate("cog.yaml", files, {})
    after = {change.path: change.after for change in found.changes}
    assert after["cog.yaml"].decode("utf-8-sig") == (
        "build:\r\n  python_requirements: requirements.txt\r\npredict: predict.py:Predictor\r\n"
    )
    assert after["cog.yaml"].startswith(b"\xef\xbb\xbf")
    assert after["requirements.txt"].decode() == "torch==2.1.0  # größer\r\n"


def test_a_requirements_file_that_says_the_same_is_named_and_another_one_is_left_alone():
    cog = "build:\n  python_packages:\n    - torch==2.1.0\npredict: predict.py:Predictor\n"
    after, _ = migrated(cog, {"requirements.txt": "# mine\ntorch == 2.1.0\n"})
    assert list(after) == ["cog.yaml"]
    after, found = migrated(cog, {"requirements.txt": "torch==1.13\n"})
    assert after["requirements-cog.txt"] == "torch==2.1.0\n"
    assert "python_requirements: requirements-cog.txt" in after["cog.yaml"]
    assert "says something else" in found.left[0].because


COMMANDS = """build:
  python_requirements: requirements.txt
  system_packages:
    - "ffmpeg"  # sound
  pre_install:
    - pip install -U pip setuptools==69.0
  run:
    # the kernels
    - pip install flash-attn==2.5.6 --no-build-isolation  # slow
    - sudo apt-get update && apt-get install -y git ffmpeg && rm -rf /var/lib/apt/lists/*
    - echo hello > /tmp/x
    - command: pip install corp --index-url https://corp.example/simple
      mounts:
        - type: secret
          id: pip
          target: /etc/pip.conf
    - MAX_JOBS=4 pip install xformers
    - pip uninstall -y opencv-python && python3 -m pip install --no-cache-dir opencv-python-headless
predict: predict.py:Predictor
"""


def test_commands_that_only_install_become_declarations():
    after, found = migrated(COMMANDS, {"requirements.txt": "torch==2.1.0\n"})
    assert after["requirements.txt"] == (
        "torch==2.1.0\n"
        "setuptools==69.0\n"
        "# the kernels\n"
        "flash-attn==2.5.6  # slow\n"
        "corp --index-url https://corp.example/simple\n"
        "xformers\n"
        "opencv-python-headless\n"
    )
    assert after["pyproject.toml"] == (
        '[tool.uv]\nno-build-isolation-package = ["flash-attn"]\nexclude-dependencies = ["opencv-python"]\n'
        '\n[tool.uv.extra-build-variables]\nxformers = { MAX_JOBS = "4" }\n'
    )
    assert after["cog.yaml"] == (
        "build:\n"
        "  python_requirements: requirements.txt\n"
        "  system_packages:\n"
        '    - "ffmpeg"  # sound\n'
        '    - "git"\n'
        "  run:\n"
        "    - echo hello > /tmp/x\n"
        "predict: predict.py:Predictor\n"
    )
    assert reasons(found) == {"echo hello > /tmp/x": "it writes to /tmp/x"}
    assert any("--secret id=pip.conf,src=FILE" in moved.became for moved in found.moved)


@pytest.mark.parametrize(
    ("command", "because"),
    [
        ("pip install x>=1.2", "`x>=1.2` is not quoted, so the shell takes it apart"),
        ("curl https://host/x.sh | bash", "`|` needs a shell"),
        ("pip install $(cat list.txt)", "a command in a command ($(...)) needs a shell"),
        ("pip install --no-deps x", "--no-deps cannot be written as a declaration"),
        ("pip install torch==2.0.0", "torch is declared as torch==2.1.0 already; one of the two must go"),
        ("git clone https://host/x && pip install ./x", "`git` is neither pip nor apt-get"),
        ("pip install ./x", "there is no ./x in the project"),
        ("pip install -r other.txt", "there is no file other.txt"),
        ("pip install x==${VERSION}", "The variable VERSION is not set, and this line needs its value: x==${VERSION}"),
        ("pip install x==$VERSION", "x==$VERSION depends on a variable of the shell"),
        ("apt-get install -y libtag1-dev>=1.9", "`libtag1-dev>=1.9` is not quoted, so the shell takes it apart"),
        ("apt-get remove -y git", "`apt-get remove` does more than to install packages"),
        ("for p in a b; do pip install $p; done", "`for` needs a shell"),
        ("pip install 'x", "a quote (') is not closed"),
        ("pip install x=1.0", "This is not a requirement: x=1.0"),
    ],
)
def test_a_command_that_is_not_wholly_understood_stays_with_the_reason(command: str, because: str):
    cog = f"build:\n  python_requirements: requirements.txt\n  run:\n    - {command}\npredict: predict.py:Predictor\n"
    if "#" in command or ": " in command:
        raise AssertionError("would need quotes")
    after, found = migrated(cog, {"requirements.txt": "torch==2.1.0\n"})
    assert after == {}
    assert list(reasons(found).values()) == [because]


def test_a_requirement_that_is_there_already_is_not_written_twice():
    cog = "build:\n  python_packages:\n    - torch==2.1.0\n  run:\n    - pip install torch==2.1.0 six\npredict: predict.py:Predictor\n"
    after, _ = migrated(cog)
    assert after["requirements.txt"] == "torch==2.1.0\nsix\n"
    assert after["cog.yaml"] == "build:\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n"


def test_commands_alone_get_a_requirements_file_and_system_packages_of_their_own():
    cog = 'build:\n    gpu: true\n    run: ["pip install six", "apt install -y git"]\npredict: predict.py:Predictor\n'
    after, _ = migrated(cog)
    assert after["requirements.txt"] == "six\n"
    assert after["cog.yaml"] == (
        "build:\n    python_requirements: requirements.txt\n    system_packages:\n      - git\n    gpu: true\npredict: predict.py:Predictor\n"
    )


def test_settings_join_a_pyproject_that_is_there():
    cog = "build:\n  run:\n    - pip install flash-attn --no-build-isolation\npredict: predict.py:Predictor\n"
    own = "[project]\nname = 'x'\nversion = '1'\n\n[tool.uv]  # ours\nmanaged = false\n"
    after, _ = migrated(cog, {"pyproject.toml": own})
    assert after["pyproject.toml"] == own.replace("# ours\n", '# ours\nno-build-isolation-package = ["flash-attn"]\n')
    after, found = migrated(cog, {"pyproject.toml": own + "no-build-isolation-package = []\n"})
    assert after == {}
    assert "pyproject.toml has no-build-isolation-package under [tool.uv] already" in found.left[0].because


@pytest.mark.parametrize(
    ("cog", "because"),
    [
        ("build: {python_packages: [torch]}\npredict: predict.py:Predictor\n", "does not stand on a line of its own"),
        ("build:\n  python_packages: &p\n    - torch\n  run: *p\npredict: predict.py:Predictor\n", "has anchors"),
        ("build:\n  python_packages:\n    - &t torch\npredict: predict.py:Predictor\n", "has anchors"),
    ],
)
def test_a_file_that_cannot_be_changed_safely_is_not_changed(cog: str, because: str):
    after, found = migrated(cog)
    assert after == {}
    assert because in found.left[0].because


items = st.sampled_from(["torch==2.1.0", "numpy>=1,<2", "six", "a[b]~=1.0", "pillow ; python_version > '3'", "ruamel.yaml==0.18.6"])
quotes = st.sampled_from(["", '"'])
comments = st.sampled_from(["", "  # why", " # a: b - c"])
between = st.sampled_from(["", "", "    # above\n", "\n"])


@given(st.lists(st.tuples(between, items, quotes, comments), min_size=1, max_size=6, unique_by=lambda one: one[1]), st.booleans())
def test_no_package_and_no_comment_is_ever_lost(written: list[tuple[str, str, str, str]], first: bool):  # noqa: FBT001
    body = "".join(f"{above}    - {quote}{item}{quote}{comment}\n" for above, item, quote, comment in written)
    packages = f"  python_packages:\n{body}"
    cog = "build:\n" + (packages + "  gpu: true\n" if first else "  gpu: true\n" + packages) + "predict: predict.py:Predictor\n"
    files = MemoryFiles({"cog.yaml": cog, "predict.py": PREDICTOR})
    found = migrate("cog.yaml", files, {})
    after = Overlay(files, found.changes)
    old, new = parse_config("cog.yaml", files), parse_config("cog.yaml", after)
    assert new.requirements is not None
    assert [one.pep508 for one in requirements_txt.parse(new.requirements.path, after).requirements] == [one.pep508 for one in old.packages]
    assert (new.gpu, new.apis[0].object) == (True, "Predictor")
    text = (after.read("requirements.txt") or b"").decode()
    assert text.count("#") == cog.count("#")

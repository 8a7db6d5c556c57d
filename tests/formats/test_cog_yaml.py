"""cog.yaml files as they occur, right and wrong."""

from __future__ import annotations

import pytest

from lading.formats import cog_yaml
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.project import ProjectConfig, ProjectKind, Style
from tests.formats.reading import problems

FILES = {"predict.py": "", "train.py": "", "requirements.txt": "numpy==2.0.0\n"}


def config(text: str, **environ: str) -> ProjectConfig:
    return cog_yaml.parse_config("cog.yaml", MemoryFiles({**FILES, "cog.yaml": text}), environ)


def refusals(text: str) -> list[tuple[str, int | None]]:
    found = problems(lambda: config(text))
    assert all(problem.instead for problem in found)
    return [(problem.rule, problem.origin.line if problem.origin else None) for problem in found]


def test_a_whole_configuration_is_read():
    text = """
build:
  gpu: true
  cuda: 11.8
  cudnn: 8
  python_version: "3.11"
  python_requirements: requirements.txt
  system_packages: [libgl1, "libglib2.0-0 ffmpeg"]
image: r8.im/me/model
predict: "predict.py:Predictor"
train: train.py:train
concurrency:
  max: 4
environment:
  - HF_HOME=/src/cache
  - EMPTY=
"""
    found = config(text)
    assert (found.kind, found.path, found.gpu, found.cuda) == (ProjectKind.COG, "cog.yaml", True, "11.8")
    assert found.system_packages == ("libgl1", "libglib2.0-0", "ffmpeg")
    assert found.requirements is not None
    assert (found.requirements.path, found.requirements.origin) == ("requirements.txt", Origin("cog.yaml", 7))
    assert found.python is not None
    assert (found.python.specifier, found.python.origin) == ("==3.11.*", Origin("cog.yaml", 6))
    (api,) = found.apis
    assert (api.name, api.style, api.file, api.object, api.threads) == ("predict", Style.COG, "predict.py", "Predictor", 4)
    assert api.origin == Origin("cog.yaml", 10)
    assert api.env == (("HF_HOME", "/src/cache"), ("EMPTY", ""))


def test_the_newer_key_run_names_the_predictor_too():
    assert config("run: predict.py:Runner").apis[0].object == "Runner"


def test_python_3_10_without_quotes_stays_3_10():
    found = config("build:\n  python_version: 3.10\n").python
    assert found is not None
    assert (found.text, found.specifier) == ("3.10", "==3.10.*")


def test_a_python_older_than_cogs_oldest_is_fine():
    found = config('build: {python_version: "3.8"}').python
    assert found is not None
    assert found.specifier == "==3.8.*"


def test_a_patch_version_leaves_the_patch_open_and_says_so():
    found = config('build: {python_version: "3.10.4"}')
    assert found.python is not None
    assert found.python.specifier == "==3.10.*"
    assert [decision.rule for decision in found.decisions] == ["python-patch-open"]


def test_python_3_1_is_answered_with_3_10():
    (problem,) = problems(lambda: config("build:\n  python_version: 3.1\n"))
    assert (problem.rule, problem.instead) == ("python-version-invalid", 'Write "3.10".')


def test_python_packages_are_read_as_requirement_lines():
    text = """
build:
  python_packages:
    - torch==2.1.0 --extra-index-url=https://example.org/cu121
    - "numpy == 1.26.0  # pinned"
    - --pre -f https://example.org/links
    - git+https://example.org/a@v1#egg=a&subdirectory=x
    - ruamel.yaml==0.18.6
"""
    found = config(text)
    assert [declared.pep508 for declared in found.packages] == [
        "torch==2.1.0",
        "numpy==1.26.0",
        "a @ git+https://example.org/a@v1#egg=a&subdirectory=x",
        "ruamel-yaml==0.18.6",
    ]
    assert [declared.origin.line for declared in found.packages] == [4, 5, 7, 8]
    assert str(found.packages[0].index) == "https://example.org/cu121"
    assert found.options.pre is True
    assert [str(url) for url in found.options.find_links] == ["https://example.org/links"]
    assert [decision.rule for decision in found.decisions] == ["index-on-line"]


def test_a_variable_in_python_packages_is_expanded_and_not_shown():
    found = config("build:\n  python_packages:\n    - a @ https://${TOKEN}@example.org/a.zip\n", TOKEN="s3cr3t")
    assert found.packages[0].reveal() == "a @ https://s3cr3t@example.org/a.zip"
    assert "s3cr3t" not in repr(found)


def test_run_commands_are_shown_and_not_run():
    text = "build:\n  run:\n    - pip install x\n    - command: make\n      mounts: [{type: secret, id: a, target: /b}]\n  pre_install: [echo]\n"
    found = config(text)
    assert found.run == ("pip install x", "make", "echo")
    (decision,) = found.decisions
    assert (decision.rule, decision.chose, decision.origin) == ("commands-not-run", "shown, not run", Origin("cog.yaml", 2))


def test_a_configuration_for_the_environment_alone_has_no_predictor():
    assert config("build:\n  python_version: '3.11'\n").apis == ()


def test_keys_without_a_value_count_as_absent():
    assert config("build:\n  python_packages:\n  system_packages:\npredict: predict.py:P\nenvironment:\n").packages == ()


def test_anchors_and_merges_are_understood():
    assert config("build: &b\n  gpu: true\n  <<: {python_version: '3.12'}\npredict: predict.py:P\n").gpu is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [("config-not-a-map", 1)]),
        ("# only a comment\n", [("config-not-a-map", 1)]),
        ('"""A docstring."""\nbuild:\n  gpu: true\n', [("yaml-invalid", 1)]),
        ("build:1", [("config-not-a-map", 1)]),
        ("build:1\npredict: predict.py:Predictor\n", [("yaml-invalid", 1)]),
        ("build:\n  gpu:true\n\n  # why\n  cuda: '11.8'\n", [("yaml-invalid", 2)]),
        ("- build", [("config-not-a-map", 1)]),
        ("build:\n\tgpu: true", [("yaml-invalid", 2)]),
        ("build:\n  gpu: true\n bad: x: y", [("yaml-invalid", 3)]),
        ("a: [1", [("yaml-invalid", 1)]),
        ("predict: predict.py:P\n---\nx: y", [("yaml-invalid", 2)]),
        ("a: *b", [("yaml-invalid", 1)]),
        ('a: "\\U99999999"', [("yaml-invalid", 1)]),
        ("a: \x07", [("yaml-invalid", 1)]),
        ("build: &b [*b]", [("yaml-cycle", 1)]),
        ("a: " + "[" * 3000, [("yaml-too-deep", 1)]),
        ("a: " + "[" * 200 + "]" * 200, [("yaml-too-deep", 1)]),
        ("predict: !!python/name:os.system x", [("yaml-tag", 1), ("predictor-reference-invalid", 1)]),
        ("image: a\nimage: b", [("yaml-duplicate-key", 2)]),
        ("{{ x }}: 1", [("yaml-key", 1)]),
        ("build:\n  python_packages:\n    torch==1.0\n    numpy==1.0\n", [("wrong-type", 3)]),
        ("build:\n  pyton_version: '3.11'\nimge: x\n", [("unknown-key", 2), ("unknown-key", 3)]),
        ("build: 3\n", [("wrong-type", 1)]),
        ("build:\n  gpu: 1\n", [("wrong-type", 2)]),
        ("build:\n  gpu: 'yes'\n", [("wrong-type", 2)]),
        ("build:\n  python_version: [3]\n", [("wrong-type", 2)]),
        ("build:\n  python_version: 3\n", [("python-version-invalid", 2)]),
        ("build:\n  python_version: three\n", [("python-version-invalid", 2)]),
        ("build:\n  python_version: 2.7\n", [("python-version-invalid", 2)]),
        ("build:\n  cuda: new\n", [("cuda-version-invalid", 2)]),
        ("build:\n  python_packages: [a]\n  python_requirements: requirements.txt\n", [("packages-and-requirements", 3)]),
        ("build:\n  python_requirements: missing.txt\n", [("file-not-found", 2)]),
        ("build:\n  python_requirements: ../x.txt\n", [("file-outside-project", 2)]),
        ("build:\n  python_packages:\n    - -r requirements.txt\n", [("include-in-list", 3)]),
        ("build:\n  python_packages:\n    - numpy=1.2=py\n    - torch: 1\n", [("requirement-invalid", 3), ("wrong-type", 4)]),
        ("build:\n  python_packages: [a==1, a==2]\n", [("pins-conflict", 2)]),
        (
            "build:\n  system_packages: ['libtag1-dev>=1.9', 3, --yes]\n",
            [("wrong-type", 2), ("system-package-invalid", 2), ("system-package-invalid", 2)],
        ),
        ("build:\n  run: pip install x\n", [("wrong-type", 2)]),
        ("run: predict.py:R\npredict: predict.py:P\n", [("run-and-predict", 2)]),
        ("predict: predict.py\n", [("predictor-reference-invalid", 1)]),
        ("predict: predict.py:1x\n", [("predictor-reference-invalid", 1)]),
        ("predict: missing.py:P\n", [("file-not-found", 1)]),
        ("train: missing.py:t\n", [("file-not-found", 1)]),
        ("concurrency:\n  max: 0\n", [("wrong-type", 2)]),
        ("concurrency:\n  maximum: 3\n", [("unknown-key", 2)]),
        ("weights:\n  - name: a\n", [("weights-incomplete", 2), ("weights-incomplete", 2)]),
        ("build:\n  python_overrides: x.txt\n", [("python-overrides-not-supported", 2)]),
        ("build:\n  environment: [A=b]\n", [("build-environment-not-supported", 2)]),
    ],
)
def test_a_mistake_is_one_problem_with_its_line(text, expected):
    assert refusals(text) == expected


def test_every_wrong_environment_item_is_named():
    text = "environment:\n  - PATH=x\n  - CUDA_HOME=y\n  - A\n  - B=1\n  - B=2\n  - C: 1\n"
    assert refusals(text) == [*(("environment-invalid", line) for line in (2, 3, 4, 6)), ("wrong-type", 7)]


def test_every_wrong_command_is_named():
    text = "build:\n  run:\n    - 'a\n\n      b'\n    - 3\n    - mounts:\n      - type: file\n        id: x\n      - 4\n"
    assert refusals(text) == [
        ("command-of-several-lines", 3),
        ("wrong-type", 6),
        ("command-missing", 7),
        ("mount-type", 8),
        ("mount-incomplete", 8),
        ("wrong-type", 10),
    ]


def test_did_you_mean():
    (problem,) = problems(lambda: config("build:\n  python-version: '3.11'\n"))
    assert problem.instead == "Did you mean python_version?"


def test_all_problems_of_a_file_are_shown_at_once():
    found = refusals("build:\n  gpu: maybe\n  python_version: 3\n  run: x\npredict: gone.py:P\nimge: x\nimage: a\nimage: b\n")
    assert found == [
        ("wrong-type", 2),
        ("python-version-invalid", 3),
        ("wrong-type", 4),
        ("file-not-found", 5),
        ("unknown-key", 6),
        ("yaml-duplicate-key", 8),
    ]


def test_an_explosion_of_aliases_is_refused_quickly():
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
    (problem,) = problems(lambda: config(f"a0: &a0 x\n{levels}\n"))
    assert problem.rule == "yaml-too-large"


def test_paths_are_relative_to_the_configurations_folder():
    files = MemoryFiles({"m/cog.yaml": "predict: p.py:P\nbuild: {python_requirements: r.txt}", "m/p.py": "", "m/r.txt": ""})
    found = cog_yaml.parse_config("m/cog.yaml", files)
    assert found.apis[0].file == "m/p.py"
    assert found.requirements is not None
    assert found.requirements.path == "m/r.txt"

"""Indexes from the machine's variables and from pip.conf."""

from __future__ import annotations

import pytest

from lading.model.files import MemoryFiles
from lading.planner.indexes import environment_options, pip_conf_options
from lading.planner.make import with_machine_options
from tests.planner.planning import decision, files_of, plan, problems


@pytest.mark.parametrize(
    ("environ", "index", "extra"),
    [
        ({}, None, []),
        ({"PIP_INDEX_URL": "https://a/simple"}, "https://a/simple", []),
        ({"UV_INDEX_URL": "https://b/simple", "PIP_INDEX_URL": "https://a/simple"}, "https://b/simple", []),
        ({"UV_DEFAULT_INDEX": "corp=https://c/simple", "UV_INDEX_URL": "https://b/simple"}, "https://c/simple", []),
        ({"UV_DEFAULT_INDEX": "https://c/simple?a=b"}, "https://c/simple?a=b", []),
        ({"UV_INDEX": "x=https://x/simple https://y/simple"}, None, ["https://x/simple", "https://y/simple"]),
        ({"PIP_EXTRA_INDEX_URL": "https://x/simple\n https://y/simple"}, None, ["https://x/simple", "https://y/simple"]),
        ({"PIP_INDEX_URL": ""}, None, []),
    ],
)
def test_variables_of_uv_and_pip_are_read_uvs_first(environ: dict[str, str], index: str | None, extra: list[str]):
    options = environment_options(environ)
    assert (options.index_url.reveal() if options.index_url else None) == index
    assert [url.reveal() for url in options.extra_index_urls] == extra


@pytest.mark.parametrize(("value", "on"), [("1", True), ("true", True), ("ON", True), ("0", False), ("", False)])
def test_no_index_is_a_switch(value: str, *, on: bool):
    assert environment_options({"PIP_NO_INDEX": value}).no_index is on


def test_the_projects_own_index_wins_over_the_machines():
    made = plan({"requirements.txt": "--index-url https://project/simple\nnumpy==2.0.0\n"})
    both = with_machine_options(
        made, environment_options({"PIP_INDEX_URL": "https://machine/simple", "PIP_EXTRA_INDEX_URL": "https://more/simple"})
    )
    assert both.options.index_url is not None
    assert both.options.index_url.reveal() == "https://project/simple"
    assert [url.reveal() for url in both.options.extra_index_urls] == ["https://more/simple"]


def test_the_machines_indexes_do_not_change_the_fingerprint():
    files = {"requirements.txt": "numpy==2.0.0\n"}
    assert plan(files).fingerprint == plan(files, environ={"PIP_INDEX_URL": "https://machine/simple"}).fingerprint


def test_a_pip_conf_is_used_and_told_with_its_secrets_masked():
    conf = "[global]\nindex-url = https://user:s3cr3t@a/simple\n[install]\nextra_index_url =\n  https://b/simple\n  https://c/simple\n"
    made = plan({"requirements.txt": "numpy==2.0.0", "pip.conf": conf})
    told = decision(made, "pip-conf-used")
    assert told.chose == "https://user:****@a/simple, https://b/simple, https://c/simple"
    assert files_of(made)["pip.conf"] == "used: it configures the indexes"
    assert "s3cr3t" not in str(made.as_json())
    assert made.options.index_url is not None
    assert made.options.index_url.reveal() == "https://user:s3cr3t@a/simple"


def test_a_pip_conf_lies_beside_the_requirements():
    files = MemoryFiles({"sub/pip.conf": "[global]\nno-index = yes\nfind-links = wheels\n"})
    options, (source,), _decisions = pip_conf_options(files, "sub")
    assert (options.no_index, [url.reveal() for url in options.find_links], source.path) == (True, ["wheels"], "sub/pip.conf")
    assert pip_conf_options(files) == (type(options)(), (), ())


def test_a_line_of_the_requirements_wins_over_pip_conf():
    made = plan({"requirements.txt": "-i https://b/simple\nnumpy==2.0.0", "pip.conf": "[global]\nindex-url = https://a/simple\n"})
    assert str(made.options.index_url) == "https://b/simple"


@pytest.mark.parametrize(("conf", "line"), [("index-url = x\n", 1), ("[global]\nnonsense\n", None), ("[a]\nx = 1\n[a]\n", 3), ("\x00", 1)])
def test_a_pip_conf_that_is_none_is_refused_with_its_line(conf: str, line: int | None):
    (problem,) = problems(lambda: plan({"requirements.txt": "numpy==2.0.0", "pip.conf": conf}))
    assert problem.rule == "pip-conf-invalid"
    assert problem.origin is not None
    assert (problem.origin.path, problem.origin.line) == ("pip.conf", line)


def test_a_percent_sign_in_pip_conf_is_a_percent_sign():
    conf = "[global]\nindex-url = https://u:a%40b@h/simple\n"
    options, _sources, _decisions = pip_conf_options(MemoryFiles({"pip.conf": conf}))
    assert options.index_url is not None
    assert options.index_url.reveal() == "https://u:a%40b@h/simple"

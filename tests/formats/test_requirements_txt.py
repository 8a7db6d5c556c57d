"""What real requirements files say, and what they only seem to say."""

from __future__ import annotations

import codecs

import pytest

from lading.formats import requirements_txt
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.problems import ExitCode
from lading.model.requirements import Via
from tests.formats.reading import one, problems, read, refused

PACKAGE = {"pkg/setup.py": "", "setup.py": ""}


@pytest.mark.parametrize(
    ("line", "requirement"),
    [
        ("flask==3.0.0", "flask==3.0.0"),
        ("torch == 2.5.1", "torch==2.5.1"),
        ("torch==2.0", "torch==2.0"),
        ("torch==1.11.0+cu113", "torch==1.11.0+cu113"),
        ("flask ( ==3 )", "flask==3"),
        ("flask==v3.0", "flask==v3.0"),
        ("Ruamel.YAML==0.18.6", "ruamel-yaml==0.18.6"),
        ("zope.interface==6.0", "zope-interface==6.0"),
        ("numpy>=1.20,<2", "numpy>=1.20,<2"),
        ("requests", "requests"),
        ("uvicorn[standard, extra]>=0.2", "uvicorn[standard,extra]>=0.2"),
        ("numpy==1.26.0; python_version=='3.11'", 'numpy==1.26.0 ; python_version == "3.11"'),
        ("flask===2004d", "flask===2004d"),
        ("torch==2.4.*", "torch==2.4.*"),
        ("a @ https://example.org/a.zip#sha256=abc", "a @ https://example.org/a.zip#sha256=abc"),
        ("https://example.org/a-1.0-py3-none-any.whl", "a @ https://example.org/a-1.0-py3-none-any.whl"),
        ("https://example.org/a.tar.gz; python_version<'3.8'", 'https://example.org/a.tar.gz ; python_version < "3.8"'),
        ("a @ https://example.org/a.zip;python_version<'3.8'", 'a @ https://example.org/a.zip ; python_version < "3.8"'),
        ("git+https://example.org/a@v1#egg=a&subdirectory=x", "a @ git+https://example.org/a@v1#egg=a&subdirectory=x"),
        ("git+ssh://git@example.org/a.git@main#egg=A_B[x]", "a-b[x] @ git+ssh://git@example.org/a.git@main#egg=A_B[x]"),
        (".", "."),
        (".[dev]", ".[dev]"),
        ("./pkg[x] ; os_name == 'nt'", './pkg[x] ; os_name == "nt"'),
        ("pkg/", "./pkg"),
        ("file:./pkg", "./pkg"),
        ("file:///opt/wheels/a-1-py3-none-any.whl", "/opt/wheels/a-1-py3-none-any.whl"),
        ("wheels/a-1-py3-none-any.whl", "./wheels/a-1-py3-none-any.whl"),
        ("a @ ./pkg", "./pkg"),
    ],
)
def test_a_line_is_read_as_pip_means_it(line, requirement):
    declared = one(line, {**PACKAGE, "wheels/a-1-py3-none-any.whl": ""})
    assert declared.pep508 == requirement
    assert declared.raw.reveal() == line
    assert declared.origin == Origin("requirements.txt", 1)


@pytest.mark.parametrize(
    ("line", "rule", "fix"),
    [
        ("- flask==3.0.0", "yaml-list-item", "Write: flask==3.0.0"),
        ("pkg==1# c", "requirement-invalid", "Write: pkg==1  # c"),
        ("flask==3.0.0\\ ", "requirement-invalid", "Remove the space"),
        ("numpy=1.26.4=py310_0", "requirement-invalid", "Write: numpy==1.26.4"),
        ("numpy=1.26.4", "requirement-invalid", "Write: numpy==1.26.4"),
        ("conda-forge::numpy", "requirement-invalid", "Write: numpy"),
        ("flask^3.1", "requirement-invalid", "Write: flask>=3.1,<4"),
        ("flask^0.2.3", "requirement-invalid", "Write: flask>=0.2.3,<0.3"),
        ("flask~3", "requirement-invalid", "Write: flask~=3.0"),
        ("flask~=3", "requirement-invalid", "Write: flask~=3.0"),
        ("flask>=3.0.*", "requirement-invalid", "Write: flask>=3.0"),
        ("torch>=1.11+cu113", "requirement-invalid", "Write: torch>=1.11"),
        ("pytz==2004d", "requirement-invalid", "Write a version"),
        ("flask>dev", "requirement-invalid", "Write a version"),
        ("flask>=1.0[async]", "requirement-invalid", "Write: flask[async]>=1.0"),
        ('"flask==3.0",', "requirement-invalid", "Write: flask==3.0"),
        ("'flask'", "requirement-invalid", "Write: flask"),
        ("flask==3.0 click", "requirement-invalid", "Write 2 lines: flask==3.0 / click"),
        ("flask, click", "requirement-invalid", "Write 2 lines: flask / click"),
        ("flask;click", "marker-invalid", "Write 2 lines: flask / click"),
        ("flask; python_versoin < '3'", "marker-invalid", "python_version"),
        ("flask==" + "9" * 5000, "requirement-invalid", "Correct the version"),
        ("flask^" + "9" * 5000, "requirement-invalid", "Correct the version"),
        ("pip install flask", "requirement-invalid", "Write: flask"),
        ("channels:", "requirement-invalid", "environment.yml"),
        ("flask\u2013==1", "requirement-invalid", "plain spaces"),
        ("python>=3.8", "python-as-package", ".python-version"),
        ("pkg-resources==0.0.0", "debian-freeze", "Delete this line"),
        ("numpy @ file:///croot/numpy_1/work/dist/numpy.whl", "conda-build-path", "NAME==VERSION"),
        ("git+git@example.org:a/b.git", "requirement-invalid", "git+ssh://git@example.org/a/b.git"),
        ("git+git://github.com/a/b", "git-protocol-gone", "git+https://github.com/a/b"),
        ("hg+https://example.org/a", "vcs-not-supported", "wheel"),
        ("git+https://example.org/a#egg=a>=1", "egg-invalid", "NAME @ URL"),
        ("https://example.org/wrong.whl", "wheel-name-invalid", "built with"),
        ("https://[::1/a.zip", "url-invalid", "Correct"),
        ("missing/pkg", "requirement-invalid", "Correct the path"),
        ("./missing", "file-not-found", "Correct the path"),
        ("missing.whl", "file-not-found", "Correct the path"),
        ("./src", "folder-not-installable", "pyproject.toml"),
        ("./notes.txt", "file-not-a-package", "Write: -r notes.txt"),
        ("-e flask", "editable-invalid", "without -e"),
        ("-e . flask", "two-things-on-a-line", "one requirement or option a line"),
        ("-e . -e ./pkg", "two-things-on-a-line", "one -e a line"),
        ("-r a.txt -c b.txt", "two-things-on-a-line", "one -r, -c"),
        ("flask -r a.txt", "two-things-on-a-line", "line of its own"),
        ("flask --pre", "two-things-on-a-line", "line of its own"),
        ("flask --no-index", "two-things-on-a-line", "line of its own"),
        ("flask --global-option=x", "global-option-gone", "--config-settings"),
        ("flask --hash=md5:00", "hash-invalid", "sha256"),
        ("--hash=sha256:00", "option-without-requirement", "backslash"),
        ("--no-deps", "option-unknown", "Remove it"),
        ("--timeout=3", "option-unknown", "UV_HTTP_TIMEOUT"),
        ("Flash_attn==2.5 --no-build-isolation", "option-unknown", 'no-build-isolation-package = ["flash-attn"] under [tool.uv]'),
        ("--no-build-isolation", "option-unknown", "no-build-isolation = true under [tool.uv]"),
        ("--index-url", "option-unknown", ""),
        ("--pre=1", "option-unknown", ""),
        ("--req x", "option-unknown", ""),
        ('-i "https://example.org', "option-unknown", ""),
        ("-i example.org/simple", "index-invalid", "https://example.org/simple"),
        ("-f ./nowhere", "find-links-not-found", "Create it"),
        ("-r https://example.org/r.txt", "include-url", "-r r.txt"),
        ("-r ../r.txt", "include-outside-project", "Copy the file"),
        ("-r /etc/r.txt", "include-outside-project", "Copy the file"),
        ("-r missing.txt", "file-not-found", "Correct the path"),
        ("a -i https://a.org -i https://b.org", "several-indexes-on-line", "Keep one"),
        ("./pkg -i https://a.org", "index-without-use", "line of its own"),
        ("flask==1  # see C:\\\nclick==2", "comment-swallows-line", "Remove the backslash"),
    ],
)
def test_a_line_that_only_misleads_is_refused_with_the_fix(line, rule, fix):
    problem = refused(line, {**PACKAGE, "src/a.py": "", "notes.txt": ""})
    assert problem.rule == rule
    assert problem.origin == Origin("requirements.txt", 1)
    assert fix in (problem.instead or "")
    assert problem.code is ExitCode.USAGE


def test_all_mistakes_of_a_file_and_of_its_includes_are_shown_at_once():
    found = problems(lambda: read("flask^3\nnumpy\n-r more.txt\n'x'\n", {"more.txt": "\n- a\n-r gone.txt\n"}))
    assert [str(problem.origin) for problem in found] == ["requirements.txt:1", "more.txt:2", "more.txt:3", "requirements.txt:4"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (codecs.BOM_UTF8 + b"flask==3\r\nnumpy\r\n", ["flask", "numpy"]),
        (codecs.BOM_UTF16_LE + "flask==3\r\nnumpy".encode("utf-16-le"), ["flask", "numpy"]),
        (codecs.BOM_UTF16_BE + "flask".encode("utf-16-be"), ["flask"]),
        (codecs.BOM_UTF32_LE + "flask".encode("utf-32-le"), ["flask"]),
        (b"# -*- coding: latin-1 -*-\nflask  # caf\xe9\n", ["flask"]),
        ("flask  # café".encode(), ["flask"]),
        (b"flask\rnumpy", ["flask", "numpy"]),
        (b"", []),
    ],
)
def test_files_from_windows_and_old_editors_are_read(content, names):
    assert [declared.name for declared in read(content).requirements] == names


@pytest.mark.parametrize(
    ("content", "rule", "line"),
    [
        (b"flask\ncaf\xe9\n", "encoding-wrong", 2),
        ("flask\nx".encode("utf-16-le"), "not-text", 1),
        (b"# coding: klingon\nflask", "encoding-unknown", 1),
        (b"# coding: unicode_escape\nflask", "encoding-unknown", 1),
        (b"# coding: hex\nflask", "encoding-unknown", 1),
        (codecs.BOM_UTF16_LE + b"\x00", "encoding-wrong", 1),
    ],
)
def test_a_file_that_is_not_the_text_it_says_is_refused(content, rule, line):
    problem = refused(content)
    assert (problem.rule, problem.origin) == (rule, Origin("requirements.txt", line))


def test_a_comment_needs_a_space_before_it_and_a_fragment_is_no_comment():
    text = "# first\nflask==3.0  # comment\ngit+https://example.org/a#egg=a  # another\n   # last\n"
    assert [declared.pep508 for declared in read(text).requirements] == ["flask==3.0", "a @ git+https://example.org/a#egg=a"]


def test_a_continued_line_keeps_the_number_of_its_first_line():
    text = "# head \\\nflask==3.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nnumpy==1 --hash=sha256:CC\n"
    flask, numpy = read(text).requirements
    assert (flask.name, flask.origin.line, flask.hashes) == ("flask", 2, ("sha256:aa", "sha256:bb"))
    assert (numpy.name, numpy.origin.line, numpy.hashes) == ("numpy", 5, ("sha256:cc",))


def test_a_comment_line_ends_a_continuation():
    problem = refused("flask \\\n# comment\n==3.0\n")
    assert problem.origin == Origin("requirements.txt", 3)


@pytest.mark.parametrize("include", ["-r sub/more.txt", "-rsub/more.txt", "--requirement sub/more.txt", "--requirement=sub/more.txt"])
def test_every_spelling_of_an_include_is_relative_to_the_including_file(include):
    files = {"sub/more.txt": "click==8\n-r deep/last.txt", "sub/deep/last.txt": "numpy==2\n-c ../../pins.txt", "pins.txt": "scipy==1"}
    declaration = read(f"flask==3\n{include}\n", files)
    assert [str(declared.origin) for declared in declaration.requirements] == [
        "requirements.txt:1",
        "sub/more.txt:1",
        "sub/deep/last.txt:1",
    ]
    assert [declared.pep508 for declared in declaration.constraints] == ["scipy==1"]
    assert declaration.read == ("requirements.txt", "sub/more.txt", "sub/deep/last.txt", "pins.txt")


def test_an_include_loop_is_shown_as_a_chain():
    problem = refused("-r a.txt", {"a.txt": "flask\n-r b.txt", "b.txt": "-r requirements.txt"})
    assert problem.rule == "include-loop"
    assert "requirements.txt:1 → a.txt:2 → b.txt:1 → requirements.txt" in problem.what


def test_a_file_that_is_included_twice_counts_once():
    declaration = read("-r a.txt\n-r b.txt", {"a.txt": "-r base.txt\nflask", "b.txt": "-r base.txt", "base.txt": "numpy"})
    assert [declared.name for declared in declaration.requirements] == ["numpy", "flask"]


def test_includes_that_double_at_every_level_are_read_once_each():
    files = {f"r{level}.txt": f"-r r{level + 1}.txt\n-r ./r{level + 1}.txt" for level in range(40)}
    assert [declared.name for declared in read("-r r0.txt", {**files, "r40.txt": "flask"}).requirements] == ["flask"]


def test_a_requirements_file_in_a_submodule_that_is_not_checked_out_says_so():
    problem = refused("-r vendor/model/requirements.txt", {".gitmodules": '[submodule "m"]\n\tpath = vendor/model\n\turl = x\n'})
    assert problem.rule == "submodule-not-checked-out"
    assert problem.instead == "Run: git submodule update --init vendor/model"


def test_a_path_written_with_backslashes_is_answered_with_slashes():
    problem = refused("-r 'sub\\more.txt'", {"sub/more.txt": ""})
    assert problem.instead == "Write sub/more.txt."


@pytest.mark.parametrize(
    "spelling",
    ["--extra-index-url=https://example.org/cu", "--extra-index-url https://example.org/cu", "--index-url https://example.org/cu"],
)
def test_an_index_on_a_pins_line_serves_that_package_alone(spelling):
    declaration = read(f"torch==2.1.0 {spelling}\nnumpy")
    torch, numpy = declaration.requirements
    assert (str(torch.index), torch.specifier, numpy.index) == ("https://example.org/cu", "==2.1.0", None)
    assert declaration.options.index_url is None
    assert declaration.options.extra_index_urls == ()
    (decision,) = declaration.decisions
    assert (decision.rule, decision.subject, decision.chose) == ("index-on-line", "torch", "https://example.org/cu for torch only")


@pytest.mark.parametrize("spelling", ["-f https://example.org/t.html", "--find-links=https://example.org/t.html"])
def test_find_links_on_a_pins_line_serves_that_package_alone(spelling):
    declared = one(f"torch==1.8.0+cpu {spelling}")
    assert str(declared.find_links) == "https://example.org/t.html"


def test_options_of_the_file_are_kept():
    text = """
--index-url https://example.org/simple
--extra-index-url=https://a.example/simple --extra-index-url https://b.example/simple
--no-binary :all: --only-binary Py_Yaml,numpy
--pre -f https://example.org/links
-f ./wheels
--prefer-binary --trusted-host example.org
"""
    options = read(text, {"wheels/a.whl": ""}).options
    assert str(options.index_url) == "https://example.org/simple"
    assert [str(url) for url in options.extra_index_urls] == ["https://a.example/simple", "https://b.example/simple"]
    assert [str(url) for url in options.find_links] == ["https://example.org/links", "wheels"]
    assert (options.no_binary, options.only_binary) == ((":all:",), ("py-yaml", "numpy"))
    assert (options.pre, options.prefer_binary, options.no_index, options.trusted_hosts) == (True, True, False, ("example.org",))


def test_find_links_is_relative_to_the_file_that_names_it_and_else_to_the_root():
    files = {"sub/r.txt": "-f wheels\n-f ./links", "sub/wheels/a.whl": "", "links/b.whl": ""}
    assert [str(url) for url in read("-r sub/r.txt", files).options.find_links] == ["sub/wheels", "links"]


def test_no_binary_and_only_binary_follow_pips_rules():
    assert read("--no-binary a,b\n--only-binary b").options.no_binary == ("a",)
    assert read("--no-binary a,b\n--no-binary :none:").options.no_binary == ()
    assert read("--only-binary :all:\n--no-binary :all:").options.only_binary == ()


def test_the_last_index_url_counts_and_the_user_is_told():
    declaration = read("-i https://a.example\n-i https://b.example")
    assert str(declaration.options.index_url) == "https://b.example"
    assert [decision.rule for decision in declaration.decisions] == ["index-url-replaced"]


def test_an_extra_index_before_the_index_is_not_forgotten_as_pip_does():
    declaration = read("--extra-index-url https://a.example\n-i https://b.example")
    assert [str(url) for url in declaration.options.extra_index_urls] == ["https://a.example"]
    assert [decision.rule for decision in declaration.decisions] == ["extra-index-kept"]


def test_an_editable_folder_stays_editable_and_an_editable_git_url_does_not():
    folder, git = read("-e ./pkg[x]\n-e git+https://example.org/a@v1#egg=a\n", PACKAGE).requirements
    assert (folder.via, folder.path, folder.extras, folder.editable) == (Via.PATH, "pkg", ("x",), True)
    assert (git.via, git.name, git.editable) == (Via.VCS, "a", False)
    assert "git-not-editable" in [decision.rule for decision in read("-e git+https://example.org/a#egg=a").decisions]


def test_a_local_path_in_an_included_file_is_relative_to_the_root_as_for_pip():
    (declared,) = read("-r reqs/gpu.txt", {"reqs/gpu.txt": ".", "setup.py": ""}).requirements
    assert (declared.path, str(declared.origin)) == (".", "reqs/gpu.txt:1")


@pytest.mark.parametrize(
    ("line", "what"), [("a[x]==1", "extras"), ("-e .", "editable"), ("./pkg", "local path"), ("git+https://x.org/a", "URL")]
)
def test_a_constraint_that_pip_refuses_is_refused(line, what):
    problem = refused("-c pins.txt", {"pins.txt": line, **PACKAGE})
    assert problem.rule == "constraint-invalid"
    assert what in problem.what


def test_per_requirement_settings_are_kept_as_written():
    assert one("a==1 -C x=1 --config-settings='y=2 3'").options == (("config-settings", "x=1"), ("config-settings", "y=2 3"))


def test_the_same_name_with_two_pins_is_refused_with_both_lines():
    problem = refused("torch==2.0\nnumpy\nTorch==2.1")
    assert (problem.rule, problem.code, problem.origin) == ("pins-conflict", ExitCode.RESOLUTION, Origin("requirements.txt", 3))
    assert "requirements.txt:1" in problem.what


@pytest.mark.parametrize(
    "text",
    [
        "torch==2.0\ntorch==2.0.0",
        "torch==2.0\ntorch==2.0+cpu",
        "a==1; os_name=='nt'\na==2; os_name=='posix'",
        "a==1\na>=1",
        "a==1.*\na==1.2",
    ],
)
def test_pins_of_one_name_that_can_both_hold_are_kept(text):
    assert len(read(text).requirements) == 2


def test_require_hashes_names_each_line_that_cannot_be_verified():
    text = "--require-hashes\na==1 --hash=sha256:aa\nb==1\nc>=1 --hash=sha256:aa\n./pkg\nd @ https://example.org/d.zip#sha256=aa\n"
    found = problems(lambda: read(text, PACKAGE))
    assert [(problem.rule, problem.origin.line if problem.origin else None) for problem in found] == [
        ("hash-missing", line) for line in (3, 4, 5)
    ]


def test_hashes_on_some_lines_only_are_verified_and_the_user_is_told():
    assert [decision.rule for decision in read("a==1 --hash=sha256:aa\nb==1").decisions] == ["hashes-incomplete"]


def test_sklearn_is_kept_and_its_right_name_told():
    declaration = read("sklearn")
    assert [declared.pep508 for declared in declaration.requirements] == ["sklearn"]
    assert [(decision.rule, decision.instead) for decision in declaration.decisions] == [("sklearn-is-scikit-learn", "scikit-learn")]


def test_a_missing_file_is_one_problem():
    (problem,) = problems(lambda: requirements_txt.parse("reqs.txt", MemoryFiles({})))
    assert problem.rule == "file-not-found"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("requirements.txt", True),
        ("a/requirements-gpu.txt", True),
        ("dev.requirements.txt", True),
        ("notes.txt", False),
        ("requirements.in", True),
    ],
)
def test_requirements_files_are_recognised_by_name(path, expected):
    assert requirements_txt.recognises(path) is expected


@pytest.mark.parametrize("text", ["git@example.org:team/model.git", "-e git@example.org:team/model.git@v1#egg=model"])
def test_gits_short_form_of_an_address_is_refused_with_the_url(text):
    found = refused(text)
    assert found.rule == "url-invalid"
    assert str(found.instead).startswith("Write: git+ssh://git@example.org/team/model.git")


@pytest.mark.parametrize(
    "option", ["-i https://a/", "-i=https://a/", "--index-url https://a/", "--index-url=https://a/", "--extra-index-url=https://a/"]
)
def test_every_spelling_of_an_index_on_a_line_binds_that_package(option):
    assert str(one(f"torch==2.0 {option}").index) == "https://a/"


@pytest.mark.parametrize("option", ["-f https://a/", "-f=https://a/", "--find-links https://a/", "--find-links=https://a/"])
def test_every_spelling_of_a_page_of_links_on_a_line_binds_that_package(option):
    assert str(one(f"torch==2.0 {option}").find_links) == "https://a/"

"""pip's own reading of the same files is the standard: ours is equal, or refuses what pip itself misleads about."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from lading.formats import requirements_txt
from lading.formats._logical import logical_lines
from lading.model.files import MemoryFiles
from lading.model.names import canonical
from lading.model.problems import LadingError
from lading.model.requirements import Declaration, Declared, Via

ORACLE = Path(__file__).with_name("pip_oracle.py")
PROJECT = {"setup.py": "", "pkg/setup.py": "", "pkg/a.txt": "click==8\n", "wheels/a-1-py3-none-any.whl": "", "sdist-1.0.tar.gz": ""}

# Read alike.
SAME: dict[str, dict[str, str]] = {
    "pins": {"requirements.txt": "flask==3.0.0\nTorch == 2.5.1\nruamel.yaml==0.18.6\nzope.interface==6.0"},
    "ranges": {"requirements.txt": "numpy>=1.20, <2\nrequests\nscipy!=1.5\na~=1.4.2\nb<3,>1\nc===1.0"},
    "local versions": {"requirements.txt": "torch==1.11.0+cu113\ntorchvision!=0.12+cpu"},
    "extras": {"requirements.txt": "uvicorn[standard]\ncelery[redis, msgpack] >=5"},
    "parentheses": {"requirements.txt": "flask ( ==3 )\nnumpy (>=1,<2)"},
    "v and pre-releases": {"requirements.txt": "flask==v3.0\na==1.0rc1\nb==1.0.post1\nc>=2.0.dev3\nd==1!2.0"},
    "markers": {"requirements.txt": "a==1; python_version<'3.8'\nb ; sys_platform == 'win32' and os_name=='nt'\nc>1;python_version>='3'"},
    "comments": {"requirements.txt": "# one\nflask==3 # two\n   # three\n\nnumpy==1\t# four\ngit+https://example.org/a#egg=a # five\n"},
    "continuations": {"requirements.txt": "flask==3 \\\n  --hash=sha256:aa \\\n  --hash=sha256:bb\n# no \\\nnumpy==1\nscipy \\\n==1\\\n\n"},
    "comment ends continuation": {"requirements.txt": "flask \\\n # comment \\\nnumpy"},
    "crlf": {"requirements.txt": "flask==3\r\nnumpy==1\r\n"},
    "bom": {"requirements.txt": "\xef\xbb\xbfflask==3"},
    "utf-16": {"requirements.txt": "\xff\xfe" + "flask==3\r\nnumpy".encode("utf-16-le").decode("latin-1")},
    "coding line": {"requirements.txt": "# -*- coding: latin-1 -*-\nflask # caf\xe9"},
    "tabs": {"requirements.txt": "flask\t==3\n\tnumpy >= 1\t"},
    "hashes": {"requirements.txt": "flask==3 --hash=sha256:AA --hash sha256:bb\nnumpy==1 --hash=sha512:cc"},
    "includes": {
        "requirements.txt": "flask\n-r sub/r.txt\n-rpkg/a.txt\n",
        "sub/r.txt": "numpy\n--requirement=deep/r.txt",
        "sub/deep/r.txt": "scipy",
    },
    "constraints": {"requirements.txt": "flask\n-c c.txt\n--constraint c.txt", "c.txt": "flask==3\nnumpy<2"},
    "requirements of constraints": {"requirements.txt": "flask\n-c c.txt", "c.txt": "-r d.txt", "d.txt": "numpy"},
    "urls": {
        "requirements.txt": "https://example.org/a-1.0-py3-none-any.whl#sha256=aa\nhttps://example.org/b.tar.gz ; python_version<'3.8'"
    },
    "direct references": {"requirements.txt": "a @ https://example.org/a.zip\nb[x]@https://example.org/b.zip ; os_name=='nt'"},
    "marker without a space after a direct reference": {"requirements.txt": "a @ https://example.org/a.zip;os_name=='nt'"},
    "semicolon in a url": {"requirements.txt": "https://example.org/a;v=1/a-1-py3-none-any.whl"},
    "git": {"requirements.txt": "git+https://example.org/a@v1#egg=a&subdirectory=x\ngit+ssh://git@example.org/b.git@main#egg=B_c"},
    "git direct reference": {"requirements.txt": "a @ git+https://example.org/a@0123abc#subdirectory=x"},
    "editable git": {"requirements.txt": "-e git+https://example.org/a@v1#egg=a"},
    "editable folders": {"requirements.txt": "-e .\n-e ./pkg[x]\n--editable=pkg"},
    "folders": {"requirements.txt": "./pkg\n.[dev]\n./pkg[x] ; os_name == 'nt'"},
    "archives": {"requirements.txt": "wheels/a-1-py3-none-any.whl\n./wheels/a-1-py3-none-any.whl[x]\nsdist-1.0.tar.gz"},
    "folder from an include": {"requirements.txt": "-r reqs/r.txt", "reqs/r.txt": "."},
    "variables": {"requirements.txt": "a @ https://${LADING_TEST_TOKEN}@example.org/a.zip\nflask==${LADING_TEST_VERSION}"},
    "index": {"requirements.txt": "-i https://a.example/\n--extra-index-url https://b.example --extra-index-url=https://c.example\nflask"},
    "two indexes": {"requirements.txt": "-i https://a.example/\n--index-url=https://b.example"},
    "no index": {"requirements.txt": "--no-index\n-f ./wheels\n--find-links https://example.org/l"},
    "find links beside the include": {"requirements.txt": "-r sub/r.txt", "sub/r.txt": "-f links", "sub/links/x": ""},
    "flags": {"requirements.txt": "--pre --prefer-binary --trusted-host example.org\n--use-feature=fast-deps"},
    "formats": {"requirements.txt": "--no-binary :all:\n--only-binary A_b,c\nd --no-binary d"},
    "formats again": {"requirements.txt": "--only-binary=:all:\n--no-binary=a --no-binary :none:\n--no-binary x,y"},
    "abbreviations": {
        "requirements.txt": "--index https://a.example\n--extra https://b.example\n--find https://c.example\n--requirem pkg/a.txt"
    },
    "settings": {"requirements.txt": "flask==3 --config-settings=a=b"},
    "name with a dash": {"requirements.txt": "a-b_c.d==1"},
}

# Both refuse.
REFUSED = [
    "pkg==1# c",
    "flask==3.0.0\\ ",
    "flask \\\n# comment\n==3.0",
    "numpy=1.26.4=py310_0",
    "conda-forge::numpy",
    "flask~=3",
    "flask^3",
    "flask>=3.0.*",
    "pytz==2004d",
    "flask>dev",
    '"flask==3.0"',
    "flask==3 click",
    "flask;click",
    "-r missing.txt",
    "--no-deps",
    "--timeout=3",
    "--pre=1",
    "--index-url",
    "--req x",
    "-e flask",
    "./missing",
    "missing/pkg",
    "./wheels",
    "flask --hash=md5:00",
    "flask --hash=sha256",
    '-i "https://example.org',
    "https://example.org/wrong.whl",
    "# coding: klingon\nflask",
    "-r requirements.txt",
    "flask --no-such",
    "==3.0",
    "[x]",
    "flask[x",
    "flask>=1.0[x]",
]

# pip accepts these and does something else than the line says; ours refuses, with the fix.
MISLEADING = [
    "- flask==3.0.0",
    "flask --pre",
    "flask -r pkg/a.txt",
    "-e . flask",
    "-r pkg/a.txt -r pkg/a.txt",
    "-r pkg/a.txt --pre",
    "--hash=sha256:aa",
    "python>=3.8",
    "pkg-resources==0.0.0",
    "numpy @ file:///croot/numpy_1/work/dist/numpy-1-py3-none-any.whl",
    "a @ https://${LADING_TEST_UNSET}@example.org/a.zip",
    "a @ https://${lower}@example.org/a.zip",
    "git+git://github.com/a/b#egg=b",
    "hg+https://example.org/a#egg=a",
    "flask==1 # path C:\\\nnumpy==2",
    "missing-1-py3-none-any.whl",
    "flask==1\nflask==2",
    "-i example.org/simple",
    "--require-hashes\nflask",
]


def _interpreters() -> Iterator[str]:
    """Interpreters that may have pip: one that is named (to compare with another pip), then the tests' own."""
    yield os.environ.get("TEST_PIP_PYTHON", sys.executable)
    for name in ("python3", "python"):
        found = shutil.which(name)
        if found:
            yield found


@functools.cache
def _interpreter_with_pip() -> str | None:
    for candidate in _interpreters():
        done = subprocess.run([candidate, "-c", "import pip._internal.req.req_file"], capture_output=True, check=False)
        if done.returncode == 0:
            return candidate
    return None


@pytest.fixture(scope="module")
def pip() -> dict[str, Any]:
    """pip's answer to every text and folder of this module, by title or text: starting pip takes longer than reading."""
    cases = {title: _case(files) for title, files in SAME.items()}
    cases |= {text: _case({"requirements.txt": text}) for text in (*REFUSED, *MISLEADING)}
    return dict(zip(cases, _ask_pip(list(cases.values())), strict=True))


def _ask_pip(cases: list[dict[str, Any]]) -> list[Any]:
    python = _interpreter_with_pip()
    if python is None:
        pytest.skip("no interpreter with pip was found to compare with")
    done = subprocess.run([python, "-W", "ignore", str(ORACLE)], input=json.dumps(cases), capture_output=True, text=True, check=True)
    answers: list[Any] = json.loads(done.stdout)
    return answers


ENVIRON = {"LADING_TEST_TOKEN": "t0ken", "LADING_TEST_VERSION": "3.0"}


def _case(files: dict[str, str]) -> dict[str, Any]:
    return {"files": {**PROJECT, **files}, "environ": ENVIRON}


def _ours(files: dict[str, str]) -> Declaration:
    content = {path: text.encode("latin-1") for path, text in {**PROJECT, **files}.items()}
    return requirements_txt.parse("requirements.txt", MemoryFiles(content), ENVIRON)


def _as_pip(declared: Declared, *, constraint: bool) -> dict[str, Any]:
    link = None
    if declared.via is Via.PATH:
        link = "file:///PROJECT" if declared.path == "." else f"file:///PROJECT/{declared.path}"
    elif declared.url is not None:
        link = declared.url.reveal()
    return {
        "name": declared.name,
        "specifier": str(SpecifierSet(declared.specifier)),
        "extras": sorted(declared.extras),
        "marker": declared.marker,
        "link": link,
        "constraint": constraint,
        "hashes": sorted(declared.hashes),
        "line": declared.origin.line,
    }


def _pips(found: dict[str, Any]) -> dict[str, Any]:
    """pip's answer in the one spelling of names, specifiers, links and hashes."""
    same = dict(found)
    same["name"] = canonical(found["name"]) if found["name"] else None
    same["specifier"] = str(SpecifierSet(found["specifier"]))
    same["hashes"] = [one.lower() for one in found["hashes"]]
    return same


def _sorted(records: list[dict[str, Any]]) -> list[str]:
    return sorted({json.dumps(record, sort_keys=True) for record in records})


def test_files_are_read_as_pip_reads_them(pip):
    for title, files in SAME.items():
        pips = pip[title]
        assert "error" not in pips, (title, pips)
        ours = _ours(files)
        records = [_as_pip(declared, constraint=False) for declared in ours.requirements]
        records += [_as_pip(declared, constraint=True) for declared in ours.constraints]
        assert _sorted(records) == _sorted([_pips(found) for found in pips["requirements"]]), title
        options = ours.options
        urls = [url.reveal() for url in ((options.index_url,) if options.index_url else ()) + options.extra_index_urls]
        assert urls == pips["index_urls"], title
        assert [url.reveal() for url in options.find_links] == pips["find_links"], title
        flags = (options.no_index, options.pre, options.prefer_binary)
        assert flags == (pips["no_index"], pips["pre"], pips["prefer_binary"]), title
        assert sorted(options.no_binary) == pips["no_binary"], title
        assert sorted(options.only_binary) == pips["only_binary"], title


def test_what_pip_refuses_is_refused(pip):
    accepted_by_pip = []
    for text in REFUSED:
        with pytest.raises(LadingError):
            _ours({"requirements.txt": text})
        if "error" not in pip[text]:
            accepted_by_pip.append(text)
    # Older versions of pip accept some of these in a deprecated way.
    assert set(accepted_by_pip) <= {"flask>=3.0.*", "pytz==2004d", "flask>dev"} | {
        "flask==3.0.0\\ ",
        "flask>=1.0[x]",
        "flask --hash=sha256",
        "https://example.org/wrong.whl",
    }


def test_what_pip_misreads_in_silence_is_refused(pip):
    for text in MISLEADING:
        assert "error" not in pip[text], (text, pip[text])
        with pytest.raises(LadingError):
            _ours({"requirements.txt": text})


def test_lines_are_joined_and_stripped_as_pip_does():
    generator = random.Random(20)
    pieces = ["flask", "==3", " ", "\t", "#", " # c", "\\", "\\\\", "\n", "\n", "\r\n", "\r", "\\\n", "--hash=a", "\x0c", "\u2028", "é"]
    texts = ["".join(generator.choices(pieces, k=generator.randint(1, 25))) for _ in range(3000)]
    for text, pips in zip(texts, _ask_pip([{"text": text} for text in texts]), strict=True):
        ours = [[line.number, line.text] for line in logical_lines(text) if line.text]
        assert ours == pips, repr(text)

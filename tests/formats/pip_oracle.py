"""What pip itself reads in requirements files: run by pip's own interpreter, cases as JSON on stdin, answers as JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


class Finder:
    """Stands where pip's package finder takes the options of a file."""

    def __init__(self):
        from pip._internal.models.format_control import FormatControl
        from pip._internal.models.search_scope import SearchScope

        self.search_scope = SearchScope(find_links=[], index_urls=["default"], no_index=False)
        self.format_control = FormatControl()
        self.release_control = None
        self.pre = False
        self.prefer_binary = False

    @property
    def find_links(self):
        return self.search_scope.find_links

    @property
    def index_urls(self):
        return self.search_scope.index_urls

    def set_allow_all_prereleases(self):
        self.pre = True

    def set_release_control(self, control):
        self.pre = ":all:" in control.all_releases

    def set_prefer_binary(self):
        self.prefer_binary = True


def read(case, folder):
    from pip._internal.network.session import PipSession
    from pip._internal.req.constructors import install_req_from_parsed_requirement
    from pip._internal.req.req_file import parse_requirements

    for path, text in case["files"].items():
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode("latin-1"))
    os.chdir(folder)
    os.environ.update(case["environ"])
    finder: Any = Finder()
    found = []
    for parsed in parse_requirements("requirements.txt", session=PipSession(), finder=finder):
        requirement = install_req_from_parsed_requirement(parsed)
        requirement_link = requirement.link.url if requirement.link else None
        found.append(
            {
                "name": requirement.name,
                "specifier": str(requirement.req.specifier) if requirement.req and not requirement.link else "",
                "extras": sorted(requirement.extras),
                "marker": str(requirement.markers) if requirement.markers else None,
                "link": requirement_link.replace("file://" + folder, "file:///PROJECT") if requirement_link else None,
                "constraint": bool(requirement.constraint),
                "hashes": sorted(f"{kind}:{one}" for kind, many in requirement.hash_options.items() for one in many),
                "line": int(parsed.comes_from.rpartition("(line ")[2].rstrip(")")),
            }
        )
    return {
        "requirements": found,
        "index_urls": [url for url in finder.index_urls if url != "default"],
        "find_links": [str(Path(link).relative_to(folder)) if Path(link).is_absolute() else link for link in finder.find_links],
        "no_index": finder.search_scope.no_index,
        "pre": finder.pre,
        "prefer_binary": finder.prefer_binary,
        "no_binary": sorted(finder.format_control.no_binary),
        "only_binary": sorted(finder.format_control.only_binary),
    }


def lines(text):
    from pip._internal.req.req_file import preprocess

    return [[number, line] for number, line in preprocess(text)]


def main():
    cases = json.load(sys.stdin)
    answers = []
    for case in cases:
        try:
            if "text" in case:
                answers.append(lines(case["text"]))
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    answers.append(read(case, str(Path(folder).resolve())))
                finally:
                    os.chdir("/")
                    for name in case["environ"]:
                        os.environ.pop(name, None)
        except Exception as error:  # noqa: BLE001 -- pip raises many kinds; each means that it refuses the file
            answers.append({"error": f"{type(error).__name__}: {error}"})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()

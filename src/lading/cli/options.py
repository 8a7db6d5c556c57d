"""The options that every verb takes, and the pipeline's options made from them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from lading.cli.secrets import with_secrets
from lading.explain.style import columns_of_terminal
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.selection import Selection
from lading.pipeline import Options

# Options that take a value and may stand before the verb: `lading -C examples/iris serve`.
WITH_VALUE = (
    "-C",
    "--directory",
    "-f",
    "--file",
    "--progress",
    "--python",
    "--accelerator",
    "--platform",
    "--secret",
    "--source",
    "--extra",
    "--group",
)


class Parser(argparse.ArgumentParser):
    """argparse whose errors are Problems, so that ``--json`` shows them too."""

    def error(self, message: str) -> None:  # type: ignore[override] # argparse exits here; we raise
        """Raise the usage error.

        Raises:
            LadingError: always.
        """
        what = message[:1].upper() + message[1:] + "."
        raise LadingError(Problem(rule="usage", what=what, origin=Origin(self.prog), instead=f"See `{self.prog} --help`."))


def make_parser(verb: str, description: str) -> Parser:
    """A verb's parser with the common options on it."""
    parser = Parser(prog=f"lading {verb}", description=description, allow_abbrev=False, formatter_class=_formatter)
    add_common(parser)
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    """As wide as argparse makes it. It makes one for each option, and would load every archive format to ask the terminal."""
    return argparse.HelpFormatter(prog, width=(columns_of_terminal(os.environ) or 80) - 2)


def add_common(parser: argparse.ArgumentParser, *, project: bool = True) -> None:
    """The options of every verb."""
    common = parser.add_argument_group("on every verb")
    common.add_argument("-C", "--directory", metavar="DIR", help="work in DIR instead of the current folder")
    common.add_argument("-f", "--file", metavar="FILE", help="a cog.yaml, a cortex.yaml, or a predictor as file.py:Name")
    common.add_argument("-q", "--quiet", action="store_true", help="only problems")
    common.add_argument("-v", "--verbose", action="count", default=0, help="also what the tools say")
    common.add_argument("--no-color", action="store_true", help="no colour (NO_COLOR does the same)")
    common.add_argument("--progress", choices=("auto", "plain", "json", "quiet"), default="auto", help="how work is shown")
    if project:
        common.add_argument("--locked", action="store_true", help="fail if the lock is missing or out of date")
        common.add_argument("--frozen", action="store_true", help="use the lock as it is, without checking it")
        common.add_argument("--source", metavar="FILE", help="the dependency file that counts, whatever else is there")
        common.add_argument("--extra", metavar="NAME", action="append", default=[], help="an extra of the project as well; repeatable")
        common.add_argument("--group", metavar="NAME", action="append", default=[], help="a dependency group as well; repeatable")
        common.add_argument("--strict", action="store_true", help="fail if a file that is ignored declares something else")
        common.add_argument("--offline", action="store_true", help="use no network")
        common.add_argument("--python", metavar="VERSION", help="3.11, 3.11.7, a range, or an interpreter's path")
        common.add_argument("--accelerator", metavar="auto|cpu|cuXYZ", default="auto", help="what builds of frameworks are for")
        common.add_argument("--platform", metavar="NAME", help="another platform than this one: linux/arm64, x86_64-manylinux_2_28, ...")
        common.add_argument(
            "--secret",
            metavar="id=NAME,env=VAR|src=FILE",
            action="append",
            default=[],
            help="a credential for this run: the value of ${NAME}, a netrc (id=netrc) or a pip.conf (id=pip.conf)",
        )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``, where it takes no value."""
    parser.add_argument("--json", action="store_true", help="data as JSON on standard output")


def add_project(parser: argparse.ArgumentParser) -> None:
    """The positional PROJECT."""
    parser.add_argument("project", nargs="?", metavar="PROJECT", help="a folder, a configuration file, or file.py:Name (default: here)")


def pipeline_options(arguments: argparse.Namespace, project: str | None = None) -> Options:
    """The pipeline's options, with PROJECT split into folder and file.

    Raises:
        LadingError: if the folder does not exist, or options contradict each other.
    """
    directory, file = Path(arguments.directory or "."), arguments.file
    if project is not None:
        directory, named = _split_project(directory, project)
        if named and file:
            raise _usage(f"The project is named twice: {project} and -f {file}.", "Use one of them.")
        file = named or file
    if not directory.is_dir():
        raise _usage(f"There is no folder {directory}.", "Name a project's folder, or create it with `lading init`.")
    if arguments.locked and arguments.frozen:
        raise _usage("--locked and --frozen contradict each other.", "--locked checks the lock, --frozen does not look.")
    return Options(
        directory=directory.resolve(),
        file=file,
        python=arguments.python or os.environ.get("UV_PYTHON") or None,
        accelerator=arguments.accelerator.lower(),
        locked=arguments.locked,
        frozen=arguments.frozen,
        offline=arguments.offline,
        source=arguments.source,
        selection=_selection(arguments),
        strict=arguments.strict,
        platform=_platform(arguments.platform),
        environ=with_secrets(arguments.secret, os.environ, Path.cwd()),
    )


def _selection(arguments: argparse.Namespace) -> Selection:
    extras = tuple((canonical(name), Origin("--extra")) for name in dict.fromkeys(arguments.extra))
    groups = tuple((canonical(name), Origin("--group")) for name in dict.fromkeys(arguments.group))
    return Selection(extras=extras, groups=groups)


def _platform(text: str | None) -> str | None:
    if not text:
        return None
    from lading.planner.platforms import platform_named

    return platform_named(text)


def _split_project(base: Path, project: str) -> tuple[Path, str | None]:
    path = base / project
    if path.is_dir():
        return path, None
    file, _, name = project.partition(":")
    if (base / file).is_file():
        folder = (base / file).parent
        return folder, (base / file).name + (f":{name}" if name else "")
    raise _usage(f"There is no project {project}.", "PROJECT is a folder, a cog.yaml, a cortex.yaml, or file.py:Name.")


def _usage(what: str, fix: str) -> LadingError:
    return LadingError(Problem(rule="usage", what=what, instead=fix))

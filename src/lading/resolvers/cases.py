"""uv's words after a failure, with what is needed to explain them."""

from __future__ import annotations

import re
from pathlib import Path

from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.records import dataclass
from lading.model.requirements import Declared
from lading.model.secrets import Redactor, SecretUrl
from lading.resolvers.bindings import Binding
from lading.resolvers.command import PROJECT_NAME
from lading.resolvers.places import file_url

PUBLIC_REGISTRY = "https://pypi.org/simple"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a failure is explained with. ``folder`` is the temporary one, whose name no message may hold."""

    plan: Plan
    root: Path
    folder: Path
    redact: Redactor
    bound: tuple[Binding, ...]
    offline: bool
    left_out: bool

    def clean(self, text: str) -> str:
        """A text of uv's without credentials, temporary names and absolute paths of the project."""
        text = re.sub(rf"{re.escape(str(self.folder))}/\d+/", "", text)
        text = text.replace(f"{file_url(self.root)}/", "./").replace(f"{self.root}/", "./")
        text = re.sub(rf"\b{PROJECT_NAME} depends on ", "you require ", text)
        return self.redact(text)

    def lines_about(self, text: str) -> list[Declared]:
        """The user's requirements and constraints that a text mentions, in their order."""
        declared = (*self.plan.requirements, *self.plan.constraints)
        return [one for one in declared if one.name and mentions(text, one.name)]

    def indexes_of(self, name: str) -> list[tuple[SecretUrl, bool]]:
        """Where a package was looked for, and whether that is a page of links."""
        for binding in self.bound:
            if name in binding.packages:
                return [(binding.index.url, binding.index.kind == "find-links")]
        options = self.plan.options
        if options.no_index:
            return [(url, True) for url in options.find_links]
        default = options.index_url or SecretUrl(PUBLIC_REGISTRY)
        return [*((url, False) for url in (*options.extra_index_urls, default)), *((url, True) for url in options.find_links)]


def mentions(text: str, name: str) -> bool:
    """Whether a text names a package, and not just another whose name contains it."""
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w-]|\.\w)", text) is not None


@dataclass(frozen=True, slots=True)
class Said:
    """A text of uv's, cleaned, with the sentence that was recognised in it."""

    text: str
    case: Case
    found: re.Match[str]

    @property
    def reasons(self) -> str:
        """The derivation without uv's frame, and without hints about uv's own options."""
        body, *hints = re.split(r"^hint: ", self.text, flags=re.MULTILINE)
        body = re.sub(r"^error: No solution found when resolving dependencies\s*", "", body, flags=re.MULTILINE)
        body = re.sub(r"^ *cause: ", "", body, flags=re.MULTILINE)
        kept = [hint for hint in hints if " uv " not in f" {hint} " and "`--" not in hint]
        return "\n".join([_dedented(body), *(hint.strip() for hint in kept)]).strip()

    def detail(self) -> str:
        """The user's lines that are involved, then uv's reasons."""
        lines = [f"{one.origin}: {self.case.redact(str(one.raw))}" for one in self.case.lines_about(self.text)]
        return "\n".join([*lines, *([""] if lines else []), self.reasons])

    def origin(self, name: str | None = None) -> Origin | None:
        """The user's line about a package, else the first line that uv's text is about."""
        lines = self.case.lines_about(self.text)
        own = [one for one in lines if one.name == name]
        return next((one.origin for one in (*own, *lines)), None)


def _dedented(text: str) -> str:
    return "\n".join(line.strip() if line.startswith(" " * 9) else line for line in text.strip().splitlines())

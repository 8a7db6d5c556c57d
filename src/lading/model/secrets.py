"""Secrets are a type: what must not be printed cannot print itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit, urlunsplit

MASK = "****"
_PLACEHOLDERS = ("", "x-oauth-basic", "x-oauth-token", "x")
_TOKENS = ("ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "pypi-", "hf_")
_TOKEN_LENGTH = 20
# A path that was made normal has one slash where the URL had two.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+:/{1,2})(?P<userinfo>[^/\s?#]*)@")


def redact_urls(text: str) -> str:
    """``text`` with the user part of every URL masked.

    A lone user name is masked as well: it is how tokens are passed (``https://TOKEN@host``), and so is one that stands before a mere
    placeholder (``https://TOKEN:x-oauth-basic@host``) or is as long as a token. ``git`` as in ``ssh://git@host`` is no secret and
    stays, as do ``${VARIABLES}``.
    """
    return _USERINFO.sub(_mask, text)


def _mask(match: re.Match[str]) -> str:
    userinfo = match["userinfo"]
    user, _, _ = userinfo.partition(":")
    if userinfo == "git" or re.fullmatch(r"\$\{[A-Z0-9_]+\}(:\$\{[A-Z0-9_]+\})?", userinfo):
        return match[0]
    return f"{match['scheme']}{'' if _user_is_secret(userinfo) else f'{user}:'}{MASK}@"


def _user_is_secret(userinfo: str) -> bool:
    """Whether the user name of ``user:password`` is the credential, or may be."""
    user, _, password = userinfo.partition(":")
    return password in _PLACEHOLDERS or len(user) >= _TOKEN_LENGTH or user.startswith(_TOKENS)


class Secret:
    """A text that prints as ``****``; `reveal` is the only way to the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one call that needs it."""
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((type(self), self._value))

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


class SecretText(Secret):
    """A text that may hold URLs with credentials; prints with those masked."""

    __slots__ = ()

    def __str__(self) -> str:
        return redact_urls(self._value)


class SecretUrl(SecretText):
    """A URL that may hold credentials; prints with those masked.

    ``variables`` are the names and values of the variables that were expanded in it: any of them may be a secret, wherever it
    stands (``https://host/${TOKEN}/simple``), so the URL prints with their names.
    """

    __slots__ = ("variables",)

    def __init__(self, value: str, variables: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(value)
        self.variables = tuple((name, text) for name, text in variables if text and text in value)

    def __str__(self) -> str:
        return redact_urls(self._unexpanded())

    def _unexpanded(self) -> str:
        if not self.variables:
            return self._value
        names = {text: f"${{{name}}}" for name, text in self.variables}
        longest_first = sorted(names, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), lambda found: names[found[0]], self._value)

    @property
    def has_credentials(self) -> bool:
        """Whether a user part is there that is not just ``git``, or the value of a variable that may be a secret."""
        return redact_urls(self._value) != self._value or bool(self.secret_variables())

    def secret_variables(self) -> tuple[str, ...]:
        """The values of variables that may be secrets: those outside of the host, which must stay readable in errors."""
        if not self.variables or "://" not in self._value:
            return ()
        host = urlsplit(self._value).netloc.rpartition("@")[2]
        return tuple(text for _, text in self.variables if text not in host)

    @property
    def password_or_token(self) -> str | None:
        """The secret part of the user part, decoded: the password, or a lone user name."""
        parts = urlsplit(self._value)
        secret = parts.password if parts.password is not None else parts.username
        return unquote(secret) if secret and redact_urls(self._value) != self._value else None

    def secret_parts(self) -> tuple[str, ...]:
        """Every part of the user part that may be a secret, as written: the password, and a user name that is or may be a token."""
        parts = urlsplit(self._value)
        if redact_urls(self._value) == self._value or parts.username is None:
            return ()
        user, password = parts.username, parts.password
        both = (*((password,) if password not in (None, *_PLACEHOLDERS) else ()), *((user,) if self._user_may_be_one() else ()))
        return tuple(part for part in both if part)

    def _user_may_be_one(self) -> bool:
        return _user_is_secret(urlsplit(self._value).netloc.rpartition("@")[0])

    def without_credentials(self) -> str:
        """The URL without its user part (``ssh://git@`` stays), with its variables expanded: what a program is told."""
        if redact_urls(self._value) == self._value:
            return self._value
        parts = urlsplit(self._value)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class Redactor:
    """Masks known secret values, and the user part of URLs, in any text: for the output of other programs."""

    def __init__(self, values: Iterable[Secret] = ()) -> None:
        self._values = sorted({text for value in values for text in _spellings(value)}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """``text`` with every known value and every URL's user part masked."""
        for value in self._values:
            text = text.replace(value, MASK)
        return redact_urls(text)


def _spellings(secret: Secret) -> Iterable[str]:
    if not isinstance(secret, SecretUrl):
        yield from (text for text in (secret.reveal(),) if len(text) > 2)
        return
    for raw in secret.secret_parts():
        yield from (text for text in (raw, unquote(raw)) if len(text) > 2)
    yield from (text for text in secret.secret_variables() if len(text) > 2)

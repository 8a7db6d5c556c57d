"""Channels' URLs: their credentials show nowhere, and what a lock names has none."""

from __future__ import annotations

import pytest

from lading.model.conda import ChannelUrl, CondaText, redact_conda


@pytest.mark.parametrize(
    ("url", "shown", "bare", "token"),
    [
        ("https://h.org/t/tk-1/team", "https://h.org/t/****/team", "https://h.org/team", "tk-1"),
        ("https://h.org/t/tk-1/team/", "https://h.org/t/****/team/", "https://h.org/team/", "tk-1"),
        ("https://h.org/t/tk-1", "https://h.org/t/****", "https://h.org", "tk-1"),
        ("https://h.org/t/tk-1/", "https://h.org/t/****/", "https://h.org/", "tk-1"),
        ("https://me:pw@h.org/conda/t/tk-1/x", "https://me:****@h.org/conda/t/****/x", "https://h.org/conda/x", "tk-1"),
        ("https://h.org/t/${TOKEN}/team", "https://h.org/t/${TOKEN}/team", "https://h.org/team", "${TOKEN}"),
        ("https://h.org/tools/team", "https://h.org/tools/team", "https://h.org/tools/team", None),
        ("conda-forge", "conda-forge", "conda-forge", None),
    ],
)
def test_a_token_is_masked_wherever_it_stands(url: str, shown: str, bare: str, token: str | None):
    channel = ChannelUrl(url)
    assert (str(channel), channel.without_credentials(), channel.token) == (shown, bare, token)
    assert channel.has_credentials is (token is not None or "@" in url)


def test_a_token_is_masked_in_a_line_and_in_what_others_say():
    assert str(CondaText("https://h.org/t/tk-1::numpy=1.26")) == "https://h.org/t/****::numpy=1.26"
    assert redact_conda("error for url (https://h.org/t/tk-1), then 'https://h.org/t/tk-2'") == (
        "error for url (https://h.org/t/****), then 'https://h.org/t/****'"
    )
    assert redact_conda("https://h.org/t/****/x and https://h.org/t/********/x") == "https://h.org/t/****/x and https://h.org/t/********/x"

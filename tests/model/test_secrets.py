"""A secret never prints itself."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.model.secrets import Redactor, Secret, SecretText, SecretUrl, redact_urls

TOKENS = st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~", min_size=8, max_size=40)


@given(TOKENS, st.sampled_from(["https://{}@host/simple", "https://user:{}@host/simple", "git+https://{}@host/r.git@v1#egg=x"]))
def test_no_rendering_of_a_url_shows_its_token(token, shape):
    token = "S3" + token  # long enough not to be a part of the shape itself
    url = SecretUrl(shape.format(token))
    for text in (str(url), repr(url), f"{url}", f"{url:>90}", url.without_credentials()):
        assert token not in text
    assert url.reveal() == shape.format(token)
    assert url.has_credentials
    assert token not in Redactor([url])(f"tool says {token} and {shape.format(token)}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/simple", "https://host/simple"),
        ("ssh://git@host/r.git", "ssh://git@host/r.git"),
        ("https://${TOKEN}@host/simple", "https://${TOKEN}@host/simple"),
        ("https://user:pw@host/simple", "https://user:****@host/simple"),
        ("https://ghp_token@host/simple", "https://****@host/simple"),
        ("https://user:p%40w@host:8080/a@b", "https://user:****@host:8080/a@b"),
    ],
)
def test_what_is_no_secret_stays_readable(url, shown):
    assert str(SecretUrl(url)) == shown


def test_urls_inside_other_text_are_masked():
    assert redact_urls("a https://u:p1@h/x, b git+https://tok@h/y") == "a https://u:****@h/x, b git+https://****@h/y"


def test_without_credentials_keeps_port_path_and_fragment():
    assert SecretUrl("https://u:p@h:81/a?b=c#d").without_credentials() == "https://h:81/a?b=c#d"


def test_a_percent_encoded_password_is_masked_in_both_spellings():
    redact = Redactor([SecretUrl("https://u:p%40ss@h/")])
    assert "p@ss" not in redact("password p@ss")
    assert "p%40ss" not in redact("password p%40ss")


def test_a_secret_cannot_leave_by_pickle_or_json():
    secret = Secret("value")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_secrets_compare_by_value_and_type():
    assert Secret("a") == Secret("a")
    assert Secret("a") != SecretText("a")
    assert len({Secret("a"), Secret("a")}) == 1

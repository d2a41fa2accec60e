"""Where keys are read from; no message shows any part of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bitget_proto import Credentials
from bitget_transports.cli._exit_codes import Failure
from bitget_transports.cli._keys import VARIABLES, keys_from, keys_if_any

from .running import ENVIRONMENT, KEY, SECRETS

TEXT = 'api_key = "the-key"\nsecret = "the-secret"\npassphrase = "the-passphrase"\n'


def kept(tmp_path: Path, text: str | bytes, mode: int = 0o600) -> str:
    file = tmp_path / "keys.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return str(file)


def refusal(file: str) -> str:
    with pytest.raises(Failure) as caught:
        keys_from(file, ENVIRONMENT)
    error: BaseException | None = caught.value
    text = str(error)
    assert "\n" not in text
    while error is not None:
        assert not any(secret in repr(error) for secret in SECRETS)
        error = error.__cause__
    return text


def test_keys_come_from_the_environment() -> None:
    assert keys_from(None, ENVIRONMENT) == KEY


def test_keys_come_from_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    assert keys_from(kept(tmp_path, TEXT), {}) == KEY
    assert keys_from(kept(tmp_path, TEXT, 0o400), {}) == KEY


def test_the_file_takes_precedence_over_the_environment(tmp_path: Path) -> None:
    other = TEXT.replace("the-key", "other")
    assert keys_from(kept(tmp_path, other), ENVIRONMENT) == Credentials(
        "other", "the-secret", "the-passphrase"
    )


def test_an_rsa_key_may_be_a_triple_quoted_string(tmp_path: Path) -> None:
    text = 'api_key = "k"\npassphrase = "p"\nsecret = """\n-----BEGIN PRIVATE KEY-----\nabc\n"""\n'
    assert keys_from(kept(tmp_path, text), {}).secret.startswith("-----BEGIN ")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644, 0o666])
def test_a_file_that_others_can_access_is_refused(tmp_path: Path, mode: int) -> None:
    assert "chmod 600" in refusal(kept(tmp_path, TEXT, mode))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.replace("api_key", "apikey"), "lacks api_key"),
        (TEXT.replace('"the-secret"', '""'), "lacks secret"),
        (TEXT.replace('"the-secret"', "5"), "lacks secret"),
        (TEXT.replace('"the-secret"', "the-secret"), ":2 is not valid TOML"),
        (TEXT.replace('"the-secret"', '"the-secret'), ":2 is not valid TOML"),
        ("", "lacks api_key and secret and passphrase"),
        (b"\xff", "not valid UTF-8"),
        ("#" * 70000, "longer than 65536 bytes"),
    ],
)
def test_an_invalid_file_is_reported_without_its_content(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    assert said in refusal(kept(tmp_path, text))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    assert "No such file" in refusal(str(tmp_path / "none"))
    assert "cannot read" in refusal("a\0b")


def test_a_partly_set_environment_names_the_missing_variables() -> None:
    half = {**ENVIRONMENT, "BITGET_SECRET": ""}
    with pytest.raises(Failure, match="BITGET_SECRET is missing"):
        keys_from(None, half)
    with pytest.raises(Failure, match="BITGET_SECRET is missing"):
        keys_if_any(None, half)


def test_missing_keys_are_none_where_none_are_needed(tmp_path: Path) -> None:
    assert keys_if_any(None, {}) is None
    assert keys_if_any(None, ENVIRONMENT) == KEY
    assert keys_if_any(kept(tmp_path, TEXT), {}) == KEY


def test_keys_can_be_read_from_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, TEXT.encode())
        os.close(writing)
        assert keys_from(f"/dev/fd/{reading}", {}) == KEY
    finally:
        os.close(reading)


@pytest.mark.parametrize("value", ['"hush"', " hush", "hush\n", "\ufeffhush"])
def test_a_variable_with_pasted_quotes_or_blanks_is_refused_by_name(
    value: str,
) -> None:
    for name, variable in VARIABLES.items():
        with pytest.raises(
            Failure, match=rf"^{variable} must be the bare value; got one with "
        ) as caught:
            keys_from(None, {**ENVIRONMENT, variable: value})
        assert name not in str(caught.value)
        assert "hush" not in str(caught.value)


def test_a_doubly_quoted_value_in_a_file_is_refused_by_name(tmp_path: Path) -> None:
    text = refusal(kept(tmp_path, TEXT.replace('"the-key"', """'"the-key"'""")))
    assert 'keys.toml": api_key must be the bare value; got one with a quote around it' in text


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert keys_from(kept(tmp_path, b"\xef\xbb\xbf" + TEXT.encode()), {}) == KEY

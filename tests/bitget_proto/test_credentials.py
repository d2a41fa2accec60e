"""Tests of API keys and signed logins: correct signatures, and no leaked secrets."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import io
import logging
import pickle
import pprint
import sys
import traceback
from collections.abc import Callable

import attrs
import cattrs
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import Credentials, SignedLogin, Transmit, ValidationError, sign_login
from bitget_proto._wire.requests import LoginRequest

API_KEY, SECRET, PASSPHRASE, SIGN = "bg_apikey", "topsecret", "openseSame", "c2lnbmF0dXJl"
CREDENTIALS = Credentials(API_KEY, SECRET, PASSPHRASE)
LOGIN = SignedLogin(API_KEY, PASSPHRASE, "1700000000", SIGN)
HIDDEN = (API_KEY, SECRET, PASSPHRASE, SIGN)
NOW = 1700000000


def hides_everything(text: str) -> bool:
    return not any(secret in text for secret in HIDDEN)


# --- signing ---


def test_the_signature_equals_the_one_made_by_openssl() -> None:
    # printf '%s' '1700000000GET/user/verify' | openssl dgst -sha256 -hmac topsecret -binary | base64
    signed = sign_login(CREDENTIALS, NOW)
    assert signed == SignedLogin(
        API_KEY, PASSPHRASE, "1700000000", "hizouYpI0/SkJmIm7qRy2lgE5sa07pJGcgOYCX1aqmo="
    )


AROUND = "\"'`“”‘’\u200b\u200e\u200f\u2060\ufeff"
SECRETS = st.text(min_size=1).filter(
    lambda s: s == s.strip().strip(AROUND) and not s.startswith("-----BEGIN ")
)


@given(SECRETS, st.integers(0, 10**11 - 1))
def test_any_secret_signs_any_timestamp_in_seconds(secret: str, timestamp: int) -> None:
    signed = sign_login(Credentials("k", secret, "p"), timestamp)
    text = f"{timestamp}GET/user/verify".encode()
    expected = hmac.new(secret.encode("utf-8", "surrogatepass"), text, hashlib.sha256).digest()
    assert signed.timestamp == str(timestamp)
    assert base64.b64decode(signed.sign) == expected


def test_signing_is_deterministic() -> None:
    assert sign_login(CREDENTIALS, NOW) == sign_login(CREDENTIALS, NOW)
    assert sign_login(CREDENTIALS, NOW) != sign_login(CREDENTIALS, NOW + 1)


@pytest.mark.parametrize("timestamp", [10**11, 1700000000000, 10**30])
def test_a_timestamp_in_milliseconds_is_refused_with_a_hint(timestamp: int) -> None:
    with pytest.raises(
        ValidationError,
        match=r"looks like milliseconds: pass int\(time\.time\(\)\), or divide by 1000",
    ):
        sign_login(CREDENTIALS, timestamp)


@pytest.mark.parametrize("timestamp", [-1, 1700000000.0, "1700000000", None, True, b"1"])
def test_a_timestamp_must_be_a_whole_number_of_seconds(timestamp: object) -> None:
    with pytest.raises(
        ValidationError,
        match=r"^timestamp must be a whole number of seconds .* int\(time\.time\(\)\)$",
    ):
        sign_login(CREDENTIALS, timestamp)  # type: ignore[arg-type]  # as an untyped caller may pass


# --- RSA keys ---


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    format: PrivateFormat = PrivateFormat.PKCS8,
    password: bytes | None = None,
) -> str:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, format, encryption).decode()


@pytest.mark.parametrize("format", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("around", ["{}", "\n  {}", "{}\n\n"])
def test_an_rsa_key_signs_the_same_text_with_rsa_sha256(
    rsa_key: rsa.RSAPrivateKey, format: PrivateFormat, around: str
) -> None:
    signed = sign_login(Credentials(API_KEY, around.format(pem(rsa_key, format)), PASSPHRASE), NOW)
    rsa_key.public_key().verify(
        base64.b64decode(signed.sign, validate=True),
        b"1700000000GET/user/verify",
        padding.PKCS1v15(),
        hashes.SHA256(),
    )
    assert signed.timestamp == "1700000000"


@pytest.mark.parametrize(
    "spoiled", ["cut short", "not ASCII", "line feeds written out", "its first line alone"]
)
def test_an_unreadable_private_key_is_refused_without_showing_it(
    rsa_key: rsa.RSAPrivateKey, spoiled: str
) -> None:
    whole = pem(rsa_key)
    secret = {
        "cut short": whole[:200],
        "not ASCII": whole.replace("A", "é"),
        "line feeds written out": whole.replace("\n", "\\n"),
        "its first line alone": "-----BEGIN PRIVATE KEY-----",
    }[spoiled]
    with pytest.raises(
        ValidationError, match=r"cannot be read as one: pass the whole text of the file"
    ) as refused:
        sign_login(Credentials("k", secret, "p"), NOW)
    written = "".join(traceback.format_exception(refused.value))
    assert not any(line in written for line in whole.splitlines() if len(line) > 40)


@pytest.mark.parametrize("format", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_private_key_is_refused_with_a_decrypt_command(
    rsa_key: rsa.RSAPrivateKey, format: PrivateFormat
) -> None:
    with pytest.raises(ValidationError, match=r"unencrypted \(openssl rsa -in KEY -out PLAIN"):
        sign_login(Credentials("k", pem(rsa_key, format, b"x"), "p"), NOW)


def test_a_private_key_of_another_kind_is_refused() -> None:
    with pytest.raises(
        ValidationError,
        match=r"^secret is a private key, but not an RSA key: create an API key of .* HMAC or RSA$",
    ):
        sign_login(Credentials("k", pem(ec.generate_private_key(ec.SECP256R1())), "p"), NOW)


def test_an_rsa_key_without_the_extra_names_the_command_that_installs_it(
    rsa_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(ImportError, match=r"pip install 'bitget-proto\[rsa\]'$"):
        sign_login(Credentials("k", pem(rsa_key), "p"), NOW)


# --- valid and invalid parts of a key ---


@pytest.mark.parametrize("name", ["api_key", "secret", "passphrase"])
@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("", "an empty string"),
        (None, "a value of type NoneType"),
        (b"hush-hush", "a value of type bytes"),
    ],
)
def test_an_empty_or_non_string_part_is_refused_without_showing_it(
    name: str, value: object, what: str
) -> None:
    parts: dict[str, object] = {
        "api_key": API_KEY,
        "secret": SECRET,
        "passphrase": PASSPHRASE,
        name: value,
    }
    with pytest.raises(ValidationError) as refused:
        Credentials(**parts)  # type: ignore[arg-type]  # as an untyped caller may pass
    assert str(refused.value) == f"{name} must be a string that is not empty; got {what}"


PASTED = [
    ("hush\n", "a blank or a line break"),
    ("\thush", "a blank or a line break"),
    ("\r\nhush", "a blank or a line break"),
    (" hush", "a blank or a line break"),
    ("hush ", "a blank or a line break"),
    ("hush\u00a0", "a blank or a line break"),
    (" ", "a blank or a line break"),
    ('"hush"', "a quote"),
    ("'hush'", "a quote"),
    ("“hush”", "a quote"),
    ("`hush`", "a quote"),
    ("\ufeffhush", "a byte-order mark or another invisible character"),
    ("hush\u200b", "a byte-order mark or another invisible character"),
]


@pytest.mark.parametrize("name", ["api_key", "secret", "passphrase"])
@pytest.mark.parametrize(("pasted", "around"), PASTED)
def test_a_part_with_characters_from_a_paste_is_refused_and_not_shown(
    name: str, pasted: str, around: str
) -> None:
    parts = {"api_key": API_KEY, "secret": SECRET, "passphrase": PASSPHRASE, name: pasted}
    with pytest.raises(ValidationError) as refused:
        Credentials(**parts)
    assert str(refused.value) == (
        f"{name} must be the bare value; got one with {around} around it, as from a paste or a file: remove it"
    )


@pytest.mark.parametrize("quoted", ["'hush", 'hush"', "'"])
def test_a_single_quote_is_allowed_only_in_a_passphrase(
    quoted: str,
) -> None:
    assert Credentials(API_KEY, SECRET, quoted).passphrase == quoted
    for parts in ((quoted, SECRET, PASSPHRASE), (API_KEY, quoted, PASSPHRASE)):
        with pytest.raises(
            ValidationError, match=r"must be the bare value; got one with a quote around it"
        ):
            Credentials(*parts)


@pytest.mark.parametrize("inside", ["hu sh", "hu'sh", "hu\ufeffsh", "hush,"])
def test_blanks_and_quotes_inside_a_part_are_allowed(inside: str) -> None:
    assert Credentials(inside, inside, inside).secret == inside


def test_a_private_key_may_be_surrounded_by_line_breaks_only() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"
    assert Credentials(API_KEY, f"\n {text}\n", PASSPHRASE).secret == f"\n {text}\n"
    for wrong in (f'"{text}"', f"\ufeff{text}"):
        with pytest.raises(ValidationError, match=r"^secret must be the bare value"):
            Credentials(API_KEY, wrong, PASSPHRASE)


def test_a_string_subclass_is_stored_as_a_plain_string() -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    kept = Credentials(Text("k"), "s", "p").api_key
    assert type(kept) is str
    assert kept == "k"


def test_keys_compare_and_hash_by_value() -> None:
    assert Credentials(API_KEY, SECRET, PASSPHRASE) == CREDENTIALS
    assert Credentials(API_KEY, "other", PASSPHRASE) != CREDENTIALS
    assert len({Credentials(API_KEY, SECRET, PASSPHRASE), CREDENTIALS, LOGIN}) == 2
    assert SignedLogin(API_KEY, PASSPHRASE, "1700000000", "other") != LOGIN
    assert CREDENTIALS != "bg_apikey"


# --- secrets do not leak ---

HOLDERS = [CREDENTIALS, LOGIN]


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(
    "write",
    [repr, str, "{}".format, "{!r}".format, "%s".__mod__, pprint.pformat, ascii],
    ids=range(7),
)
def test_no_string_conversion_of_a_key_shows_a_part_of_it(
    holder: object, write: Callable[[object], str]
) -> None:
    assert hides_everything(write(holder))
    assert hides_everything(write([holder]))


def test_an_object_that_holds_a_login_hides_it() -> None:
    request = LoginRequest(LOGIN)
    assert hides_everything(repr(request))
    assert hides_everything(repr(attrs.asdict(request)))
    assert hides_everything(repr(cattrs.unstructure(request)))
    with pytest.raises(TypeError):
        pickle.dumps(request)


def test_the_repr_of_a_login_frame_hides_it() -> None:
    assert hides_everything(repr(Transmit(text=f"{API_KEY}{PASSPHRASE}{SIGN}", secret=True)))
    assert not hides_everything(repr(Transmit(text=API_KEY)))


@pytest.mark.parametrize("holder", HOLDERS)
def test_logging_a_key_does_not_show_it(holder: object) -> None:
    stream = io.StringIO()
    logging.StreamHandler(stream).emit(
        logging.LogRecord("n", logging.INFO, "p", 1, "made %s %r", (holder, holder), None)
    )
    assert type(holder).__name__ in stream.getvalue()
    assert hides_everything(stream.getvalue())


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_cannot_be_pickled_and_the_refusal_hides_it(holder: object, protocol: int) -> None:
    stream = io.BytesIO()
    with pytest.raises(
        TypeError, match=r"holds secrets and cannot be pickled: create it where"
    ) as refused:
        pickle.Pickler(stream, protocol).dump(["before", holder])
    assert hides_everything(str(refused.value))
    assert hides_everything(stream.getvalue().decode("latin-1"))


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_copy_of_a_key_is_the_key_itself(holder: object) -> None:
    assert copy.copy(holder) is holder
    assert copy.deepcopy([holder])[0] is holder


@pytest.mark.parametrize("holder", HOLDERS)
def test_attrs_and_cattrs_cannot_unstructure_a_key(holder: object) -> None:
    assert not attrs.has(type(holder))
    assert hides_everything(repr(cattrs.unstructure(holder)))
    assert hides_everything(repr(cattrs.Converter().unstructure({"key": holder})))
    with pytest.raises(attrs.exceptions.NotAnAttrsClassError):
        attrs.asdict(holder)  # type: ignore[arg-type]  # a mistake that must not show secrets


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_key_has_no_instance_dictionary(holder: object) -> None:
    with pytest.raises(TypeError):
        vars(holder)


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_key_is_immutable_and_the_error_hides_it(holder: object) -> None:
    changes: list[tuple[Callable[..., None], tuple[str, ...]]] = [
        (setattr, ("api_key", "hush")),
        (setattr, ("other", "hush")),
        (delattr, ("api_key",)),
    ]
    for change, arguments in changes:
        with pytest.raises(AttributeError, match="does not change once made") as refused:
            change(holder, *arguments)
        assert hides_everything(str(refused.value))
        assert "hush" not in str(refused.value)
    assert getattr(holder, "api_key") == API_KEY  # noqa: B009 - one name on two types

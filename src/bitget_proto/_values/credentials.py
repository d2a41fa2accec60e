"""API keys, and the signed login made from them.

Secrets must not leak through `repr`, `str`, exception messages, pickles, `attrs.asdict` or a cattrs
converter: that is why these are not attrs classes. The state machine only gets the `SignedLogin`;
the caller's clock provides the timestamp.
"""

import base64
from typing import Any, ClassVar, NoReturn, Self

from .errors import ValidationError, safe_repr
from .set_module import set_module

_PEM = "-----BEGIN "
_QUOTES = frozenset("\"'`“”‘’")
_INVISIBLE = frozenset("\u200b\u200e\u200f\u2060\ufeff")
"""Zero-width characters, including the byte-order mark."""
_MILLISECONDS_FROM = 10**11
"""The year 5138 in seconds, March 1973 in milliseconds."""


class _Secret:
    """An immutable value with secret parts. It can be compared, but not shown or pickled."""

    __slots__: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **parts: object) -> None:
        for name, value in parts.items():
            if hasattr(self, name):
                raise AttributeError(f"{type(self).__name__} does not change once made")
            if not isinstance(value, str) or not value:
                what = (
                    "an empty string" if value == "" else f"a value of type {type(value).__name__}"
                )
                raise ValidationError(f"{name} must be a string that is not empty; got {what}")
            object.__setattr__(self, name, str.__str__(value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<{', '.join(self.__slots__)}: not shown>)"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__slots__)))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} does not change once made")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} does not change once made")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds secrets and cannot be serialised")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds secrets and cannot be pickled: create it where it is "
            "needed"
        )


@set_module("bitget_proto")
class Credentials(_Secret):
    """An API key as shown on the exchange's key page; pass it to `sign_login`.

    `secret` is the secret key (HMAC) or, for an RSA key, the private key in PEM format, which is
    recognised by its first line. `repr` shows none of the three, and an instance cannot be pickled.

    Raises: ValidationError when a value is empty or not a string, or begins or ends with a blank,
    an invisible character or a quote, as pasted text may. A passphrase may have a quote at one end,
    and a private key may end with a line break. The message never contains the value.
    """

    __slots__ = ("api_key", "secret", "passphrase")  # noqa: RUF023 - the order of the constructor

    api_key: str
    secret: str
    passphrase: str

    def __init__(self, api_key: str, secret: str, passphrase: str) -> None:
        super().__init__(api_key=api_key, secret=secret, passphrase=passphrase)
        for name in self.__slots__:
            around = _around(name, getattr(self, name))
            if around is not None:
                raise ValidationError(
                    f"{name} must be the bare value; got one with {around} around it, as from a "
                    "paste or a file: remove it"
                )


def _around(name: str, value: str) -> str | None:
    """Describe an extra character at the beginning or end of a value; None if there is none."""
    ends = {value[0], value[-1]}
    if ends & _INVISIBLE:
        return "a byte-order mark or another invisible character"
    # A private key in PEM format ends with a line break.
    if any(end.isspace() for end in ends) and not value.lstrip().startswith(_PEM):
        return "a blank or a line break"
    # A passphrase is chosen by the user and may begin or end with a quote.
    if ends & _QUOTES and (name != "passphrase" or (len(value) > 1 and ends <= _QUOTES)):
        return "a quote"
    return None


@set_module("bitget_proto")
class SignedLogin(_Secret):
    """A signed login request; pass it to `Connection.opened`. It expires 30 s after its timestamp.

    `timestamp` is in whole seconds, as a decimal string; `sign` is the signature in base64.
    """

    __slots__ = ("api_key", "passphrase", "timestamp", "sign")  # noqa: RUF023 - the order of the wire

    api_key: str
    passphrase: str
    timestamp: str
    sign: str

    def __init__(self, api_key: str, passphrase: str, timestamp: str, sign: str) -> None:
        super().__init__(api_key=api_key, passphrase=passphrase, timestamp=timestamp, sign=sign)


def sign_login(credentials: Credentials, timestamp: int) -> SignedLogin:
    """Return a login signed for `timestamp`, in whole seconds since 1970: `int(time.time())`.

    The signature is `base64(hmac_sha256(secret, timestamp + "GET" + "/user/verify"))` or, for an
    RSA key, RSA-SHA256 (PKCS #1 v1.5) of the same text (Websocket API, Login). The exchange's pages
    disagree on whether the unit is seconds or milliseconds. The exchange accepts both; seconds as a
    string have been in use longest.

    Raises: ValidationError for a timestamp that is not a whole number of seconds, or for a private
    key that cannot be read; ImportError, with the command to install it, when an RSA key is used
    without the package `cryptography`.
    """
    check_credentials(credentials)
    if isinstance(timestamp, bool) or not isinstance(timestamp, int) or timestamp < 0:
        raise ValidationError(
            f"timestamp must be a whole number of seconds since 1970; got {safe_repr(timestamp)}: "
            "pass int(time.time())"
        )
    if timestamp >= _MILLISECONDS_FROM:
        raise ValidationError(
            f"timestamp must be a whole number of seconds since 1970; got {safe_repr(timestamp)}, "
            "which looks like milliseconds: pass int(time.time()), or divide by 1000"
        )
    return sign_stamp(credentials, str(int(timestamp)))


def sign_stamp(credentials: Credentials, stamp: str) -> SignedLogin:
    """Return a login signed for a timestamp of any unit, as it is written to the wire.

    The fake exchange compares a client's login with it.

    Raises: ValidationError for a private key that cannot be read; ImportError when an RSA key is
    used without the package `cryptography`.
    """
    sign = signature(credentials, f"{stamp}GET/user/verify")
    return SignedLogin(credentials.api_key, credentials.passphrase, stamp, sign)


def check_credentials(credentials: object) -> None:
    """Raise ValidationError for anything but `Credentials`."""
    if not isinstance(credentials, Credentials):
        raise ValidationError(
            f"credentials must be Credentials; got a value of type {type(credentials).__name__}: "
            "pass Credentials(api_key, secret, passphrase)"
        )


def signature(credentials: Credentials, text: str) -> str:
    """Return the signature of a text in base64.

    Raises: ValidationError for a private key that cannot be read; ImportError when an RSA key is
    used without the package `cryptography`.
    """
    if credentials.secret.lstrip().startswith(_PEM):
        made = _rsa_sha256(credentials.secret, text.encode())
    else:
        import hmac  # loads OpenSSL: a tenth of the import time of this package

        secret = credentials.secret.encode("utf-8", "surrogatepass")
        made = hmac.digest(secret, text.encode(), "sha256")
    return base64.b64encode(made).decode("ascii")


def _rsa_sha256(private_key: str, text: bytes) -> bytes:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise ImportError(
            "the secret is an RSA private key, and signing with it requires the package "
            "cryptography: pip install 'bitget-proto[rsa]'"
        ) from None
    try:
        key = serialization.load_pem_private_key(private_key.encode("ascii"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # `from None`: the parser's exception and its frames may contain parts of the key.
        raise ValidationError(
            "secret begins like a private key in PEM format but cannot be read as one: pass the "
            "whole text of the file, unencrypted (openssl rsa -in KEY -out PLAIN removes the "
            "passphrase)"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValidationError(
            "secret is a private key, but not an RSA key: create an API key of type HMAC or RSA"
        )
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256())

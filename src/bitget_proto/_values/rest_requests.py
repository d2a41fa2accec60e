"""Requests to the exchange's REST API as values, and their signature. Nothing here sends them."""

import re
from typing import Final, Literal

import attrs

from .credentials import Credentials, check_credentials, signature
from .errors import ValidationError, safe_repr
from .set_module import set_module

COUNTDOWNS: Final = range(5, 61)
"""Seconds: the countdowns that the exchange takes (REST API V3, Countdown Cancel All)."""

_MILLISECONDS = range(10**12, 10**14)
"""The timestamps in milliseconds from 2001 to 5138. In seconds they are far smaller."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class RestRequest:
    """A request to send to `https://api.bitget.com` with the headers of `sign_request`.

    Send the texts unchanged: the signature is computed from them.
    """

    method: Literal["GET", "POST"]
    path: str
    query: str = ""
    """Without the question mark, and percent-encoded."""

    body: str = ""
    """JSON, or empty."""

    @property
    def target(self) -> str:
        """The path, and the query if there is one."""
        return f"{self.path}?{self.query}" if self.query else self.path


def sign_request(
    credentials: Credentials, request: RestRequest, timestamp_ms: int, *, demo: bool = False
) -> dict[str, str]:
    """Return the headers of a request, signed for a time in whole milliseconds since 1970.

    The signature is `base64(hmac_sha256(secret, timestamp + method + path + "?" + query + body))`
    or, for an RSA key, RSA-SHA256 of the same text (REST API, Signature). The query in this text is
    not percent-encoded: the exchange refuses the signature of an encoded query (40009; ccxt issue
    28888). The exchange also refuses a timestamp that is 30 s away from its clock (40008). `demo`
    is for the keys of demo trading. The headers contain secrets: never log them.

    Raises: ValidationError for a timestamp that is not in milliseconds, or for a private key that
    cannot be read; ImportError, with the command to install it, when an RSA key is used without the
    package `cryptography`.
    """
    check_credentials(credentials)
    if not isinstance(request, RestRequest):
        raise ValidationError(f"request must be a RestRequest; got {safe_repr(request)}")
    if type(timestamp_ms) is not int or timestamp_ms not in _MILLISECONDS:
        raise ValidationError(
            f"timestamp_ms must be whole milliseconds since 1970; got {safe_repr(timestamp_ms)}: "
            "pass int(time.time() * 1000)"
        )
    query = f"?{_decoded(request.query)}" if request.query else ""
    text = f"{timestamp_ms}{request.method}{request.path}{query}{request.body}"
    headers = {
        "ACCESS-KEY": credentials.api_key,
        "ACCESS-SIGN": signature(credentials, text),
        "ACCESS-TIMESTAMP": str(timestamp_ms),
        "ACCESS-PASSPHRASE": credentials.passphrase,
        "Content-Type": "application/json",
    }
    return headers | {"paptrading": "1"} if demo else headers


_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")


def _decoded(query: str) -> str:
    """Return a query without percent-encoding, as the exchange reads it."""
    found = _ENCODED.sub(lambda each: bytes.fromhex(each[1].decode()), query.encode())
    return found.decode(errors="replace")

"""Exceptions of `connect` and `open_session`, of `cancel_all`, and of `guard`.

Messages are for people: one or two sentences with the cause and what to do. Programs use the class
and its attributes. When `connect` or `open_session` raises ConnectFailed, at most a login was sent
and no cancel was taken.
"""

from bitget_proto import CodeClass, LoginRejected

from .checks import safe_repr
from .set_module import set_module

_UPGRADE_HINTS = {
    401: "check the URL and any proxy, since the exchange itself asks for no HTTP credentials",
    403: "check from where you may connect, since the exchange, or something between you and it, "
    "refuses this address",
    404: "check the path of the URL, which must end in /v2/ws/private (classic accounts) or /v3/ws/private (unified)",
    407: "give the proxy's credentials in its URL",
    429: "wait, since the exchange allows 300 connection requests in 5 minutes from one IP address",
}

_NOT_PRIVATE = (
    "check the URL, which is not that of the private WebSocket (its path ends in /v2/ws/private, "
    "for unified accounts in /v3/ws/private)"
)
_WRONG_MODE = "check the mode of the account, classic or unified, which must be that of the URL"
_MALFORMED = "check the API key and the passphrase, and the path of the URL"

_LOGIN_HINTS = {
    "30001": _NOT_PRIVATE,
    "30002": _MALFORMED,
    "30003": _NOT_PRIVATE,
    "30011": "check the API key, and that a demo key is used for demo trading and a live key for "
    "live trading",
    "30012": "check the passphrase, which is the one chosen when the key was made",
    "30013": "check this machine's clock, which gives the timestamp of the login",
    "30014": "check this machine's clock, since a login expires 30 s after its timestamp",
    "30015": "check the secret, which signs the login",
    "30016": _MALFORMED,
    "40084": _WRONG_MODE,
    "40085": _WRONG_MODE,
    "25245": _WRONG_MODE,
}


SKEW_NOTICED = 5.0
"""A clock that is wrong by at least this many seconds is reported. A login is valid for 30 s, and
the exchange gives whole seconds.
"""


@set_module("bitget_transports")
class ConnectFailed(ConnectionError):
    """No connection could be opened. The message says why and what to do; `__cause__` is the
    exception of the layer below.
    """


@set_module("bitget_transports")
class UpgradeRefused(ConnectFailed):
    """The server answered, but not with a WebSocket.

    `status` is the HTTP status of its answer. `retry_after` is the number of seconds after which an
    answer of 429 or 503 asks to retry; None when it does not say.
    """

    status: int
    retry_after: float | None

    def __init__(
        self, host: str, status: int, body: bytes = b"", retry_after: float | None = None
    ) -> None:
        self.status = status
        self.retry_after = retry_after
        excerpt = safe_repr(body.decode("utf-8", "replace").strip()[:80]) if body.strip() else ""
        said = f", saying {excerpt}" if excerpt else ""
        hint = _UPGRADE_HINTS.get(status, "try again later" if status >= 500 else "check the URL")
        wait = "" if retry_after is None else f", and asks to retry after {retry_after:.0f} s"
        super().__init__(
            f"{host} refused the WebSocket with HTTP status {status}{said}{wait}: {hint}"
        )


@set_module("bitget_transports")
class LoginRefused(ConnectFailed):
    """The exchange refused the login. Trying again with the same keys does not help, and may get
    the address blocked.
    """

    code: str | None
    code_class: CodeClass
    message: str

    def __init__(self, rejected: LoginRejected, skew: float | None = None) -> None:
        self.code = rejected.code
        self.code_class = rejected.code_class
        self.message = rejected.message
        hint = _LOGIN_HINTS.get(
            rejected.code or "",
            "try again later"
            if rejected.code_class is CodeClass.OUTCOME_UNKNOWN
            else "check the key, its permissions and its list of IP addresses",
        )
        if rejected.code in ("30013", "30014") and skew is not None and abs(skew) >= SKEW_NOTICED:
            where = "ahead of" if skew > 0 else "behind"
            hint = f"set this machine's clock, which is {abs(skew):.0f} s {where} the exchange's"
        code = "without a readable code" if rejected.code is None else f"with code {rejected.code}"
        super().__init__(
            f"the exchange refused the login {code}, saying {safe_repr(rejected.message)}: {hint}"
        )


@set_module("bitget_transports")
class RestFailed(ConnectionError):
    """REST did not give what `cancel_all` needs: a list of the open orders."""


@set_module("bitget_transports")
class GuardFailed(ConnectionError):
    """The countdown of `guard` could not be started or turned off, or is not known to be on. The
    message says why and what to do.
    """

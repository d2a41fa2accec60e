"""What `connect` raises: no connection came about, and what to do about it.

Rules of this file
- Each message is one or two sentences for people: what came, and what to do. Programs look at the class and its fields.
- Nothing was sent but, at most, a login: no cancel was taken, so none needs an outcome.
"""

from bitget_proto import CodeClass, LoginRejected

from .checks import safe_repr
from .set_module import set_module

_UPGRADE_HINTS = {
    401: "check the URL and any proxy, since the exchange itself asks for no HTTP credentials",
    403: "check from where you may connect, since the exchange, or something between you and it, refuses this address",
    404: "check the path of the URL, which must end in /v2/ws/private",
    407: "give the proxy's credentials in its URL",
    429: "wait, since the exchange allows 300 connection requests in 5 minutes from one IP address",
}

_LOGIN_HINTS = {
    "30011": "check the API key, and that a demo key goes to demo trading and a live one to live trading",
    "30012": "check the passphrase, which is the one chosen when the key was made",
    "30013": "check this machine's clock, from which the stamp of the login comes",
    "30014": "check this machine's clock, since a login expires 30 s after its stamp",
    "30015": "check the secret, with which the signature is made",
}


_NOTICED = 5.0
"""Seconds from which on a clock is told to be wrong: a login is valid for 30, and the exchange tells whole ones."""


@set_module("bitget_transports")
class ConnectFailed(ConnectionError):
    """No connection came about. Its text says why and what to do; `__cause__` is what the layer below raised."""


@set_module("bitget_transports")
class UpgradeRefused(ConnectFailed):
    """The server answered, but not with a WebSocket.

    `status` is the HTTP status of its answer. `retry_after` is for how many seconds an answer of 429 or 503 asks to stay away;
    None when it does not say.
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
        wait = "" if retry_after is None else f", and asks to be left alone for {retry_after:.0f} s"
        super().__init__(
            f"{host} refused the WebSocket with HTTP status {status}{said}{wait}: {hint}"
        )


@set_module("bitget_transports")
class LoginRefused(ConnectFailed):
    """The exchange refused the login. Trying again with the same keys will not help, and may get the address blocked."""

    code: str | None
    code_class: CodeClass
    message: str

    def __init__(self, rejected: LoginRejected, skew: float | None = None) -> None:
        self.code = rejected.code
        self.code_class = rejected.code_class
        self.message = rejected.message
        hint = _LOGIN_HINTS.get(
            rejected.code or "", "check the key, its permissions and its list of IP addresses"
        )
        if rejected.code in ("30013", "30014") and skew is not None and abs(skew) >= _NOTICED:
            where = "ahead of" if skew > 0 else "behind"
            hint = (
                f"set this machine's clock right, which is {abs(skew):.0f} s {where} the exchange's"
            )
        code = "without a readable code" if rejected.code is None else f"with code {rejected.code}"
        super().__init__(
            f"the exchange refused the login {code}, saying {safe_repr(rejected.message)}: {hint}"
        )

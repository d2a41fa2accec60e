"""The account that a channel logs in to."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from math import inf
from typing import Self

import attrs

from bitget_proto import (
    CallerError,
    Credentials,
    RestRequest,
    SignedLogin,
    ValidationError,
    sign_login,
    sign_request,
)

from .checks import safe_repr
from .connect_errors import clock_failed
from .errors import RestFailed
from .proxy import ProxySetting
from .redactor import Redactor
from .rest import origin_of
from .url import Target


@attrs.frozen
class Account:
    """Credentials, the URL to log in to, and the wall clock for the login."""

    credentials: Credentials
    target: Target
    wall_clock: Callable[[], float]
    """Seconds since 1970."""

    redactor: Redactor = attrs.field(init=False, eq=False, repr=False)
    """Hides the secrets, and what was signed with them."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "redactor", Redactor(self.credentials))

    @classmethod
    def of(
        cls,
        credentials: Credentials,
        url: str,
        tls: ssl.SSLContext | None,
        wall_clock: Callable[[], float],
        *,
        allow_plaintext: bool,
        proxy: ProxySetting = None,
    ) -> Self:
        """Check all arguments before anything is dialled.

        Raises: ValidationError for a URL or a proxy that must not be dialled, a key that cannot
        sign, or a clock that does not give a time.
        """
        if not callable(wall_clock):
            raise ValidationError(
                f"wall_clock must be callable, such as time.time; got {safe_repr(wall_clock)}"
            )
        target = Target.of(url, tls, allow_plaintext=allow_plaintext, proxy=proxy)
        sign_login(credentials, 0)  # so that a key that cannot sign is refused here
        self = cls(credentials, target, wall_clock)
        now = self.sign_now()
        if isinstance(now, CallerError):
            if isinstance(now.error, ValidationError):
                raise now.error
            raise ValidationError(clock_failed(now)) from now.error
        return self

    def sign(self, time: float) -> SignedLogin:
        """Return a login that is signed for this time."""
        login = sign_login(self.credentials, int(time))
        self.redactor.logins.append(login.sign)
        return login

    def sign_rest(self, request: RestRequest, time: float | None = None) -> dict[str, str]:
        """Return the headers of a REST request, signed for `time`; None is the time of the wall
        clock.

        Raises: RestFailed if the wall clock fails.
        """
        _, demo = origin_of(self.target)
        try:
            stamp = int((self.wall_clock() if time is None else time) * 1000)
            headers = sign_request(self.credentials, request, stamp, demo=demo)
        except Exception as error:
            raise RestFailed(f"a request could not be signed: {error}") from error
        self.redactor.requests.append(headers["ACCESS-SIGN"])
        return headers

    def why(self, error: Exception) -> str:
        """Return why a request got no answer, for people: an exception may repeat the headers."""
        return self.redactor.hide(f"{type(error).__name__}: {error}".rstrip(": "))

    def sign_now(self) -> tuple[float, SignedLogin] | CallerError:
        """Return the time of the wall clock and a login that is signed for it, or how it failed."""
        try:
            time = self.wall_clock()
            valid = isinstance(time, (float, int)) and 0.0 <= time < inf
        except Exception as error:  # noqa: BLE001 - it is the caller's
            return CallerError(where="wall_clock", error=error)
        if not valid:
            refused = ValidationError(
                f"wall_clock must give seconds since 1970; it gave {safe_repr(time)}"
            )
            return CallerError(where="wall_clock", error=refused)
        try:
            return time, self.sign(time)
        except ValidationError as error:  # the time is in milliseconds
            return CallerError(where="wall_clock", error=error)

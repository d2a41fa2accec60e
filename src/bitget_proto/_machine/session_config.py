"""The limits of a session, each a value that can be changed or, with None, switched off.

Rules of this file
- A default is the exchange's number where it gives one, and says so; else it is ours.
- Checked when made: a session never meets a limit that makes no sense.
"""

from typing import Any

import attrs

from .._values.enums import DescribedEnum
from .._values.errors import ValidationError, safe_repr
from .._values.set_module import set_module
from .connection_config import Config, check_count, check_flag, check_seconds


@set_module("bitget_proto")
class Policy(DescribedEnum):
    """What becomes of a cancel that was sent on a link which ended before the answer."""

    REPORT = (
        "report",
        "It is `Unresolved(sent=True)` at once, and you decide. No cancel is ever sent twice.",
    )
    RESEND = "resend", "It is sent again on the next link. It may act twice on the same order."


def check_policy(value: object) -> Policy:
    """The policy, checked.

    Raises: ValidationError, and nothing has changed.
    """
    if isinstance(value, Policy):
        return value
    raise ValidationError(f"policy must be Policy.REPORT or Policy.RESEND; got {safe_repr(value)}")


def _policy(_: object, __: "attrs.Attribute[Any]", value: object) -> None:
    check_policy(value)


def _link(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, Config):
        raise ValidationError(f"{attribute.name} must be a Config; got {safe_repr(value)}")


def _seconds(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None:
        raise ValidationError(
            f"{attribute.name} must be a finite number of seconds above 0; got None"
        )
    check_seconds(_, attribute, value)


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class SessionConfig:
    """The limits of a `Session`. Seconds, and counts; None switches a limit off.

    Raises: ValidationError that names the limit, what came and what is allowed.
    """

    link: Config = attrs.field(factory=Config, validator=_link)
    """The limits of each link. Its `max_in_flight`, `max_own_frames`, `queue_timeout` and `id_prefix` hold for the session as
    a whole."""

    policy: Policy = attrs.field(default=Policy.REPORT, validator=_policy)
    """What becomes of a cancel that was sent on a link which ended before the answer, where `Session.cancel` is not told."""

    client_oids_unique: bool = attrs.field(default=False, validator=check_flag)
    """Whether you never use a `client_oid` for a second order. Only then is a cancel that has no `order_id` ever sent again:
    it might meet another order than the one it was for."""

    no_link_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds that a cancel waits while no link serves, counted from the later of `cancel` and `Down`. Ours."""

    resend_interval: float | None = attrs.field(default=1.0, validator=check_seconds)
    """Seconds from one cancel of an order under `Policy.RESEND` to the next that the session sends by itself. "The same order
    may be cancelled once a second" is what 45129 says."""

    dial_timeout: float | None = attrs.field(default=20.0, validator=check_seconds)
    """Seconds from `Dial` to `opened` or `lost`, after which the dial is given up. Ours, and a net below your own limit."""

    dials_per_5_minutes: int | None = attrs.field(default=300, validator=check_count)
    """Dials in any 5 minutes: as many as the exchange takes from one IP address (Websocket API, Connect). Lower it where
    several sessions share an address."""

    backoff_min: float | None = attrs.field(default=0.5, validator=check_seconds)
    """Seconds from the end of a link to the next dial, of which the jitter takes away up to a half. They double with each link
    that ends before it has served for `steady_after`. None for no backoff. Ours."""

    backoff_max: float | None = attrs.field(default=30.0, validator=check_seconds)
    """Seconds beyond which the backoff does not grow. Ours."""

    steady_after: float | None = attrs.field(default=2.0, validator=check_seconds)
    """Seconds that a link must have served for the backoff to begin anew; None for at once. Ours: an exchange that accepts
    each login and drops each link must not be dialled without end."""

    lifetime: float | None = attrs.field(default=86400.0, validator=check_seconds)
    """Seconds after which the exchange cuts every link: 24 hours, announced in 2024 and still seen."""

    rotate_before: float = attrs.field(default=600.0, validator=_seconds)
    """How many seconds before `lifetime` the successor is dialled. Ours."""

    def __attrs_post_init__(self) -> None:
        if self.lifetime is not None and self.rotate_before >= self.lifetime:
            raise ValidationError(
                f"rotate_before must be less than lifetime ({self.lifetime:g} s); got {self.rotate_before:g} s: lower it, or "
                "raise lifetime"
            )
        if (
            self.backoff_min is not None
            and self.backoff_max is not None
            and self.backoff_max < self.backoff_min
        ):
            raise ValidationError(
                f"backoff_max must be at least backoff_min ({self.backoff_min:g} s); got {self.backoff_max:g} s: raise it, or "
                "lower backoff_min"
            )

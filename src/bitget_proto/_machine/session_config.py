"""The limits of a session.

If the exchange gives a number for a limit, that number is the default, and the docstring says so.
All other defaults are our choice. Values are validated on creation.
"""

from typing import Any

import attrs

from .._values.enums import DescribedEnum
from .._values.errors import ValidationError, safe_repr
from .._values.set_module import set_module
from .connection_config import Config, check_count, check_flag, check_seconds

_MAX_LINKS = 100
"""The connections that an IP address may have (Websocket API, Connect)."""


@set_module("bitget_proto")
class Policy(DescribedEnum):
    """What to do with a cancel that was sent on a link that ended before the answer."""

    REPORT = (
        "report",
        "It ends `Unresolved(sent=True)` at once, and you decide. No cancel is sent twice.",
    )
    RESEND = "resend", "It is sent again on the next link. It may act twice on the same order."


def check_policy(value: object) -> Policy:
    """Return `value` if it is a `Policy`.

    Raises: ValidationError for anything else.
    """
    if isinstance(value, Policy):
        return value
    raise ValidationError(f"policy must be Policy.REPORT or Policy.RESEND; got {safe_repr(value)}")


def _policy(_: object, __: "attrs.Attribute[Any]", value: object) -> None:
    check_policy(value)


def _link(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, Config):
        raise ValidationError(f"{attribute.name} must be a Config; got {safe_repr(value)}")


def _links(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if type(value) is not int or not 1 <= value <= _MAX_LINKS:
        raise ValidationError(
            f"{attribute.name} must be a whole number from 1 to {_MAX_LINKS}; got {safe_repr(value)}"
        )


def _seconds(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None:
        raise ValidationError(
            f"{attribute.name} must be a finite number of seconds above 0; got None"
        )
    check_seconds(_, attribute, value)


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class SessionConfig:
    """The limits of a `Session`, in seconds and counts. None switches a limit off.

    Raises: ValidationError that names the limit, the value given and what is allowed.
    """

    link: Config = attrs.field(factory=Config, validator=_link)
    """The limits of each link. Its `max_in_flight`, `max_own_frames`, `queue_timeout` and
    `id_prefix` apply to the session as a whole."""

    links: int = attrs.field(default=1, validator=_links)
    """The number of links to keep open, 1 to 100: an IP address may have 100 connections (Websocket
    API, Connect). A link sends 10 messages a second, so an account that may send 60 cancels a
    second needs 6, and a `Budget(60)`. Each cancel is sent on the link that can send it first."""

    policy: Policy = attrs.field(default=Policy.REPORT, validator=_policy)
    """The policy of cancels for which you pass none."""

    client_oids_unique: bool = attrs.field(default=False, validator=check_flag)
    """Whether you never use a `client_oid` for a second order. If this is false, a cancel without
    an `order_id` is never sent twice: it might cancel a different order."""

    no_link_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds that a cancel waits without a link, from `cancel` or a later `Down`. Our choice."""

    rest_after: float | None = attrs.field(default=None, validator=check_seconds)
    """Seconds, from `cancel` or from the cancel's return to the queue, after which a cancel that no
    link has taken is sent by REST. None, the default, never uses REST. It must be less than
    `no_link_timeout`. With 2 s, a lost link has time to come back. docs/session.md has the
    rules."""

    resend_interval: float | None = attrs.field(default=1.0, validator=check_seconds)
    """Seconds that the session waits after a cancel of an order before it sends a cancel of the
    same order again under `Policy.RESEND`. The exchange's reason is 45129: "The same order may be
    cancelled once a second"."""

    dial_timeout: float | None = attrs.field(default=20.0, validator=check_seconds)
    """Seconds from `Dial` to `opened` or `lost`, after which the dial is given up. Our choice, and
    a fallback for your own timeout."""

    dials_per_5_minutes: int | None = attrs.field(default=300, validator=check_count)
    """Dials in any 5 minutes: the exchange's limit for one IP address (Websocket API, Connect).
    Lower it if several sessions share an address."""

    backoff_min: float | None = attrs.field(default=0.5, validator=check_seconds)
    """Seconds from the end of a link to the next dial; the jitter takes off up to half of them.
    They double with each link that ends before it has been up for `steady_after`. None switches the
    backoff off. Our choice."""

    backoff_max: float | None = attrs.field(default=30.0, validator=check_seconds)
    """The maximum backoff in seconds. Our choice."""

    steady_after: float | None = attrs.field(default=2.0, validator=check_seconds)
    """Seconds that a link must be up to reset the backoff; None resets it at once. Our choice: an
    exchange that accepts each login and drops each link must not be dialled without a backoff."""

    lifetime: float | None = attrs.field(default=86400.0, validator=check_seconds)
    """Seconds after which the exchange cuts every link: 24 hours. The exchange announced this in
    2024, and it is still observed."""

    rotate_before: float = attrs.field(default=600.0, validator=_seconds)
    """Seconds before `lifetime` at which the successor is dialled. Our choice."""

    def __attrs_post_init__(self) -> None:
        if (
            self.rest_after is not None
            and self.no_link_timeout is not None
            and self.rest_after >= self.no_link_timeout
        ):
            raise ValidationError(
                f"rest_after must be less than no_link_timeout ({self.no_link_timeout:g} s); got "
                f"{self.rest_after:g} s: lower it, or raise no_link_timeout"
            )
        if self.lifetime is not None and self.rotate_before >= self.lifetime:
            raise ValidationError(
                f"rotate_before must be less than lifetime ({self.lifetime:g} s); got "
                f"{self.rotate_before:g} s: lower it, or raise lifetime"
            )
        if (
            self.backoff_min is not None
            and self.backoff_max is not None
            and self.backoff_max < self.backoff_min
        ):
            raise ValidationError(
                f"backoff_max must be at least backoff_min ({self.backoff_min:g} s); got "
                f"{self.backoff_max:g} s: raise it, or lower backoff_min"
            )

"""The limits of the exchange's side of a WebSocket."""

import attrs

from ..._machine.connection_config import check_count, check_flag, check_seconds
from ..._values.dialects import Dialect
from ..._values.set_module import set_module


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class ExchangeConfig:
    """The limits of an exchange. None switches a limit off.

    Raises: ValidationError for an invalid limit.
    """

    messages_per_second: int | None = attrs.field(default=10, validator=check_count)
    """Messages that a client may send per second, login and pings included."""

    jitter: float | None = attrs.field(default=None, validator=check_seconds)
    """Seconds by which messages may arrive closer together than the rate limit allows.

    None is strict: no window of one second may hold more than `messages_per_second`."""

    ping_timeout: float | None = attrs.field(default=120.0, validator=check_seconds)
    """Seconds without a ping after which the client is dropped."""

    lifetime: float | None = attrs.field(default=86400.0, validator=check_seconds)
    """Seconds after which every connection is cut: 24 hours, announced in 2024, still observed."""

    max_in_flight: int | None = attrs.field(default=1000, validator=check_count)
    """Unanswered cancels that a client may have. Not from the documentation."""

    max_message: int | None = attrs.field(default=65536, validator=check_count)
    """Maximum length of a message: characters of a `str`, bytes of `bytes`."""

    max_depth: int | None = attrs.field(default=32, validator=check_count)
    """Maximum nesting of objects and lists in a message.

    Short messages are not checked: up to 16 characters per allowed level, and at most 512."""

    lenient: bool = attrs.field(default=False, validator=check_flag)
    """Whether to accept requests as existing clients send them.

    That is: the timestamp of a login as a number, `api_key`, and undocumented keys."""

    dialect: Dialect = attrs.field(
        default=Dialect.CLASSIC, validator=attrs.validators.instance_of(Dialect)
    )
    """The API of the exchange's accounts."""

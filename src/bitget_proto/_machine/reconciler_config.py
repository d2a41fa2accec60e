"""The limits of a reconciler.

If the exchange gives a number for a limit, that number is the default, and the docstring says so.
All other defaults are our choice. Values are validated on creation.
"""

from typing import Any

import attrs

from .._values.errors import ValidationError
from .._values.set_module import set_module
from .connection_config import check_count, check_flag, check_seconds


def _needed(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None:
        raise ValidationError(
            f"{attribute.name} must be a limit, because memory is bounded and every order gets a "
            "Final; got None"
        )


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class ReconcilerConfig:
    """The limits of a `Reconciler`, in seconds and counts.

    Raises: ValidationError that names the limit, the value given and what is allowed.
    """

    deadline: float = attrs.field(default=60.0, validator=[_needed, check_seconds])
    """Seconds from `track` to the `Final`, at most. Our choice."""

    settle: float = attrs.field(default=2.0, validator=[_needed, check_seconds])
    """Seconds by which REST may be behind the exchange's book. An order waits this long for a push
    before it is looked up. Only a look-up that is made at least this long after `track` proves that
    the order is still open. Our choice: a look-up within about a second of an acknowledgement may
    still show the state before the acknowledgement."""

    answer_timeout: float = attrs.field(default=10.0, validator=[_needed, check_seconds])
    """Seconds from a `LookUp` to its reply, after which it counts as failed. Our choice."""

    look_ups_per_second: int | None = attrs.field(default=20, validator=check_count)
    """Look-ups of each kind (one order, open orders, history) in any second: "20 times/1s (UID)"
    for each, on spot and on unified accounts. None for no limit."""

    futures_look_ups_per_second: int | None = attrs.field(default=10, validator=check_count)
    """The same for look-ups of futures orders alone: "10 times/1s (UID)" on classic accounts.
    Unified accounts have 20."""

    max_look_ups: int = attrs.field(default=20, validator=[_needed, check_count])
    """Look-ups without a reply at any time. Our choice."""

    max_pages: int = attrs.field(default=50, validator=[_needed, check_count])
    """The maximum number of pages that one pass through the open orders or the history reads. A
    page has up to 100 orders. Our choice."""

    max_tracked: int = attrs.field(default=10_000, validator=[_needed, check_count])
    """Orders whose `Final` was not returned by `poll`. Our choice."""

    client_oids_unique: bool = attrs.field(default=False, validator=check_flag)
    """Whether you never use a `client_oid` for a second order. If this is false, an outcome whose
    order has only a `client_oid`, and whose answer did not name the `order_id`, is `Unknown`."""

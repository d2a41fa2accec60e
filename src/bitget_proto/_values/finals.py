"""What became of an order: the outputs of a `Reconciler`.

A `Final` states only what the exchange has shown. None of them says that your request ended the
order: the exchange never says which request did. Times are seconds on the caller's clock; only
`updated_at` is on the exchange's clock. The union at the end is closed: mypy and pyright report a
`match` that misses a member.
"""

from decimal import Decimal
from typing import TypeAlias

import attrs

from .enums import DescribedEnum
from .events import Outcome, Wait
from .order_updates import Question
from .set_module import set_module


@set_module("bitget_proto")
class Evidence(DescribedEnum):
    """What showed the state of an order."""

    PUSH = "push", "A push of the orders channel."
    LOOK_UP = "look-up", "The answer to a look-up of this order."
    OPEN_ORDERS = "open orders", "A page of the open orders."
    HISTORY = "history", "A page of the orders that have ended."


@set_module("bitget_proto")
class WhyUnknown(DescribedEnum):
    """Why an order ended `Unknown`."""

    DEADLINE = "deadline", "Nothing showed its state within `ReconcilerConfig.deadline` seconds."
    AMBIGUOUS_ID = (
        "ambiguous id",
        (
            "It has only a `client_oid`, which does not identify an order that may have ended: "
            "another order may have the same one."
        ),
    )
    CLOSED = "closed", "You called `Reconciler.close`."
    INTERRUPTED = (
        "interrupted",
        "An exception, such as one raised by a signal handler, interrupted a call of the reconciler.",
    )


@set_module("bitget_proto")
@attrs.frozen
class LookUp:
    """Send this question to the exchange's REST API.

    Then call `Reconciler.looked_up` with this number and the reply, or `Reconciler.failed` if there
    is no reply.
    """

    number: int
    question: Question


@attrs.frozen(kw_only=True)
class _Final:
    number: int
    """The number that `Reconciler.track` returned."""

    outcome: Outcome
    """The outcome that was tracked."""

    order_id: str | None
    """The exchange's id of the order, as far as it is known."""

    client_oid: str | None
    """Your id of the order, as far as it is known."""

    evidence: Evidence | None
    """What showed the state of the order. For `Unknown`, the latest evidence that showed anything
    of the order, or None."""

    tracked_at: float
    """When `Reconciler.track` took it, in seconds on the caller's clock."""

    resolved_at: float
    """When this `Final` was determined."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Cancelled(_Final):
    """The order was cancelled; it may have been filled in part before. It cannot change again."""

    filled: Decimal | None
    """The amount that was filled before, in the base currency; None if it was not readable."""

    average_price: Decimal | None
    """The average price of the fills; None if nothing was filled, or if no price was readable."""

    reason: str | None
    """The exchange's reason (`cancelReason`); None on classic spot orders."""

    updated_at: int | None
    """When it changed last, by the exchange's clock, in milliseconds since 1970."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Filled(_Final):
    """The order was filled completely. It cannot change any more."""

    filled: Decimal | None
    """The amount, in the base currency; None if it was not readable."""

    average_price: Decimal | None
    """The average price; None if no price was readable."""

    updated_at: int | None
    """When it changed last, by the exchange's clock, in milliseconds since 1970."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class StillOpen(_Final):
    """The order was open at `as_of`, which is never before `tracked_at`.

    This is a statement about that moment: the order may have ended since. `StillOpen` is the only
    final after which another cancel makes sense.
    """

    filled: Decimal | None
    """The largest filled amount that was shown, in the base currency; None if none was readable.
    More may have been filled since."""

    average_price: Decimal | None
    """The average price of that amount; None if nothing was filled, or if no price was readable."""

    as_of: float
    """A time at which the order was open, in seconds on the caller's clock: the time of the look-up
    minus `ReconcilerConfig.settle`, because answers by REST may be that old, but not before
    `tracked_at`."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class NotFound(_Final):
    """The exchange has no order with this `order_id` and product line.

    A look-up said so, the order is not among the open ones, and it was not found in the history,
    which was read to its end or for `ReconcilerConfig.max_pages` pages. No push and no page ever
    showed the order.
    """


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Unknown(_Final):
    """Nothing proves what became of the order."""

    why: WhyUnknown
    filled: Decimal | None
    """The largest amount that was seen filled, in the base currency; None if none was seen."""

    detail: str
    """Text for people: the reason of the last failed look-up, of this or another order. Empty if no
    look-up has failed since this order was tracked."""


Final: TypeAlias = Cancelled | Filled | StillOpen | NotFound | Unknown
"""What became of an order."""

ReconcilerOutput: TypeAlias = LookUp | Final | Wait
"""What `Reconciler.poll` returns."""

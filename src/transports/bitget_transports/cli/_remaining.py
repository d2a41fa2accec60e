"""`bitget-cancel orders --remaining FILE`: the orders that a run leaves, for a later run.

- The file has one JSON object on each line, as `--file` reads it. A cancel that may have reached
  the exchange has its number of `attempts`. Without `--resend`, the command leaves such orders out
  and keeps them in the file.
- The file is written at the end, however the run ends, and replaces an earlier file as a whole. A
  run that is killed leaves the earlier file as it was.
- Only a file that the run has read is replaced.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress

from bitget_proto import CancelOrder
from bitget_proto.explain import quoted

from ._exit_codes import Failure
from ._screen import Screen
from ._traces import owner_only

Left = Iterable[tuple[CancelOrder, int]]
"""Orders, with the number of attempts that may have reached the exchange."""


def check_not_lost(path: str | None, read: Sequence[str]) -> None:
    """Check that the file does not exist, or is one of those that the run has `read`.

    Raises: Failure.
    """
    if path is not None and os.path.exists(path) and not any(_same(path, file) for file in read):
        raise Failure(
            f"{quoted(path)} already exists and was not read: to go on with the orders in it, pass "
            "it as --file too; otherwise choose another file for --remaining"
        )


@contextmanager
def remaining(path: str | None, left: Callable[[], Left], screen: Screen) -> Generator[None]:
    """At the end, write the orders that `left` returns to the file. Without a path, do nothing.

    Raises: Failure when the file cannot be written; nothing is sent then.
    """
    if path is None:
        yield
        return
    place = os.path.realpath(path)
    new = f"{place}.new"
    try:
        file = open(new, "w", encoding="ascii", opener=owner_only)  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        raise Failure(
            f"cannot write the remaining orders to {quoted(path)}: {getattr(error, 'strerror', None) or error}"
        ) from None
    try:
        yield
    finally:
        orders = tuple(left())
        try:
            with file:
                file.writelines(_line(order, attempts) for order, attempts in orders)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, place)
        except OSError as error:
            screen.aside(
                f"cannot write the remaining orders to {quoted(path)}: {error.strerror or error}",
                "red",
            )
        else:
            _report(path, orders, screen)


def _same(path: str, file: str) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samefile(path, file)
    return False


def _line(order: CancelOrder, attempts: int) -> str:
    fields = {
        "order_id": order.order_id,
        "client_oid": order.client_oid,
        "inst_id": order.inst_id,
        "inst_type": None if order.inst_type is None else order.inst_type.value,
        "attempts": attempts or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(given) + "\n"


def _report(path: str, orders: Sequence[tuple[CancelOrder, int]], screen: Screen) -> None:
    if not orders:
        screen.aside(f"no order remains: {quoted(path)} is empty")
        return
    maybe = sum(attempts > 0 for _, attempts in orders)
    screen.aside(
        f"remaining in {quoted(path)}: {len(orders) - maybe} safe to send, {maybe} that may have taken "
        "effect; to go on, pass this file as --file and --remaining, and no other orders"
    )

"""Cancel orders on a scripted exchange, in virtual time: no keys, no network, no waiting.

The core is tested this way, and you can test your own bot the same way: with the real state
machine, an exchange that keeps a book, and a network that you control.
"""

from collections import Counter

from bitget_proto import Accepted, CancelOrder, Outcome, Rejected, Unresolved
from bitget_proto.testing import Fault, Pair, ScriptedExchange


def main() -> None:
    """Send forty cancels, some with a fault, and one that never leaves."""
    orders = [CancelOrder("BTCUSDT", order_id=str(1000 + number)) for number in range(40)]
    exchange = ScriptedExchange(orders[:35], late_by=15.0)  # five orders have already ended
    pair = Pair(exchange=exchange, latency=0.03)
    pair.open()
    pair.run(1.0)

    exchange.inject(None, Fault.SILENT, Fault.DUPLICATE, Fault.NO_ARG, Fault.LATE, Fault.UNSURE)
    for order in orders:
        pair.cancel(order)
    pair.run(3.5)  # forty messages, at ten messages a second
    pair.stall()  # the network takes no more data, so the next cancel is not sent
    pair.cancel(CancelOrder("BTCUSDT", order_id="2000"), timeout=20.0)
    pair.run(15.0)
    pair.drop("cable cut")

    tally = Counter(describe(outcome) for outcome in pair.outcomes.values())
    for what, count in sorted(tally.items()):
        print(f"{count:4}  {what}")
    print(
        f"{sum(tally.values()):4}  outcomes for 41 cancels, in {pair.clock.now:.1f} s of virtual time"
    )
    assert sum(tally.values()) == 41


def describe(outcome: Outcome) -> str:
    """Describe an outcome in a sentence."""
    match outcome:
        case Accepted():
            return "accepted: the exchange accepted the request"
        case Rejected(code_class=code_class):
            return f"rejected: {code_class.value}"
        case Unresolved(sent=True, why=why):
            return f"unresolved, sent ({why.value}): it may have taken effect, look the order up"
        case Unresolved(why=why):
            return f"unresolved, not sent ({why.value}): it had no effect, safe to send again"


if __name__ == "__main__":
    main()

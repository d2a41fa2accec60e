"""Shows the outcomes of `bitget-cancel orders` and decides the exit code.

- Each order is in the results exactly once. An order without an outcome, which only a bug can
  cause, is reported as one that may have been sent.
- The exit code depends on the outcomes, or with `--confirm` on what became of the orders, and not
  on how the connection ended.
- When the output can no longer be written, sending stops as if by Ctrl-C.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.progress import Progress, TaskID

from bitget_proto import (
    Closed,
    CodeClass,
    Down,
    Ended,
    ExchangeError,
    Final,
    GoingAway,
    LateReply,
    Outcome,
    Rejected,
    Unresolved,
    Up,
    WhyClosed,
    WhyEnded,
)
from bitget_proto.explain import ASK_FOR_ACCESS, NEVER_ANSWERED, quoted

from .. import ChannelEvent
from ._exit_codes import Exit
from ._ledger import Ledger, percentile
from ._order_list import name_of
from ._outcome_rows import (
    ATTEMPTS_COLUMN,
    COLUMNS,
    NOT_LOOKED_UP,
    NOT_SENT,
    STATE_COLUMN,
    STATES,
    as_fields,
    final_fields,
    row_of,
    state_of,
    word_of,
)
from ._screen import OutputLost, Screen
from ._stop import Stop

_WHAT_TO_DO = {
    CodeClass.NOT_FOUND: (
        "the exchange found no order with this id, instrument and product line, which does not "
        "prove that the order has ended: check --instrument and --inst-type, and look the order up"
    ),
    CodeClass.FINISHED: "the order has already ended; there is nothing to cancel",
    CodeClass.THROTTLED: "safe to send again, later and at a lower rate",
    CodeClass.PERMISSION: f"check the key's permissions and IP allowlist; {ASK_FOR_ACCESS}",
    CodeClass.BAD_PARAMETERS: "check the ids, --instrument and --inst-type",
    CodeClass.PROTOCOL: f"if the ids are right: {ASK_FOR_ACCESS}",
    CodeClass.LOGIN: "check the key",
}
"""The advice for each class of rejections."""

_ABOUT_STATES = {
    "still open": "open when it was looked up after the cancel: cancel it again",
    "not found": "the exchange has no such order: check the ids, --instrument and --inst-type",
    "unknown": "nothing shows what became of it: look it up before you act",
}
"""The advice for each state that needs some."""


class Results:
    """Shows progress, then a table of outcomes and a summary."""

    def __init__(
        self,
        ledger: Ledger,
        screen: Screen,
        stop: Stop,
        where: str,
        drain: float,
        *,
        rate: int = 10,
        remaining: bool = False,
        confirm: bool = False,
    ) -> None:
        self.ledger = ledger
        self._screen = screen
        self._stop = stop
        self._where = where
        self._drain = drain
        self._rate = rate
        self._remaining = remaining
        self._confirm = confirm
        self._connected = False
        self._closed: Closed | Ended | None = None
        self._dropped = False
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._asides: list[str] = []
        self._lost: OutputLost | None = None

    def watched(self) -> Progress:
        self._progress = progress = self._screen.progress()
        self._task = progress.add_task("connecting", total=len(self.ledger.asked), said="")
        return progress

    # --- the callbacks of `Job`: none of these raises ---

    def on_connected(self) -> None:
        self._connected = True
        total = count(len(self.ledger.asked), "cancel")
        self._screen.aside(f"connected to {self._where}: {total}, about {self._rate} a second")
        if self._progress is not None:
            self._progress.update(self._task, description="cancelling")

    def on_stopping(self) -> None:
        self._screen.aside(
            f"stopping: waiting up to {self._drain:g} s for the answers to sent cancels; "
            "Ctrl-C again to skip the wait"
        )

    def on_outcome(self, outcome: Outcome) -> None:
        ledger = self.ledger
        ledger.add(outcome)
        if self._progress is not None:
            said = f"{ledger.accepted} accepted, {ledger.rejected.total()} rejected, {ledger.unresolved} unresolved"
            self._progress.update(self._task, advance=1, said=said)
            if self._confirm and _all_answered(ledger):
                self._progress.update(self._task, description="confirming")
        self._data("outcome", as_fields(outcome, ledger.attempts(outcome)))

    def on_final(self, final: Final) -> None:
        ledger = self.ledger
        ledger.confirm(final)
        if self._progress is not None and _all_answered(ledger):
            self._progress.update(self._task, said=f"{len(ledger.finals)} looked up")
        self._data("final", final_fields(final))

    def on_event(self, event: ChannelEvent) -> None:
        match event:
            case LateReply(order=order, code_class=code_class, code=code):
                self._asides.append(
                    f"late answer for {name_of(order)}: {code_class.value} ({code})"
                )
            case ExchangeError(code=code, message=message):
                self._asides.append(
                    f"the exchange reported error {code} without a request id: {quoted(message)}"
                )
            case GoingAway(message=message):
                self._asides.append(
                    f"the exchange announced that it will close the connection: {quoted(message)}"
                )
            case Down(detail=detail, up_for=up_for):
                self._dropped = True
                self._asides.append(
                    f"the connection was lost after {up_for:.1f} s: {quoted(detail)}"
                )
            case Up(down_for=down_for) if self._dropped:
                self._asides.append(f"reconnected after {down_for:.1f} s")
            case Closed() | Ended():
                self._closed = event
            case _:
                pass

    def _data(self, type: str, fields: dict[str, object]) -> None:
        if self._lost is None:
            try:
                self._screen.data(type, **fields)
            except OutputLost as lost:
                self._lost = lost
                self._stop.ask(Exit.PIPE_CLOSED)

    # --- the end ---

    def show(self) -> Exit:
        """Show the outcomes and the summary, and return the exit code.

        Raises: OutputLost when standard output cannot be written; the summary is then written to
        standard error.
        """
        try:
            if self._lost is not None:
                raise self._lost
            return self._show()
        except OutputLost:
            self._screen.people = self._screen.err
            self._sum_up()
            raise

    def _show(self) -> Exit:
        ledger, screen, stop = self.ledger, self._screen, self._stop
        for line in self._asides:
            screen.aside(line)
        if self._closed is not None and self._closed.why not in (WhyClosed.ASKED, WhyEnded.ASKED):
            screen.aside(
                f"the connection ended ({self._closed.why.value}): {quoted(self._closed.detail)}"
            )
        if stop.asked and not self._connected:
            screen.aside("stopped before the connection was open: nothing was sent")
        code = self._code()
        if not screen.json:
            self._show_table()
        for order in ledger.missing:
            screen.aside(
                f"{name_of(order)} has no outcome: it may have been sent, so look it up", "red"
            )
        self._sum_up()
        screen.data(
            "summary",
            asked=len(ledger.asked),
            accepted=ledger.accepted,
            rejected={code_class.value: n for code_class, n in ledger.rejected.items()},
            unresolved_sent=ledger.sent.total(),
            unresolved_not_sent=ledger.not_sent.total() + len(ledger.asked) - ledger.given,
            no_outcome=len(ledger.missing),
            **({"states": self._states()} if self._confirm else {}),
            stopped=bool(stop.asked),
            exit_code=int(code),
        )
        return code

    def _show_table(self) -> None:
        """Show the outcomes in the order of the input; first those of cancels never sent.

        With `--remaining`, the cancels never sent are in that file and left out here.
        """
        ledger = self.ledger
        place = {order: index for index, order in enumerate(ledger.asked)}
        shown = sorted(
            (o for o in ledger.outcomes if not self._remaining or word_of(o) != NOT_SENT),
            key=lambda outcome: (word_of(outcome) != NOT_SENT, place.get(outcome.order, 0)),
        )
        several = any(ledger.attempts(outcome) > 1 for outcome in shown)
        rows = (
            row_of(outcome, ledger.attempts(outcome), ledger.finals.get(outcome.order))
            for outcome in shown
        )
        hidden = {STATE_COLUMN: not self._confirm, ATTEMPTS_COLUMN: not several}
        kept = [n for n in range(len(COLUMNS)) if not hidden.get(n)]
        self._screen.table([COLUMNS[n] for n in kept], ([row[n] for n in kept] for row in rows))

    def _code(self) -> Exit:
        ledger = self.ledger
        if self._stop.asked:
            return self._stop.why
        if self._confirm:
            states = self._states().keys()
            if ledger.missing or states & {"unknown", NOT_LOOKED_UP}:
                return Exit.UNRESOLVED
            return Exit.REJECTED if states & {"still open", "not found"} else Exit.DONE
        if ledger.unresolved or ledger.missing:
            return Exit.UNRESOLVED
        return Exit.REJECTED if ledger.rejected else Exit.DONE

    def _states(self) -> Counter[str]:
        """Return how many orders are in each state, with those of cancels that were never sent."""
        ledger = self.ledger
        counts = Counter(state_of(ledger.finals.get(order)) for order in ledger.asked)
        return Counter({state: counts[state] for state in STATES if counts[state]})

    def _refusals(self) -> Iterator[CodeClass]:
        """Yield the classes of the refusals that need advice; after a look-up, some need none."""
        for outcome in self.ledger.outcomes:
            if isinstance(outcome, Rejected):
                settled = outcome.code_class in (CodeClass.NOT_FOUND, CodeClass.FINISHED)
                if self.ledger.has_ended(outcome.order):
                    continue
                if not (settled and outcome.order in self.ledger.finals):
                    yield outcome.code_class

    def _sum_up(self) -> None:
        ledger, say = self.ledger, self._screen.say
        parts = [f"{ledger.accepted} accepted"]
        if ledger.accepted:
            median = percentile(ledger.latencies, 0.5) or 0.0
            parts[0] += f" (median {median * 1000:.0f} ms)"
        parts += [f"{n} rejected: {code_class.value}" for code_class, n in ledger.rejected.items()]
        parts.append(f"{ledger.unresolved} unresolved")
        say(f"{count(len(ledger.asked), 'cancel')}: {', '.join(parts)}", "bold")
        if self._confirm:
            states = self._states()
            counts = ", ".join(f"{n} {state}" for state, n in states.items())
            say(f"{count(len(ledger.asked), 'order')}: {counts}", "bold")
            for state in states:
                if state in _ABOUT_STATES:
                    say(f"{state}: {_ABOUT_STATES[state]}", "yellow")
        elif ledger.accepted:
            say(
                "accepted: the exchange accepted the request; "
                "the order may still fill before the cancel takes effect"
            )
        for code_class in dict.fromkeys(self._refusals()):
            if code_class in _WHAT_TO_DO:
                say(f"rejected, {code_class.value}: {_WHAT_TO_DO[code_class]}", "yellow")
        unsure = [o for o in ledger.outcomes if isinstance(o, Unresolved) and o.sent]
        if sent := sum(o.order not in ledger.finals for o in unsure):
            say(
                f"unresolved, sent: {count(sent, 'cancel')} may have taken effect: "
                f"look {'it' if sent == 1 else 'them'} up before you act",
                "red",
            )
        if unsure and not ledger.accepted and not ledger.rejected:
            say(NEVER_ANSWERED, "yellow")
        if not_sent := ledger.not_sent.total() + len(ledger.asked) - ledger.given:
            say(
                f"unresolved, not sent: {count(not_sent, 'cancel')} cannot have taken effect"
                f"{' in this run' if ledger.earlier else ''}: safe to send again"
                f"{'' if self._remaining else '; --remaining FILE keeps such orders for a later run'}",
                "magenta",
            )


def _all_answered(ledger: Ledger) -> bool:
    """Return whether every cancel has an outcome."""
    return len(ledger.outcomes) == len(ledger.asked)


def count(number: int, word: str) -> str:
    """Return a number and a noun, with a plural s unless the number is 1."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"

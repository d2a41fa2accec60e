"""Gives each cancel of a connection its one outcome: from a reply, a deadline or the end.

A cancel gets its outcome in `Outcomes.settle` only, which also removes it from `InFlight`. The
exception is `settle_interrupted`, which must work wherever a call was interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf

from .._values.codes import NEVER_ANSWERED, CodeClass
from .._values.events import (
    Accepted,
    LateReply,
    Outcome,
    Output,
    Rejected,
    Unresolved,
    WhyUnrecognised,
    WhyUnresolved,
)
from .._wire.messages import ErrorReply, TradeReply
from .frame_queue import FrameQueue
from .in_flight import Batch, InFlight, OpenCancel
from .message_events import unrecognised
from .request_ids import IN_FLIGHT

_ACCEPTED = CodeClass.ACCEPTED


class Outcomes:
    """The outcomes of one connection; adds them to the connection's outputs."""

    __slots__ = ("_frames", "_in_flight", "_outputs", "answered")

    def __init__(self, in_flight: InFlight, frames: FrameQueue, outputs: deque[Output]) -> None:
        self._in_flight = in_flight
        self._frames = frames
        self._outputs = outputs
        self.answered = False
        """Whether the exchange has answered a cancel."""

    def settle(self, cancel: OpenCancel, outcome: Outcome) -> None:
        """Report the outcome of a cancel and remove the cancel."""
        self._outputs.append(outcome)
        self._in_flight.settle(cancel, outcome)

    def settle_all(self, cancels: Iterable[OpenCancel], why: WhyUnresolved, now: float) -> None:
        """Settle these cancels, which the exchange has not answered."""
        for cancel in cancels:
            self.settle(cancel, cancel.unresolved(why, now))

    def time_out(self, cancel: OpenCancel, now: float) -> None:
        """Settle a cancel whose deadline has expired."""
        hint = None if self.answered or cancel.sent_at == inf else NEVER_ANSWERED
        self.settle(cancel, cancel.unresolved(WhyUnresolved.TIMEOUT, now, hint=hint))

    def settle_interrupted(self, now: float) -> None:
        """Add an outcome for each cancel that has none among the outputs.

        If this is interrupted, call it again. The cancels stay in `InFlight`.
        """
        done = settled_ids(self._outputs)
        for cancel in self._in_flight.in_order():
            if cancel.id not in done:
                self._outputs.append(cancel.unresolved(WhyUnresolved.INTERRUPTED, now))

    def id_conflict(self, id: str) -> str | None:
        """Return why a new cancel cannot have this id, like `InFlight.id_conflict`."""
        return IN_FLIGHT if id in settled_ids(self._outputs) else self._in_flight.id_conflict(id)

    # --- replies ---

    def reply(
        self, id: str, reply: TradeReply | ErrorReply, message: str | bytes, now: float
    ) -> None:
        """Handle a reply to the request with this id."""
        in_flight = self._in_flight
        cancel = in_flight.sent.get(id)
        if cancel is None and (batch := in_flight.batches.get(id)) is not None:
            self._batch_reply(id, batch, reply, message, now)
        elif reply.not_for_cancel:
            again = reply.for_batch and cancel is None  # such as the second answer to a batch
            why = WhyUnrecognised.UNKNOWN_ID if again else WhyUnrecognised.OTHER_REQUEST
            self._outputs.append(unrecognised(message, why))
        elif cancel is not None:
            self.answered = True
            self.settle(cancel, cancel.outcome_from(reply, now))
            if reply.remaining is not None:
                self._frames.observe(reply.remaining, now)
        else:
            event = in_flight.event_for_unmatched(id, reply, message)
            self._outputs.append(event)
            if isinstance(event, LateReply):
                self.answered = True
                del in_flight.late[id]

    def _batch_reply(
        self,
        id: str,
        batch: Batch,
        reply: TradeReply | ErrorReply,
        message: str | bytes,
        now: float,
    ) -> None:
        """Handle the answer to a batch. Some of its cancels may have ended."""
        if not reply.for_batch:
            self._outputs.append(unrecognised(message, WhyUnrecognised.OTHER_REQUEST))
            return
        self.answered = True
        in_flight, reported = self._in_flight, False
        # A success code would suggest that a cancel without an answer of its own succeeded.
        said = () if reply.code_class is _ACCEPTED else (reply.code, reply.message)
        for cancel in batch:
            answer = cancel.own_answer(reply)
            if in_flight.sent.get(cancel.id) is cancel:
                reported = True
                self.settle(
                    cancel,
                    cancel.unresolved(WhyUnresolved.UNSURE, now, *said)
                    if answer is None
                    else cancel.outcome_from(answer, now),
                )
            elif answer is not None and in_flight.late.get(cancel.id) is cancel.order:
                reported = True
                self._outputs.append(in_flight.event_for_unmatched(cancel.id, answer, message))
                del in_flight.late[cancel.id]
        del in_flight.batches[id]
        if not reported:
            self._outputs.append(unrecognised(message, WhyUnrecognised.UNKNOWN_ID))
        self._frames.observe(reply.remaining, now)


def settled_ids(outputs: Iterable[object]) -> set[str]:
    """Return the ids of the cancels whose outcomes are among these outputs."""
    return {output.id for output in outputs if isinstance(output, Accepted | Rejected | Unresolved)}

"""Drivers that break one rule each: the one of `selector_driver` with one change.

`breaks` names the broken rule and the scenario of the conformance kit that must detect it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from bitget_proto import (
    CancelOrder,
    Connection,
    Hangup,
    LocalProtocolError,
    Output,
    Timer,
    Transmit,
    Unresolved,
    Wait,
)
from bitget_proto.testing import Rule
from bitget_proto.testing.framing import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame, parse

from .selector_driver import Call, SelectorDriver

D = TypeVar("D", bound=SelectorDriver)

FAULTS: list[tuple[type[SelectorDriver], Rule, str]] = []


def breaks(rule: Rule, scenario: str) -> Callable[[type[D]], type[D]]:
    def register(driver: type[D]) -> type[D]:
        FAULTS.append((driver, rule, scenario))
        return driver

    return register


# --- drain ---


@breaks(Rule.DRAIN, "login and a cancel")
class DoesNotDrainAfterOpened(SelectorDriver):
    drains = False

    def drain(self) -> None:
        if self.drains:
            super().drain()
        self.drains = True


@breaks(Rule.DRAIN, "login and a cancel")
class DoesNotDrainAfterACall(SelectorDriver):
    def run_calls(self) -> None:
        while self.calls:
            self.calls.popleft()(self.connection, self.now())


@breaks(Rule.DRAIN, "two answers in one read")
class PollsOnceAfterAMessage(SelectorDriver):
    def received(self, message: str | bytes) -> None:
        self.connection.receive(message, self.now())
        self.dispatch(self.poll())


@breaks(Rule.DRAIN, "one frame unwritten")
class DoesNotDrainAfterAWrite(SelectorDriver):
    def go_on_writing(self) -> None:
        self.flush()


@breaks(Rule.DRAIN, "deadline")
class DoesNotDrainAfterATimer(SelectorDriver):
    def handle_timeout(self, now: float) -> None:
        self.connection.handle_timeout(now)


@breaks(Rule.DRAIN, "close twice")
class StopsDrainingAtAnOutcome(SelectorDriver):
    def drain(self) -> None:
        while not isinstance(output := self.poll(), Wait):
            self.dispatch(output)
            if isinstance(output, Unresolved):
                return
        self.arm(output.until)


# --- write ---


@breaks(Rule.WRITE, "login and a cancel")
class WritesTwice(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        super().transmit(output)
        super().transmit(output)


@breaks(Rule.WRITE, "frames in order")
class WritesTheNewestFrameFirst(SelectorDriver):
    kept: Transmit | None = None

    def transmit(self, output: Transmit) -> None:
        if output.ids == ("n0",):
            self.kept = output
            return
        super().transmit(output)
        if self.kept is not None:
            kept, self.kept = self.kept, None
            super().transmit(kept)


@breaks(Rule.WRITE, "frames in order")
class LosesAFrame(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        if output.ids != ("n3",):
            super().transmit(output)


@breaks(Rule.WRITE, "wait moves sooner")
class WritesNothingAfterTheLogin(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        if output.secret:
            super().transmit(output)


@breaks(Rule.WRITE, "frames in order")
class SplitsALongTextIntoTwoMessages(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        for begin in range(0, len(output.text), 65_536):
            super().transmit(Transmit(text=output.text[begin : begin + 65_536], ids=output.ids))


@breaks(Rule.WRITE, "login and a cancel")
class WritesBinaryMessages(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        self.out += frame(BINARY, output.text.encode(), mask=os.urandom(4))
        self.flush()


@breaks(Rule.WRITE, "login and a cancel")
class DoesNotMask(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        self.out += frame(TEXT, output.text.encode())
        self.flush()


@breaks(Rule.WRITE, "one frame unwritten")
class PollsAsWritableDuringAWrite(SelectorDriver):
    def poll(self) -> Output:
        return self.connection.poll(self.now())


@breaks(Rule.WRITE, "login and a cancel")
class WritesHalfAFrame(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        assert self.socket is not None
        data = frame(TEXT, output.text.encode(), mask=os.urandom(4))
        self.socket.send(data if output.secret else data[:50])


@breaks(Rule.WRITE, "one frame unwritten")
class DropsTheRestOfAPartialWrite(SelectorDriver):
    def flush(self) -> None:
        super().flush()
        self.out = b""


@breaks(Rule.WRITE, "frames in order")
class EncodesTextWrongly(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        text = output.text.encode("ascii", "replace").decode()
        super().transmit(Transmit(text=text, ids=output.ids))


# --- re-arm ---


@breaks(Rule.REARM, "wait moves sooner")
class KeepsItsTimer(SelectorDriver):
    def arm(self, until: float | None) -> None:
        if self.until is None or self.now() >= self.until:
            self.until = until


@breaks(Rule.REARM, "deadlines in a row")
class NeverMovesItsTimerSooner(SelectorDriver):
    def arm(self, until: float | None) -> None:
        if until is None or self.until is None or self.now() >= self.until or until > self.until:
            self.until = until


@breaks(Rule.REARM, "wait moves later")
class FiresOldTimersForTheLatestWait(SelectorDriver):
    """A callback of an earlier `Wait` passes max(now, until) with the latest `until`."""

    def __init__(self, connection: Connection, url: str) -> None:
        super().__init__(connection, url)
        self.armed: set[float] = set()

    def arm(self, until: float | None) -> None:
        super().arm(until)
        if until is not None:
            self.armed.add(until)

    def timeout(self) -> float | None:
        return max(0.0, min(self.armed) - self.now()) if self.armed else None

    def look_at_timer(self) -> None:
        if self.armed and self.now() >= min(self.armed):
            self.armed.remove(min(self.armed))
            if self.until is not None:
                self.handle_timeout(max(self.now(), self.until))


@breaks(Rule.REARM, "nothing is due")
class FiresATimerWithoutAWait(FiresOldTimersForTheLatestWait):
    def look_at_timer(self) -> None:
        if self.armed and self.now() >= min(self.armed):
            self.armed.remove(min(self.armed))
            until: Any = self.until  # None, which is the fault
            self.handle_timeout(max(self.now(), until))


@breaks(Rule.REARM, "nothing is due")
class SpinsWhenNothingIsDue(SelectorDriver):
    def arm(self, until: float | None) -> None:
        self.until = self.until if until is None else until


# --- overdue ---


@breaks(Rule.OVERDUE, "deadline")
class HasNoTimer(SelectorDriver):
    def timeout(self) -> float | None:
        return None


@breaks(Rule.OVERDUE, "deadline")
class WakesEarlyAndOnce(SelectorDriver):
    """The loop fires a tick early, when the timer is not due yet, and never again."""

    fired: float | None = None

    def early(self) -> float | None:
        return None if self.until is None or self.until == self.fired else self.until - 0.005

    def timeout(self) -> float | None:
        early = self.early()
        return None if early is None else max(0.0, early - self.now())

    def look_at_timer(self) -> None:
        early = self.early()
        if early is not None and self.now() >= early:
            self.fired = self.until
            self.handle_timeout(min(self.now(), early))  # early, however late the machine is


@breaks(Rule.OVERDUE, "deadline already past")
class IgnoresTimersInThePast(SelectorDriver):
    def arm(self, until: float | None) -> None:
        self.until = None if until is not None and until <= self.now() else until


@breaks(Rule.OVERDUE, "deadline")
class DrainsInsteadOfFiring(SelectorDriver):
    def handle_timeout(self, now: float) -> None:
        self.drain()
        time.sleep(0.001)


@breaks(Rule.OVERDUE, "pace")
class HasNoTimerForTheRateLimit(SelectorDriver):
    def drain(self) -> None:
        while not isinstance(output := self.poll(), Wait):
            self.dispatch(output)
        self.arm(None if output.timer is Timer.PACING else output.until)


@breaks(Rule.OVERDUE, "heartbeat")
class FiresOnce(SelectorDriver):
    fired = False

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        self.fired = True

    def arm(self, until: float | None) -> None:
        self.until = None if self.fired else until


@breaks(Rule.OVERDUE, "login unanswered")
class HasNoTimerBeforeTheLogin(SelectorDriver):
    def arm(self, until: float | None) -> None:
        self.until = until if self.connection.state.value == "ready" else None


@breaks(Rule.OVERDUE, "close unanswered")
class HasNoTimerWhileClosing(SelectorDriver):
    def arm(self, until: float | None) -> None:
        self.until = until if self.connection.state.value != "draining" else None


@breaks(Rule.OVERDUE, "deadline while a write stalls")
class BlocksInAWrite(SelectorDriver):
    def flush(self) -> None:
        assert self.socket is not None
        self.socket.setblocking(True)
        with suppress(OSError):
            self.socket.sendall(self.out)
        self.out = b""
        self.socket.setblocking(False)


@breaks(Rule.OVERDUE, "half a message")
class BlocksUntilAMessageIsComplete(SelectorDriver):
    def take_what_has_arrived(self) -> None:
        super().take_what_has_arrived()
        while self.read_bytes and not self.closed and parse(self.read_bytes) is None:
            self.read()
            time.sleep(0.001)
        super().take_what_has_arrived()


# --- alternate ---


@breaks(Rule.ALTERNATE, "gap")
class FiresBeforeItReads(SelectorDriver):
    def go_on_writing(self) -> None:
        self.look_at_timer()
        super().go_on_writing()


@breaks(Rule.ALTERNATE, "gap")
class FiresFirstAfterATimerHasFired(SelectorDriver):
    """A loop that handles its sources in the order in which they were last added."""

    fired = False

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        self.fired = True

    def go_on_writing(self) -> None:
        if self.fired:
            self.look_at_timer()
        super().go_on_writing()


@breaks(Rule.ALTERNATE, "gap after a write has stalled")
class FiresFirstAfterAWriteHasStalled(SelectorDriver):
    """As a loop in which a watch for writing puts the socket behind the timer."""

    stalled = False

    def go_on_writing(self) -> None:
        if self.stalled:
            self.look_at_timer()
        self.stalled = self.stalled or bool(self.out)
        super().go_on_writing()


@breaks(Rule.ALTERNATE, "gap while a message is handled")
class FiresAfterEachMessage(SelectorDriver):
    def received(self, message: str | bytes) -> None:
        super().received(message)
        self.look_at_timer()


@breaks(Rule.ALTERNATE, "flood")
class ReadsWithoutLimit(SelectorDriver):
    at_once = 10**9


@breaks(Rule.ALTERNATE, "10,000 messages with a deadline due")
class ReadsTooMuchAtOnce(SelectorDriver):
    at_once = 5000


# --- abandon ---


@breaks(Rule.ABANDON, "abandoned wait")
class DropsTheRequestWithTheWait(SelectorDriver):
    def abandon(self, order: CancelOrder) -> None:
        """Drop the request, as if it had not been taken yet."""


@breaks(Rule.ABANDON, "abandoned wait")
class ClosesWhenAWaitIsAbandoned(SelectorDriver):
    def abandon(self, order: CancelOrder) -> None:
        def give_up(connection: Connection, now: float) -> None:
            connection.cancel(order, now)
            connection.close(now)

        self.call(give_up)


@breaks(Rule.ABANDON, "abandoned wait")
class EndsWhenAWaitIsAbandoned(SelectorDriver):
    def abandon(self, order: CancelOrder) -> None:
        super().abandon(order)

        def cancelled(connection: Connection, now: float) -> None:
            raise ZeroDivisionError

        self.call(cancelled)


@breaks(Rule.READ, "abandoned wait")
class LosesTheAnswerOfAnAbandonedWait(SelectorDriver):
    abandoned = False

    def abandon(self, order: CancelOrder) -> None:
        self.abandoned = True
        super().abandon(order)

    def received(self, message: str | bytes) -> None:
        if not (
            self.abandoned and b"made-" in bytes(message, "utf-8")
            if isinstance(message, str)
            else b"made-" in message
        ):
            super().received(message)


# --- read ---


@breaks(Rule.READ, "events not read")
class BlocksOnItsApplication(SelectorDriver):
    """A bounded queue between the reader and an application that does not read it."""

    queue = 500

    def take_what_has_arrived(self) -> None:
        if self.queue > 0:
            super().take_what_has_arrived()

    def received(self, message: str | bytes) -> None:
        self.queue -= 1
        super().received(message)


@breaks(Rule.READ, "two answers in one read")
class PassesOnOneMessagePerRead(SelectorDriver):
    def timeout(self) -> float | None:
        return None if self.until is None else max(0.0, self.until - self.now())

    def take_what_has_arrived(self) -> None:
        self.read()
        self.hand_over()


@breaks(Rule.READ, "text and bytes")
class DropsBinaryMessages(SelectorDriver):
    def hand_over(self) -> bool:
        parsed = parse(self.read_bytes)
        if parsed is not None and parsed[0].opcode == BINARY:
            del self.read_bytes[: parsed[1]]
            return True
        return super().hand_over()


@breaks(Rule.READ, "text and bytes")
class DecodesBinaryMessages(SelectorDriver):
    def received(self, message: str | bytes) -> None:
        super().received(
            message if isinstance(message, str) else message.decode("utf-8", "replace")
        )


@breaks(Rule.READ, "fragments")
class PassesOnFragments(SelectorDriver):
    def hand_over(self) -> bool:
        parsed = parse(self.read_bytes)
        if parsed is not None and parsed[0].opcode in (TEXT, CONTINUATION):
            del self.read_bytes[: parsed[1]]
            self.received(parsed[0].data)
            return True
        return super().hand_over()


@breaks(Rule.READ, "WebSocket pings")
class DoesNotAnswerPings(SelectorDriver):
    def hand_over(self) -> bool:
        parsed = parse(self.read_bytes)
        if parsed is not None and parsed[0].opcode == PING:
            del self.read_bytes[: parsed[1]]
            return True
        return super().hand_over()


@breaks(Rule.READ, "login and a cancel")
class PassesOnMessagesTwice(SelectorDriver):
    def received(self, message: str | bytes) -> None:
        super().received(message)
        super().received(message)


@breaks(Rule.READ, "answer while a write stalls")
class DoesNotReadWhileItWrites(SelectorDriver):
    def take_what_has_arrived(self) -> None:
        if not self.out:
            super().take_what_has_arrived()


@breaks(Rule.READ, "answer before the write returns")
class DropsMessagesReceivedDuringAWrite(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        super().transmit(output)
        assert self.socket is not None
        with suppress(BlockingIOError):
            self.socket.recv(4096)


@breaks(Rule.READ, "answer and end in one read")
class HandlesTheCloseFrameFirst(SelectorDriver):
    def hand_over(self) -> bool:
        at = self.read_bytes.find(b"\x88")
        if (
            at >= 0
            and (parsed := parse(self.read_bytes[at:])) is not None
            and parsed[0].opcode == CLOSE
        ):
            del self.read_bytes[:at]
        return super().hand_over()


@breaks(Rule.READ, "answer and end in one read")
class PassesOnOneMessageBeforeTheEnd(SelectorDriver):
    """A reader task learns of the close frame from another task, which runs first."""

    def hand_over(self) -> bool:
        at = self.read_bytes.find(b"\x88")
        if (first := parse(self.read_bytes)) and at > first[1]:
            del self.read_bytes[first[1] : at]
        return super().hand_over()


@breaks(Rule.READ, "answers and end of stream")
class HandlesTheEndOfStreamFirst(SelectorDriver):
    """Reads everything before it handles any of it."""

    def read(self) -> bool:
        while super().read():
            pass
        return bool(self.read_bytes) and not self.closed


@breaks(Rule.READ, "text and bytes")
class TreatsAnEmptyMessageAsTheEnd(SelectorDriver):
    """`while message := receive()`."""

    def received(self, message: str | bytes) -> None:
        if message:
            super().received(message)
        else:
            self.lost("the other side has closed")


@breaks(Rule.READ, "end in the middle of a message")
class PassesOnAnIncompleteMessage(SelectorDriver):
    def lost(self, reason: str) -> None:
        if self.read_bytes:
            self.received(bytes(self.read_bytes[2:]))
        super().lost(reason)


@breaks(Rule.READ, "end of stream")
class StopsReading(SelectorDriver):
    """Its thread does everything else: the end of the stream lies unread."""

    def take_what_has_arrived(self) -> None:
        if self.connection.state.value != "ready":
            super().take_what_has_arrived()

    def timeout(self) -> float | None:
        return 0.01


@breaks(Rule.READ, "half a message")
class StopsReadingAfterALostCancel(SelectorDriver):
    stopped = False

    def take_what_has_arrived(self) -> None:
        if not self.stopped:
            super().take_what_has_arrived()

    def dispatch(self, output: Output) -> None:
        super().dispatch(output)
        self.stopped = self.stopped or isinstance(output, Unresolved)

    def timeout(self) -> float | None:
        return 0.01


# --- end ---


@breaks(Rule.END, "close frame")
class CallsLostTwice(SelectorDriver):
    def lost(self, reason: str) -> None:
        super().lost(reason)
        self.connection.lost(self.now(), reason)
        self.drain()


@breaks(Rule.END, "end of stream")
class DoesNotReportTheEndOfStream(SelectorDriver):
    def lost(self, reason: str) -> None:
        self.closed = True


@breaks(Rule.END, "reset")
class RaisesAtAReset(SelectorDriver):
    def lost(self, reason: str) -> None:
        if "broke" in reason:
            raise OSError(reason)
        super().lost(reason)


@breaks(Rule.END, "close frame")
class IgnoresCloseFrames(SelectorDriver):
    def closed_by_peer(self, data: bytes) -> None:
        """Wait for the end of the stream, which comes when this end closes."""


@breaks(Rule.END, "close frame without a code")
class FailsAtAnEmptyCloseFrame(SelectorDriver):
    def closed_by_peer(self, data: bytes) -> None:
        super().closed_by_peer(bytes([data[0], data[1]]) + data[2:])


@breaks(Rule.END, "hangup while a write stalls")
class WritesToTheEndBeforeItCloses(SelectorDriver):
    def leave(self) -> None:
        assert self.socket is not None
        with suppress(OSError):
            self.socket.settimeout(10.0)
            self.socket.sendall(self.out)
            self.out = b""
        super().leave()


@breaks(Rule.END, "reset")
class ReportsAWrittenFrameAsUnsent(SelectorDriver):
    def unsent(self) -> tuple[str, ...]:
        return self.last[0]


@breaks(Rule.END, "close frame while a write stalls")
class WritesAFrameReportedAsUnsent(SelectorDriver):
    def forget(self) -> None:
        """Keep the frame, so that it is written before the close frame."""


@breaks(Rule.END, "close frame while a batch stalls")
class WritesABatchOfWhichItReportsOneCancelAsUnsent(WritesAFrameReportedAsUnsent):
    def unsent(self) -> tuple[str, ...]:
        return super().unsent()[-1:]


@breaks(Rule.END, "hangup")
class HangsUpWithACodeOfItsOwn(SelectorDriver):
    def hang_up(self, output: Hangup) -> None:
        self.send_close(1001, "")


@breaks(Rule.END, "hangup")
class ClosesWithoutACloseFrame(SelectorDriver):
    def hang_up(self, output: Hangup) -> None:
        """Do nothing: the socket is then closed without a close frame."""


@breaks(Rule.END, "nothing after the end")
class PassesOnMessagesAfterTheEnd(SelectorDriver):
    def hand_over(self) -> bool:
        read = super().hand_over()
        if self.closed:
            while super().hand_over():
                pass
        return read


@breaks(Rule.END, "connection refused")
class RaisesAtAFailedDial(SelectorDriver):
    def dial(self) -> None:
        try:
            super().dial()
        except OSError as error:
            raise RuntimeError from error


@breaks(Rule.END, "connection refused")
class ClosesWhenADialHasFailed(SelectorDriver):
    def lost(self, reason: str) -> None:
        self.connection.close(self.now())
        self.drain()


@breaks(Rule.END, "upgrade refused")
class OpensARefusedConnection(SelectorDriver):
    def dial(self) -> None:
        with suppress(OSError):
            super().dial()
        assert self.socket is not None
        self.socket.setblocking(False)


@breaks(Rule.END, "hangup at a deaf exchange")
class WaitsForTheOtherSideToClose(SelectorDriver):
    def leave(self) -> None:
        if self.socket is not None and self.close_sent:
            self.socket.setblocking(True)
            self.socket.sendall(self.out)
            self.out = b""
            with suppress(OSError):
                while self.socket.recv(4096):
                    pass
        super().leave()


@breaks(Rule.END, "hangup")
class DoesNotReturn(SelectorDriver):
    rests: ClassVar[threading.Event] = threading.Event()

    def leave(self) -> None:
        super().leave()
        self.rests.wait(5.0)


@breaks(Rule.END, "close frame")
class LeavesItsSocketOpen(SelectorDriver):
    left: ClassVar[list[socket.socket]] = []

    def leave(self) -> None:
        assert self.socket is not None
        self.left.append(self.socket.dup())
        super().leave()


@breaks(Rule.END, "close frame")
class LeavesAThread(SelectorDriver):
    rests: ClassVar[threading.Event] = threading.Event()

    def opened(self) -> None:
        threading.Thread(target=self.rests.wait, args=(5.0,), daemon=True).start()
        super().opened()


# --- clock ---


@breaks(Rule.CLOCK, "login and a cancel")
class UsesTwoClocks(SelectorDriver):
    def received(self, message: str | bytes) -> None:
        self.connection.receive(message, time.time())
        self.drain()


@breaks(Rule.CLOCK, "clock")
class UsesTheWallClock(SelectorDriver):
    def now(self) -> float:
        return time.time()


@breaks(Rule.CLOCK, "clock")
class UsesMilliseconds(SelectorDriver):
    def now(self) -> float:
        return super().now() * 1000


@breaks(Rule.CLOCK, "clock")
class UsesTheTimeOfItsStart(SelectorDriver):
    began = 0.0

    def now(self) -> float:
        self.began = self.began or time.monotonic()
        return self.began


@breaks(Rule.CLOCK, "login and a cancel")
class RunsBackwards(SelectorDriver):
    readings = 0

    def now(self) -> float:
        self.readings += 1
        return super().now() - self.readings


@breaks(Rule.CLOCK, "login and a cancel")
class PassesNoTime(SelectorDriver):
    def received(self, message: str | bytes) -> None:
        with suppress(LocalProtocolError):
            self.connection.receive(message, float("nan"))
        super().received(message)


# --- caller ---


@breaks(Rule.CALLER, "login and a cancel")
class CallsInTheCallersThread(SelectorDriver):
    def call(self, fn: Call) -> None:
        fn(self.connection, self.now())
        self.drain()


@breaks(Rule.CALLER, "login and a cancel")
class DoesNotWakeUp(SelectorDriver):
    def wake(self) -> None:
        """Do nothing, so that the call waits for the next message."""


@breaks(Rule.CALLER, "calls from many threads")
class KeepsRoomForOneCall(SelectorDriver):
    def call(self, fn: Call) -> None:
        self.calls.clear()
        super().call(fn)

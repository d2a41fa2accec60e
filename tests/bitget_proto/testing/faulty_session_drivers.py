"""Drivers of a session that break one rule each: that of `selector_session_driver`, changed.

`breaks` names the broken rule and the scenario of the conformance kit that must detect it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Container
from typing import TypeVar

import attrs

from bitget_proto import Dial, Down, LinkHangup, LinkTransmit, Session, SessionOutput, sign_login
from bitget_proto.testing import Rule

from .selector_driver import KEY
from .selector_session_driver import Link, SelectorSessionDriver

D = TypeVar("D", bound=SelectorSessionDriver)

SESSION_FAULTS: list[tuple[type[SelectorSessionDriver], Rule, str]] = []


def breaks(rule: Rule, scenario: str) -> Callable[[type[D]], type[D]]:
    def register(driver: type[D]) -> type[D]:
        SESSION_FAULTS.append((driver, rule, scenario))
        return driver

    return register


# --- link ---


@breaks(Rule.LINK, "messages on two links")
class ReportsMessagesUnderTheNewestNumber(SelectorSessionDriver):
    def received(self, link: Link, message: bytes) -> None:
        self.session.receive(max(self.links), message, self.now())
        self.drain()


@breaks(Rule.LINK, "old link lost")
class ReportsTheEndUnderTheNewestNumber(SelectorSessionDriver):
    def lost(self, link: Link, reason: str, retry_after: float | None = None) -> None:
        if self.links.pop(link.number, None) is not None:
            newest = max(self.links, default=link.number)
            self.session.lost(newest, self.now(), reason, (), retry_after)
            self.leave_soon(link)
            self.drain()


@breaks(Rule.LINK, "two links")
class WritesOnTheOldestLink(SelectorSessionDriver):
    def transmit(self, output: LinkTransmit) -> None:
        self.write(self.links[min(self.links)], output)


@breaks(Rule.LINK, "login and a cancel")
class CountsLinksFromZero(SelectorSessionDriver):
    def opened(self, link: Link) -> None:
        link.opened = True
        self.session.opened(link.number - 1, self.now(), login=sign_login(KEY, int(time.time())))
        self.drain()


# --- dial ---


@breaks(Rule.DIAL, "failed dials")
class DoesNotReportAFailedDial(SelectorSessionDriver):
    def refused(self, link: Link, head: str) -> None:
        link.socket.close()
        del self.links[link.number]


@breaks(Rule.DIAL, "failed dials")
class DialsAgainByItself(SelectorSessionDriver):
    def refused(self, link: Link, head: str) -> None:
        super().refused(link, head)
        self.dial(Dial(link=link.number + 1))


@breaks(Rule.DIAL, "failed dials")
class DialsAgainInsteadOfReporting(SelectorSessionDriver):
    def refused(self, link: Link, head: str) -> None:
        link.socket.close()
        self.dial(Dial(link=link.number))


@breaks(Rule.DIAL, "retry after")
class ForgetsRetryAfter(SelectorSessionDriver):
    def lost(self, link: Link, reason: str, retry_after: float | None = None) -> None:
        super().lost(link, reason)


@breaks(Rule.DIAL, "login and a cancel")
class OpensTwice(SelectorSessionDriver):
    def opened(self, link: Link) -> None:
        super().opened(link)
        super().opened(link)


@breaks(Rule.DIAL, "links one after the other")
class StopsAfterDown(SelectorSessionDriver):
    def dispatch(self, output: SessionOutput) -> None:
        super().dispatch(output)
        if isinstance(output, Down):
            self.ended = True


@breaks(Rule.DIAL, "links one after the other")
class DialsOnce(SelectorSessionDriver):
    def dial(self, output: Dial) -> None:
        if output.link == 1:
            super().dial(output)


@breaks(Rule.DIAL, "two links")
class DialsTheNextLinkWhenTheOldOneHasEnded(SelectorSessionDriver):
    kept: Dial | None = None

    def dial(self, output: Dial) -> None:
        self.kept = output
        if not self.links:
            super().dial(output)


# --- busy links ---


@breaks(Rule.WRITE, "one frame unwritten")
class IgnoresBusyLinks(SelectorSessionDriver):
    def busy(self) -> Container[int]:
        return ()


@breaks(Rule.WRITE, "a stalled link and another")
class HoldsUpAllLinksForOneWrite(SelectorSessionDriver):
    def busy(self) -> Container[int]:
        return set(self.links) if any(link.out for link in self.links.values()) else ()


@breaks(Rule.WRITE, "old link lost")
class ReportsAFrameOfAnotherLinkAsUnsent(SelectorSessionDriver):
    def lost(self, link: Link, reason: str, retry_after: float | None = None) -> None:
        last = self.links[max(self.links)].last[0] if self.links else ()
        if self.links.pop(link.number, None) is not None:
            self.session.lost(link.number, self.now(), reason, last, retry_after)
            self.leave_soon(link)
            self.drain()


@breaks(Rule.END, "reset")
class ReportsAWrittenFrameAsUnsent(SelectorSessionDriver):
    def lost(self, link: Link, reason: str, retry_after: float | None = None) -> None:
        link.last = (link.last[0], 0)
        if self.links.pop(link.number, None) is not None:
            self.session.lost(link.number, self.now(), reason, link.last[0], retry_after)
            self.leave_soon(link)
            self.drain()


# --- the end of links ---


@breaks(Rule.END, "two links")
class DropsTheOldLinkAtOnce(SelectorSessionDriver):
    def opened(self, link: Link) -> None:
        super().opened(link)
        for old in [old for old in self.links.values() if old is not link]:
            self.lost(old, "another link was opened")
            self.leave(old)


@breaks(Rule.END, "links one after the other")
class ReportsTheEndTwice(SelectorSessionDriver):
    def lost(self, link: Link, reason: str, retry_after: float | None = None) -> None:
        super().lost(link, reason, retry_after)
        self.session.lost(link.number, self.now(), reason)
        self.drain()


@breaks(Rule.END, "links one after the other")
class DoesNotReportTheEnd(SelectorSessionDriver):
    def lost(self, link: Link, reason: str, retry_after: float | None = None) -> None:
        self.links.pop(link.number, None)


@breaks(Rule.END, "two links")
class IgnoresLinkHangup(SelectorSessionDriver):
    def hang_up(self, output: LinkHangup) -> None:
        if self.session.state.value == "closing" or self.session.state.value == "ended":
            super().hang_up(output)


@breaks(Rule.END, "dial given up")
class DoesNotAbortADial(SelectorSessionDriver):
    def hang_up(self, output: LinkHangup) -> None:
        if self.links[output.link].opened:
            super().hang_up(output)
        else:
            del self.links[output.link]


@breaks(Rule.END, "link aborted")
class SendsACloseFrameInsteadOfAnAbort(SelectorSessionDriver):
    def hang_up(self, output: LinkHangup) -> None:
        super().hang_up(attrs.evolve(output, abort=False))


@breaks(Rule.END, "close while dialling")
class WaitsForItsDials(SelectorSessionDriver):
    def hang_up(self, output: LinkHangup) -> None:
        if self.links[output.link].opened:
            super().hang_up(output)
        else:
            self.leaving.append(self.links.pop(output.link))


# --- loops ---


@breaks(Rule.DRAIN, "failed dials")
class DoesNotDrainAfterAFailedDial(SelectorSessionDriver):
    def refused(self, link: Link, head: str) -> None:
        self.drain, drain = lambda: None, self.drain  # type: ignore[method-assign]
        super().refused(link, head)
        self.drain = drain  # type: ignore[method-assign]


@breaks(Rule.ALTERNATE, "gap with two links")
class FiresTimersBeforeItReads(SelectorSessionDriver):
    def run_calls(self) -> None:
        super().run_calls()
        self.look_at_timer()


@breaks(Rule.READ, "dial in progress")
class BlocksWhileItDials(SelectorSessionDriver):
    def dial(self, output: Dial) -> None:
        super().dial(output)
        if output.link > 1:
            link = self.links[output.link]
            self.flush(link)
            select.select([link.socket], [], [], 3.0)


@breaks(Rule.CALLER, "login and a cancel")
class CallsInTheCallersThread(SelectorSessionDriver):
    def call(self, fn: Callable[[Session, float], object]) -> None:
        fn(self.session, self.now())
        self.drain()

"""A scripted exchange for tests: a book of orders, with faults on request.

- Without a fault it behaves as the exchange's documentation says: it acts on each cancel once and
  answers it once, and the answer agrees with its book.
- A setting of the exchange applies to all of its links, later ones included; a setting of a link
  applies to that link alone.
- A fault is requested by name and applies to one request. Nothing is random.
- `log` records what each cancel did to the book, so that a test can compare outcomes with it.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

import attrs

from ..._machine.deadlines import finite_time
from ..._values.credentials import Credentials
from ..._values.errors import check_part
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from .behaviour import _BehaviourCommands, check_delay
from .exchange_config import ExchangeConfig
from .exchange_connection import check_refusal
from .faults import Fault, RestFault
from .handshakes import Handshakes
from .logins import refusal
from .order_book import SAME_ORDER_INTERVAL, Book
from .placed_orders import check_amount
from .rest_api import RestApi
from .scripted_link import ExchangeLinks, ScriptedLink
from .seen_frames import SeenFrame
from .trading import Act, Trading


@set_module("bitget_proto.testing")
class ScriptedExchange(_BehaviourCommands):
    """An exchange for tests: a book of live orders, with faults on request.

    `link` returns the exchange's end of one WebSocket. `orders` are live at the start.

    - `credentials`: logins are checked against them (key, passphrase, timestamp, signature).
      Without credentials every login is accepted.
    - `epoch`: the wall clock at `now` 0, in seconds since 1970.
    - `refusals`: maps order ids to the codes (decimal strings other than "0") with which their
      cancels are refused.
    - `cancels_per_second`: the account's rate limit over all links ("Rate limit will be shared with
      Rest API"); None switches it off.
    - `batches_per_second`: a separate limit for batches. The orders of a batch then do not count
      towards `cancels_per_second`. With None, the default, they count. The exchange does not
      document which is correct.
    - `tells_limits`: whether answers of a unified account say how many more cancels it may send
      (`rateLimit`).
    - `same_order_interval`: the minimum seconds between two cancels of the same order (45129); None
      switches it off.
    - `late_by`: how many seconds late the answer is with the fault LATE.
    - `grace`: the seconds between the notice of the fault GOING_AWAY and the drop.
    - `lenient`: accept logins as existing clients send them (timestamps as numbers or in
      milliseconds, `api_key`, undocumented keys), and acknowledge subscriptions to any channel.
    - `on_frame`: called with every message that is received or sent, with secrets removed.

    Raises: ValidationError for `credentials` or a `config` of the wrong type, and for a code in
    `refusals` that is not a refusal code.
    """

    def __init__(
        self,
        orders: Iterable[CancelOrder] = (),
        *,
        credentials: Credentials | None = None,
        epoch: float = 1_763_958_366.0,
        config: ExchangeConfig | None = None,
        refusals: Mapping[str, str] | None = None,
        cancels_per_second: int | None = 10,
        batches_per_second: int | None = None,
        tells_limits: bool = False,
        same_order_interval: float | None = SAME_ORDER_INTERVAL,
        late_by: float = 15.0,
        grace: float = 60.0,
        lenient: bool = False,
        on_frame: Callable[[SeenFrame], object] | None = None,
    ) -> None:
        check_part("credentials", credentials, Credentials)
        check_part("config", config, ExchangeConfig)
        config = ExchangeConfig() if config is None else config
        self.config: ExchangeConfig = attrs.evolve(config, lenient=True) if lenient else config
        self.credentials = credentials
        self.epoch = epoch
        self.refusals: dict[str, str] = dict(refusals or {})
        self.late_by = late_by
        self.grace = grace
        self.tells_limits = tells_limits
        self.on_frame = on_frame
        self._book = Book(
            self.refusals,
            cancels_per_second,
            self.config.jitter or 0.0,
            same_order_interval,
            self.config.dialect,
            batches_per_second,
        )
        self._trading = Trading(
            self._book, self.config.dialect, lambda placed, now: self._links.push(placed, None, now)
        )
        self._links = ExchangeLinks(self._trading)
        self.log: list[Act] = self._trading.log
        """One entry per cancel that the exchange acted on or refused, in the order received."""

        self._handshakes = Handshakes()
        self.rest_behind: float = 0.0
        """By how many seconds the orders that REST shows lag behind the book."""
        self.countdown_ends: float | None = None
        """When all orders are cancelled unless the countdown is renewed (REST, unified accounts);
        None while it is off."""
        self._rest_api = RestApi(self, self._book, self._trading.cancel_by_rest)
        self._numbers = 0
        for code in self.refusals.values():
            check_refusal(code)
        for order in orders:
            self.place(order)

    def __repr__(self) -> str:
        coming = len(self._links.faults) + len(self._links.login_faults)
        return f"<ScriptedExchange {len(self.live)} live, {len(self.log)} in the log, {coming} faults to come>"

    @property
    def live(self) -> tuple[CancelOrder, ...]:
        """The live orders, in the order they were placed."""
        return self._book.live

    @property
    def links(self) -> tuple[ScriptedLink, ...]:
        """The open links, oldest first."""
        return tuple(self._links.open)

    def place(self, order: CancelOrder, *, size: str = "1", price: str = "100") -> None:
        """Add a live order to the book, under each of its ids.

        Raises: ValidationError for a size or a price that is not a decimal number above 0.
        """
        self._book.place(order, check_amount("size", size), check_amount("price", price))

    def fill(self, order: CancelOrder, now: float, quantity: str | None = None) -> None:
        """Fill a live order, completely or by `quantity`, and push its new state.

        Raises: ValidationError if no live order has this name, or if `quantity` is not a decimal
        number above 0, or more than is left; LocalProtocolError for a `now` that is not a finite
        number. Nothing changes then.
        """
        self._trading.fill(order, finite_time(now, -inf), quantity)

    def inject(self, *faults: Fault | None) -> None:
        """Apply these faults to the next cancels, one each, in order; None means no fault.

        Raises: ValidationError for a value that is not a `Fault`; nothing changes then.
        """
        self._links.faults.add(faults)

    def inject_rest(self, *faults: RestFault | None) -> None:
        """Apply these faults to the next REST requests, one each; None means no fault.

        Raises: ValidationError for a value that is not a `RestFault`; nothing changes then.
        """
        self._rest_api.faults.add(faults)

    def inject_login(self, *faults: Fault | None) -> None:
        """Apply these faults to the next logins, one each; None means no fault.

        With GOING_AWAY, THROTTLE and GARBAGE, the notice, the error or the garbage comes before the
        answer.

        Raises: ValidationError for a fault that does not apply to logins; nothing changes then.
        """
        self._links.login_faults.add(faults)

    def refuse_logins(self, n: int, code: str = "40015", *, stay: bool = False) -> None:
        """Refuse the next `n` logins with this code, whatever they contain.

        The exchange closes the connection after each refusal, unless `stay` is true.

        Raises: ValidationError for a count below 1 or a code that is not a refusal code; nothing
        changes then.
        """
        self._links.logins.refuse(n, code, stay=stay)

    def refuse_second_logins(self, code: str | None = "30005") -> None:
        """Refuse logins with an API key that is logged in on another link; None accepts them again.

        Raises: ValidationError for a code that is not a refusal code; nothing changes then.
        """
        self._links.logins.second = None if code is None else refusal(code).code

    def refuse_handshakes(
        self, n: int, status: int = 429, *, retry_after: int | None = None
    ) -> None:
        """Refuse the next `n` WebSocket handshakes with this HTTP status.

        `retry_after`, in seconds, is sent as `Retry-After`.

        Raises: ValidationError for a count below 1, a `status` that is not an HTTP error, or a
        `retry_after` that is not a whole number from 0 up; nothing changes then.
        """
        self._handshakes.refuse(n, status, retry_after)

    def maintenance(
        self,
        now: float,
        *,
        seconds: float | None = None,
        grace: float | None = None,
        codes: Iterable[str] | None = None,
        stay: bool = False,
    ) -> None:
        """Begin a maintenance window of `seconds`, or until `end_maintenance` is called.

        Every open link gets the notice 30033 now and is dropped after `grace` seconds (by default
        the exchange's own `grace`). Until then it is served as usual. Logins are refused with
        `codes` in turn: by default 45001, 40010, 40725 and 40015, as observed around releases. The
        exchange closes the connection after a refused login, unless `stay` is true.

        Raises: ValidationError for an invalid number of seconds or a code that is not a refusal
        code; LocalProtocolError for a `now` that is not a finite number. Nothing changes then.
        """
        now = finite_time(now, -inf)
        grace = self.grace if grace is None else check_delay("grace", grace)
        self._links.logins.begin_maintenance(now, seconds, codes, stay=stay)
        self._links.go_away(now, grace)

    def end_maintenance(self) -> None:
        """Accept logins again. Links that got the notice are still dropped."""
        self._links.logins.end_maintenance()

    def link(self) -> ScriptedLink:
        """Return the exchange's end of a new WebSocket."""
        self._numbers += 1
        return ScriptedLink(self, self._links, self._numbers)

    def rest(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> tuple[int, bytes] | None:
        """Return the HTTP status and the body for a REST request; None to cut its connection.

        `target` is the path with its query. `headers` have names in lower case. Never raises for
        the content of a request.
        """
        now = finite_time(now, -inf)
        self.handle_timeout(now)
        ends = self.countdown_ends
        answer = self._rest_api.answer(method, target, headers, body, now)
        if self.countdown_ends != ends:
            self._links.notify_all()  # the links now have to wake up at another time
        return answer

    def handle_timeout(self, now: float) -> None:
        """Cancel all orders if the countdown has ended, and push their new states.

        The countdown is then off. Links also call this method. If it is possible that no link is
        open, call it yourself when `countdown_ends` is due.

        Raises: LocalProtocolError for a `now` that is not a finite number.
        """
        ends = self.countdown_ends
        if ends is not None and ends <= finite_time(now, -inf):
            self.countdown_ends = None
            for placed in self._book.cancel_all(ends):
                self._links.push(placed, None, now)

    def handshake(self) -> tuple[int, int | None] | None:
        """Return the HTTP status and `Retry-After` for refusing a handshake, or None to accept it.

        A server calls this once for each handshake that arrives.
        """
        return self._handshakes.pop()

    def wall_clock(self, now: float) -> float:
        """Return the wall clock at `now`, in seconds since 1970."""
        return self.epoch + now

    def _behave(self, **changes: Any) -> None:
        self._links.behave(**changes)

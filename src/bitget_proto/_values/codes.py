"""What the exchange's codes mean: to a cancel, to a login, to the connection.

Rules of this file
- The table is data, from the exchange's error-code pages and from frames recorded on the live service. Codes were
  renumbered once (October 2025): what a code that is not here did is not known, and it is carried through as it came.
- A class is a refusal only when its codes say that the exchange did not act. "Try later" and "system busy" say nothing
  about what happened.
- The text that comes beside a code is for people and may be localised. Nothing is ever decided on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .enums import DescribedEnum
from .set_module import set_module
from .states import WhyClosed

ASK_FOR_ACCESS = (
    'access to trading over WebSocket is granted on request: "Please contact your BD or RM to apply for access '
    'permissions" (Cancel Order Channel)'
)
"""What to do when a key has no access. The code for that is not documented."""


@set_module("bitget_proto")
class CodeClass(DescribedEnum):
    """What a code says about the cancel that it answers. Each has a `sentence` for people.

    A cancel ends `Rejected` only with a class that says the exchange did not act. With OUTCOME_UNKNOWN, RETRY_LATER,
    GOING_AWAY, UNLISTED and UNREADABLE it ends `Unresolved`.
    """

    ACCEPTED = (
        "accepted",
        "The exchange received the request. The order may still fill before the cancel reaches it.",
    )
    NOT_FOUND = (
        "not found",
        "The exchange found no order under this id, product line and kind. That is no proof of an end: look the order up.",
    )
    FINISHED = "finished", "The order is filled or cancelled already."
    NOT_CANCELLABLE = "not cancellable", "The order cannot be cancelled as it stands."
    THROTTLED = "throttled", "Too many requests: slow down."
    OUTCOME_UNKNOWN = (
        "outcome unknown",
        "The cancel may or may not have happened: look the order up.",
    )
    RETRY_LATER = (
        "retry later",
        "The exchange says to try again later, and nothing about what happened: look the order up.",
    )
    BAD_PARAMETERS = "bad parameters", "The exchange does not take a parameter of the request."
    PERMISSION = (
        "permission or account",
        f"The key or the account may not do this; {ASK_FOR_ACCESS}.",
    )
    PROTOCOL = "protocol", "The request is not one that the exchange knows: a bug of the sender."
    LOGIN = "login", "The connection is not logged in, or the login was refused."
    GOING_AWAY = "going away", "The exchange resets the connection within a minute: connect anew."
    UNLISTED = (
        "unlisted",
        "A code that this library does not know. What the exchange did is not known either: look the order up.",
    )
    UNREADABLE = (
        "unreadable",
        "The code is missing, is no code, or contradicts the event: nothing follows from it.",
    )

    @classmethod
    def of(cls, code: str | None) -> CodeClass:
        """The class of a code as `decode` gives it: a decimal string, or None when it could not be read."""
        return CLASSES[code]


CODES: Mapping[CodeClass, tuple[str, ...]] = MappingProxyType({
    CodeClass.ACCEPTED: ("0",),
    CodeClass.NOT_FOUND: (
        "43001", "22001", "31007", "40109", "40768", "40819", "43004", "45057", "80011", "25204", "24056", "43020", "43025",
        "43033",
    ),
    CodeClass.FINISHED: ("40769", "45031", "45055", "45134", "50062"),
    CodeClass.NOT_CANCELLABLE: ("45056", "45125", "45126", "45024", "43002", "43003", "25102", "25106"),
    CodeClass.THROTTLED: ("429", "45129", "25004", "70228", "30006", "30007"),
    CodeClass.OUTCOME_UNKNOWN: (
        "40010", "40725", "45001", "40910", "25000", "25001", "40200", "40604", "500", "50008",
    ),
    CodeClass.RETRY_LATER: ("40015", "40808", "25003", "25653", "40908"),
    CodeClass.BAD_PARAMETERS: (
        "40017", "40019", "40020", "40034", "40402", "41101", "400172", "40304", "40305",
    ),
    CodeClass.PERMISSION: (
        "40014", "40018", "40022", "40023", "40025", "40026", "40038", "40084", "40085", "40301", "25006", "25007", "25008",
        "25012", "25013", "25245", "25620",
    ),
    CodeClass.PROTOCOL: ("30001", "30002", "30003", "30016", "25002"),
    CodeClass.LOGIN: ("30004", "30005", "30011", "30012", "30013", "30014", "30015"),
    CodeClass.GOING_AWAY: ("30033",),
})  # fmt: skip
"""The codes of each class, the usual one first."""


class _Classes(dict[str | None, CodeClass]):
    def __missing__(self, _: str | None) -> CodeClass:
        return CodeClass.UNLISTED


CLASSES: Mapping[str | None, CodeClass] = MappingProxyType(
    _Classes(
        {None: CodeClass.UNREADABLE}
        | {code: code_class for code_class, codes in CODES.items() for code in codes}
    )
)
"""The class of each code, as `CodeClass.of` gives it."""

REFUSALS = frozenset({
    CodeClass.NOT_FOUND, CodeClass.FINISHED, CodeClass.NOT_CANCELLABLE, CodeClass.THROTTLED, CodeClass.BAD_PARAMETERS,
    CodeClass.PERMISSION, CodeClass.PROTOCOL, CodeClass.LOGIN,
})  # fmt: skip
"""The classes with which a cancel ends `Rejected`. With any other but ACCEPTED it ends `Unresolved`."""

FINAL_AFTER_RESEND = frozenset({CodeClass.FINISHED})
"""The refusals that settle a cancel that was sent more than once: the order has ended, by whichever attempt. Any other
says nothing about the attempt before."""

TOO_MANY_REQUESTS = "30006"
"""Names no request; the paces stand still after it."""

ENDS: Mapping[str | None, WhyClosed] = MappingProxyType({
    "30004": WhyClosed.NOT_LOGGED_IN,
    "30007": WhyClosed.THROWN_OUT,
})  # fmt: skip
"""The errors without id after which the exchange serves, or keeps, the connection no longer."""

NOT_THE_LOGINS_ANSWER = frozenset(
    {CodeClass.THROTTLED, CodeClass.GOING_AWAY, CodeClass.RETRY_LATER}
)
"""An error with such a code can come while a login is due without being its answer: a 30033 was seen to."""

STAMP_REFUSED = frozenset({"30013", "30014"})
"""The stamp of a login is not valid, or older than 30 s: the usual reason is a skewed clock."""

REFUSED_FOR_GOOD: frozenset[str] = frozenset(
    {"30011", "30012", "30015", *CODES[CodeClass.PERMISSION]}
)
"""A login that was refused with such a code need not be tried again: the key, the pass phrase, the signature or the
account is wrong. 30005 is no proof of that: what it says is not documented."""

NOTES: Mapping[str, str] = MappingProxyType({
    "43001": "The order does not exist: the usual answer for an order that has ended, and seen for live orders of another "
    "kind or product line, and right after placing.",
    "40109": "The order cannot be found: seen for live orders of another kind, and right after placing.",
    "24056": "Not found, in the items of a list (unified accounts).",
    "25204": "The order does not exist (unified accounts).",
    "43020": "A stop order, which is another kind of order, is not found.",
    "43025": "A plan order, which is another kind of order, is not found.",
    "43033": "A trailing order, which is another kind of order, is not found.",
    "25102": "The symbol is closed (unified accounts).",
    "25106": "The symbol is closed (unified accounts).",
    "500": "System busy.",
    "25000": "System error, please try again later (unified accounts).",
    "25001": "Timed out (unified accounts).",
    "40200": "Server upgrade, please try again later.",
    "40604": "Server busy.",
    "50008": "Network time-out.",
    "25003": "Concurrent requests (unified accounts).",
    "25653": "The order has changed, try again (unified accounts).",
    "25002": "Not supported (unified accounts).",
    "25013": "No trading by API (unified accounts).",
    "25245": "The account is not in unified mode.",
    "40084": "A classic account asked on the way of unified accounts.",
    "40085": "A unified account asked on the way of classic accounts.",
    "45129": "The same order may be cancelled once a second.",
    "30001": "No such channel.",
    "30002": "Illegal request.",
    "30003": "Bad op.",
    "30016": "Bad parameter.",
    "30004": "Not logged in: a private operation came before the answer to the login.",
    "30006": "Too many requests. Names no request.",
    "30007": "Too many requests, and the connection is closed. Names no request.",
    "30011": "The API key is not valid.",
    "30012": "The passphrase is not valid.",
    "30013": "The stamp of the login is not valid: the usual reason is a skewed clock.",
    "30014": "The login has expired, 30 s after its stamp: the usual reason is a skewed clock.",
    "30015": "The signature is not valid.",
    "30033": "Service upgrade in progress: sent up to 60 s before the exchange drops the connection.",
})  # fmt: skip
"""What is known of single codes beyond their class."""

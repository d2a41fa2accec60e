"""The meaning of the exchange's error codes for a cancel, a login and the connection.

The codes come from the exchange's error-code pages and from frames recorded on the live service.
They were renumbered once (October 2025).

Rules for changes
- A class is a refusal only if its codes say that the exchange did not act. "Try later" and "system
  busy" do not say what happened.
- An unlisted code has an unknown effect, and is passed on unchanged.
- The text next to a code is for people and may be localised: no decision depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .dialects import Dialect
from .enums import DescribedEnum
from .set_module import set_module
from .states import WhyClosed

ASK_FOR_ACCESS = (
    'access to trading over WebSocket is granted on request: "Please contact your BD or RM to '
    'apply for access permissions" (Cancel Order Channel)'
)
"""Advice for a key without access. The error code for that is not documented."""

NEVER_ANSWERED = (
    "the exchange has answered no cancel on this connection: check that the account is of the kind "
    "that the connection is for, classic or unified (the login succeeds for both), and that the key "
    f"may trade; {ASK_FOR_ACCESS}"
)
"""Advice when cancels time out and none was ever answered."""


@set_module("bitget_proto")
class CodeClass(DescribedEnum):
    """The meaning of a code for the cancel that it answers. Each member has a `sentence`.

    A cancel ends `Rejected` only with a class whose codes say that the exchange did not act. With
    OUTCOME_UNKNOWN, RETRY_LATER, GOING_AWAY, UNLISTED and UNREADABLE it ends `Unresolved`.
    """

    ACCEPTED = (
        "accepted",
        "The exchange received the request. The order may still fill before the cancel reaches it.",
    )
    NOT_FOUND = (
        "not found",
        (
            "The exchange found no order with this id, product line and kind. This is no proof of "
            "an end: look the order up."
        ),
    )
    FINISHED = "finished", "The order is already filled or cancelled."
    NOT_CANCELLABLE = "not cancellable", "The order cannot be cancelled in its current state."
    THROTTLED = "throttled", "Too many requests: slow down."
    OUTCOME_UNKNOWN = (
        "outcome unknown",
        "The cancel may or may not have happened: look the order up.",
    )
    RETRY_LATER = (
        "retry later",
        "The exchange says to try again later, and nothing about what happened: look the order up.",
    )
    BAD_PARAMETERS = "bad parameters", "The exchange does not accept a parameter of the request."
    PERMISSION = (
        "permission or account",
        f"The key or the account has no permission for this; {ASK_FOR_ACCESS}.",
    )
    PROTOCOL = "protocol", "The exchange does not know this request: a bug in the sender."
    LOGIN = (
        "login",
        (
            "The connection is not logged in, or the login or the signature of a REST request was "
            "refused."
        ),
    )
    GOING_AWAY = "going away", "The exchange resets the connection within a minute: reconnect."
    UNLISTED = (
        "unlisted",
        "This library does not know the code; the effect is unknown: look the order up.",
    )
    UNREADABLE = (
        "unreadable",
        "The code is missing, unreadable, or contradicts the event: nothing follows from it.",
    )

    @classmethod
    def of(cls, code: str | None, dialect: Dialect = Dialect.CLASSIC) -> CodeClass:
        """Return the class of a code; None stands for a code that could not be read."""
        return CLASSES[dialect][code]


_BOTH: Mapping[CodeClass, tuple[str, ...]] = MappingProxyType({
    CodeClass.ACCEPTED: ("0",),
    CodeClass.NOT_FOUND: ("25204",),
    CodeClass.THROTTLED: ("429", "25004", "30006", "30007"),
    CodeClass.OUTCOME_UNKNOWN: (
        "40010", "40725", "45001", "40910", "25001", "40200", "40604", "500", "50008",
    ),
    CodeClass.RETRY_LATER: ("40015", "40808", "25003", "40908"),
    CodeClass.BAD_PARAMETERS: ("41101",),
    CodeClass.PERMISSION: (
        "40014", "40018", "40022", "40023", "40025", "40026", "40038", "40084", "40085", "40301",
    ),
    CodeClass.PROTOCOL: ("30001", "30002", "30003", "30016"),
    CodeClass.LOGIN: (
        "30004", "30005", "30011", "30012", "30013", "30014", "30015", "40005", "40006", "40008", "40009", "40012",
    ),
    CodeClass.GOING_AWAY: ("30033",),
})  # fmt: skip
"""The codes that mean the same on classic and on unified accounts."""

_CLASSIC: Mapping[CodeClass, tuple[str, ...]] = MappingProxyType({
    CodeClass.NOT_FOUND: (
        "43001", "22001", "31007", "40109", "40768", "40819", "43004", "45057", "80011",
        "43020", "43025", "43033",
    ),
    CodeClass.FINISHED: ("40769", "45031", "45055", "45134", "50062"),
    CodeClass.NOT_CANCELLABLE: ("45056", "45125", "45126", "45024", "43002", "43003"),
    CodeClass.THROTTLED: ("45129", "70228"),
    CodeClass.BAD_PARAMETERS: (
        "40017", "40019", "40020", "40034", "40402", "400172", "40304", "40305",
    ),
})  # fmt: skip

_UNIFIED: Mapping[CodeClass, tuple[str, ...]] = MappingProxyType({
    CodeClass.NOT_FOUND: ("24056",),
    CodeClass.NOT_CANCELLABLE: ("25102", "25106"),
    CodeClass.OUTCOME_UNKNOWN: ("25000",),
    CodeClass.RETRY_LATER: ("25653",),
    CodeClass.PERMISSION: ("25006", "25007", "25008", "25012", "25013", "25245", "25620"),
    CodeClass.PROTOCOL: ("25002",),
})  # fmt: skip

CODES: Mapping[Dialect, Mapping[CodeClass, tuple[str, ...]]] = MappingProxyType({
    dialect: MappingProxyType({
        code_class: codes
        for code_class in CodeClass
        if (codes := own.get(code_class, ()) + _BOTH.get(code_class, ()))
    })
    for dialect, own in ((Dialect.CLASSIC, _CLASSIC), (Dialect.UNIFIED, _UNIFIED))
})  # fmt: skip
"""The codes of each class for each dialect, the most common one first.

The codes of the two dialects are "not guaranteed to be identical", so a code is a refusal only
where it is known to be one.
"""


class _Classes(dict[str | None, CodeClass]):
    def __missing__(self, _: str | None) -> CodeClass:
        return CodeClass.UNLISTED


CLASSES: Mapping[Dialect, Mapping[str | None, CodeClass]] = MappingProxyType({
    dialect: MappingProxyType(
        _Classes(
            {None: CodeClass.UNREADABLE}
            | {code: code_class for code_class, codes in table.items() for code in codes}
        )
    )
    for dialect, table in CODES.items()
})  # fmt: skip
"""The class of each code, as returned by `CodeClass.of`."""

REFUSALS = frozenset({
    CodeClass.NOT_FOUND, CodeClass.FINISHED, CodeClass.NOT_CANCELLABLE, CodeClass.THROTTLED,
    CodeClass.BAD_PARAMETERS, CodeClass.PERMISSION, CodeClass.PROTOCOL, CodeClass.LOGIN,
})  # fmt: skip
"""The classes with which a cancel ends `Rejected`. With any other class but ACCEPTED it ends
`Unresolved`."""

FINAL_AFTER_RESEND = frozenset({CodeClass.FINISHED})
"""The refusals that settle a cancel that was sent more than once: the order has ended, so it does
not matter which attempt succeeded. Other refusals say nothing about the earlier attempts."""

TOO_MANY_REQUESTS = "30006"
"""An error that names no request. The rate limits pause after it."""

FATAL_ERRORS: Mapping[str | None, WhyClosed] = MappingProxyType({
    "30004": WhyClosed.NOT_LOGGED_IN,
    "30007": WhyClosed.THROWN_OUT,
})  # fmt: skip
"""Errors without an id after which the exchange no longer serves the connection, or closes it."""

NOT_THE_LOGINS_ANSWER = frozenset(
    {CodeClass.THROTTLED, CodeClass.GOING_AWAY, CodeClass.RETRY_LATER}
)
"""Classes of errors that may arrive while a login is pending and do not answer the login. This was
seen with 30033."""

STAMP_REFUSED = frozenset({"30013", "30014"})
"""Codes that refuse the timestamp of a login as invalid, or as older than 30 s. The usual cause is
a skewed clock."""

REFUSED_FOR_GOOD: frozenset[str] = frozenset(
    {
        "30011",
        "30012",
        "30015",
        *(code for codes in CODES.values() for code in codes[CodeClass.PERMISSION]),
    }
)
"""Codes after which a login is not retried: the key, the passphrase, the signature or the account
is wrong. 30005 is not among them, because its meaning is not documented."""

NOTES: Mapping[str, str] = MappingProxyType({
    "43001": "The order does not exist: the usual answer for an order that has ended. Also seen "
    "for live orders of another kind or product line, and right after placing.",
    "40109": "The order cannot be found. Seen for live orders of another kind, and right after "
    "placing.",
    "24056": "An item of a list was not found (unified accounts).",
    "25204": "The order does not exist (unified accounts).",
    "43020": "A stop order (another kind of order) was not found.",
    "43025": "A plan order (another kind of order) was not found.",
    "43033": "A trailing order (another kind of order) was not found.",
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
    "25013": "Trading through the API is not allowed (unified accounts).",
    "25245": "The account is not in unified mode.",
    "40084": "A classic account used the API of unified accounts.",
    "40085": "A unified account used the API of classic accounts.",
    "45129": "The same order may be cancelled only once a second.",
    "30001": "No such channel.",
    "30002": "Illegal request.",
    "30003": "Bad op.",
    "30016": "Bad parameter.",
    "30004": "Not logged in: a private operation was sent before the login was answered.",
    "30006": "Too many requests. The error names no request.",
    "30007": "Too many requests: the connection is closed. The error names no request.",
    "30011": "The API key is invalid.",
    "30012": "The passphrase is invalid.",
    "30013": "The timestamp of the login is invalid, usually because of a skewed clock.",
    "30014": "The login is older than 30 s by its timestamp, usually because of a skewed clock.",
    "30015": "The signature is invalid.",
    "40005": "The timestamp of a REST request is invalid.",
    "40006": "The API key of a REST request is invalid.",
    "40008": "The timestamp of a REST request is 30 s off, usually because of a skewed clock.",
    "40009": "The signature of a REST request is invalid.",
    "40012": "The API key or the passphrase of a REST request is invalid.",
    "30033": "Service upgrade in progress: sent up to 60 s before the exchange drops the "
    "connection.",
})  # fmt: skip
"""Notes on single codes, in addition to their class."""

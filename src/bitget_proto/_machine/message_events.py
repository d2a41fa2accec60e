"""Events for received messages that concern no cancel."""

from __future__ import annotations

from collections.abc import Iterator

from .._values.codes import NOT_THE_LOGINS_ANSWER, CodeClass
from .._values.events import (
    Event,
    ExchangeError,
    GoingAway,
    LoginRejected,
    Ready,
    Subscribed,
    SubscribeRefused,
    Unrecognised,
    WhyUnrecognised,
)
from .._wire.message_limits import as_text
from .._wire.messages import (
    ErrorReply,
    LoginReply,
    Malformed,
    Message,
    OrdersPush,
    SubscribeReply,
    TradeReply,
)


def unrecognised(
    message: str | bytes, why: WhyUnrecognised, malformed: str | None = None
) -> Unrecognised:
    """Return the event for a message without a meaning here."""
    return Unrecognised(text=as_text(message), why=why, malformed=malformed)


def login_rejected(reply: LoginReply | ErrorReply, message: str | bytes) -> LoginRejected:
    """Return the event for a refusal of the login."""
    return LoginRejected(
        code=reply.code,
        code_class=reply.code_class,
        message=reply.message,
        text=as_text(message),
    )


def may_refuse_login(error: ErrorReply) -> bool:
    """Return whether an error without a request can be the answer to the login."""
    return not error.not_for_cancel and error.code_class not in NOT_THE_LOGINS_ANSWER


def login_event(
    reply: LoginReply, message: str | bytes, *, sent: bool, awaited: bool
) -> Ready | LoginRejected | Unrecognised:
    """Return the event for an answer to the login.

    `sent` says whether the login was sent, and `awaited` whether its answer is still awaited.
    """
    if not awaited or (sent and reply.code is None):
        return unrecognised(message, WhyUnrecognised.UNEXPECTED)
    if not sent:
        return unrecognised(message, WhyUnrecognised.NEVER_SENT)
    return Ready() if reply.code_class is CodeClass.ACCEPTED else login_rejected(reply, message)


def error_event(
    error: ErrorReply | SubscribeReply, message: str | bytes
) -> GoingAway | ExchangeError | SubscribeRefused:
    """Return the event for an error without a request id, or for a refused subscription."""
    text = as_text(message)
    if error.code_class is CodeClass.GOING_AWAY:
        return GoingAway(message=error.message, text=text)
    if isinstance(error, ErrorReply):
        return ExchangeError(
            code=error.code, code_class=error.code_class, message=error.message, text=text
        )
    return SubscribeRefused(
        inst_type=error.inst_type,
        code=error.code,
        code_class=error.code_class,
        message=error.message,
        text=text,
    )


def events_of(frame: Message, message: str | bytes) -> Iterator[Event]:
    """Yield the events for any other message."""
    if isinstance(frame, OrdersPush):
        yield from frame.updates
        if frame.unreadable:
            yield unrecognised(message, WhyUnrecognised.UNREADABLE_ORDER)
    elif isinstance(frame, SubscribeReply):
        yield Subscribed(inst_type=frame.inst_type)
    elif isinstance(frame, Malformed):
        yield unrecognised(message, WhyUnrecognised.MALFORMED, frame.reason)
    elif isinstance(frame, (TradeReply, ErrorReply)):
        yield unrecognised(
            message,
            WhyUnrecognised.NO_SINGLE_ID if frame.names_request else WhyUnrecognised.NO_ID,
        )
    else:
        yield unrecognised(message, WhyUnrecognised.OTHER)

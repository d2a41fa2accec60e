from __future__ import annotations

import json

import pytest

from bitget_proto import CancelOrder, Codec, Dialect, InstType, encode_cancel, sign_login
from bitget_proto import Credentials as Key
from bitget_proto.testing import Pair, ScriptedExchange, SeenFrame
from bitget_proto.testing._exchange.seen_frames import Direction, redacted

ORDER = CancelOrder("BTCUSDT", order_id="1", inst_type=InstType.SPOT)
UNIFIED = Codec(dialect=Dialect.UNIFIED)
BATCH = (CancelOrder(order_id="1"), CancelOrder(order_id="2"))
SECRETS = ("my-key", "my-secret", "my-passphrase")
LOGIN = sign_login(Key(*SECRETS), 1_763_958_366)


@pytest.mark.parametrize(
    "text",
    [
        "ping",
        "pong",
        encode_cancel(ORDER, "1"),
        '{"op":"subscribe","args":[{"channel":"orders"}]}',
        '{"event":"login","code":0}',
        '{"timestamp":[1]}',
        "{}",
    ],
)
def test_a_frame_without_a_secret_is_shown_unchanged(text: str) -> None:
    assert redacted(text) == text
    assert redacted(text.encode()) == text


def test_a_login_shows_only_its_timestamp() -> None:
    assert json.loads(redacted(Codec().encode_login(LOGIN))) == {
        "op": "login",
        "args": [{"apiKey": "***", "passphrase": "***", "timestamp": "1763958366", "sign": "***"}],
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"op":"login","args":[{"api_key":"SECRET","Passphrase":"SECRET","timestamp":1763958366000,"sign":"SECRET"}]}',
        '{"op":"LOGIN","args":["SECRET",["SECRET"],{"a":{"b":"SECRET"}}],"SECRETS":"SECRET"}',
        '{"op":["login"],"args":"SECRET"}',
        '{"op":"login ","args":{"timestamp":"SECRET","x":1.5}}',
        '{"op":"login","args":[{"a":"SECRET"}],"op":"subscribe"}',
        '{"op":"subscribe","args":[{"channel":"orders","api-key":"SECRET"}]}',
        '{"op":"trade","args":[{"params":{"SIGN":{"x":"SECRET"}}}]}',
        '{"passphrase":"SECRET","passphrase":1}',
        '{"op":"trade","args":{"passphrase":"SECRET"},"args":[]}',
        '{"op":"login","args":[{"passphrase":"SECRET"',
        '["login","SECRET"]',
        '"SECRET"',
        "login SECRET",
        "[" * 10_000 + '"SECRET"' + "]" * 10_000,
        '{"op":"login","args":' + "[" * 900 + '"SECRET"' + "]" * 900 + "}",
        '{"passphrase":"SECRET","n":' + "1" * 5000 + "}",
        '{"event":"error","arg":[{"passphrase":"SECRET"}],"code":30016}',
    ],
)
def test_no_secret_is_shown_in_any_spelling(text: str) -> None:
    for shown in (redacted(text), redacted(text.encode() + b"\xff")):
        assert "SECRET" not in shown.replace("SECRETS", "")


def test_a_frame_that_is_not_a_json_object_is_shown_as_its_length() -> None:
    assert redacted("<html>") == "<6 characters that are no JSON object>"


def test_on_frame_gets_every_received_and_sent_frame_with_its_link() -> None:
    seen: list[SeenFrame] = []
    exchange = ScriptedExchange([ORDER], on_frame=seen.append, credentials=Key(*SECRETS))
    Pair(exchange=exchange).open()
    pair = Pair(exchange=exchange)
    pair.open()
    pair.run(1.5)
    pair.cancel(ORDER, id="a")
    pair.say("push")
    assert [(frame.at, frame.link, frame.direction) for frame in seen] == [
        (0.0, 1, "received"),
        (0.0, 1, "sent"),
        (0.0, 2, "received"),
        (0.0, 2, "sent"),
        (1.5, 2, "received"),
        (1.5, 2, "sent"),
        (1.5, 2, "sent"),
    ]
    assert seen[4].text == encode_cancel(ORDER, "a")
    assert seen[-1].text == "<4 characters that are no JSON object>"
    assert not [
        frame for frame in seen if any(secret in repr(frame) for secret in (*SECRETS, LOGIN.sign))
    ]


@pytest.mark.parametrize(
    ("direction", "text", "orders"),
    [
        ("received", encode_cancel(ORDER, "1"), (ORDER,)),
        ("received", encode_cancel(ORDER, "1").replace('"id"', '"more":1,"id"'), (ORDER,)),
        ("received", UNIFIED.encode_cancel(BATCH[0], "1"), BATCH[:1]),
        ("received", UNIFIED.encode_batch(BATCH, "1"), BATCH),
        ("received", encode_cancel(ORDER, "1").replace("cancel-order", "place-order"), ()),
        ("received", "ping", ()),
        ("received", "{", ()),
        ("sent", encode_cancel(ORDER, "1"), ()),
    ],
    ids=["page", "lenient", "unified", "batch", "place-order", "ping", "not JSON", "sent"],
)
def test_a_received_cancel_shows_its_orders(
    direction: Direction, text: str, orders: tuple[CancelOrder, ...]
) -> None:
    assert SeenFrame(at=0.0, link=1, direction=direction, text=text).cancels == orders

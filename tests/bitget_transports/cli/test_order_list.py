"""The lists that `orders` and `exchange` read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitget_proto import CancelOrder, Codec, InstType
from bitget_transports.cli._exit_codes import Failure
from bitget_transports.cli._order_list import Defaults, read_orders

DEFAULTS = Defaults(inst_id="BTCUSDT", inst_type=None, client_oids=False, codec=Codec())
BARE = Defaults(inst_id=None, inst_type=None, client_oids=False, codec=Codec())


def read(
    tmp_path: Path, text: str | bytes, defaults: Defaults = DEFAULTS
) -> tuple[CancelOrder, ...]:
    file = tmp_path / "orders"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_orders((), [str(file)], defaults).orders


def refusal(tmp_path: Path, text: str | bytes, defaults: Defaults = DEFAULTS) -> list[str]:
    with pytest.raises(Failure) as caught:
        read(tmp_path, text, defaults)
    assert caught.value.code == 2
    return str(caught.value).replace(str(tmp_path), "").splitlines()


ETH = CancelOrder("ETHUSDT", "1", None, InstType.USDT_FUTURES)


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("1\n2\n", [CancelOrder("BTCUSDT", "1"), CancelOrder("BTCUSDT", "2")]),
        ("\ufeff1\r\n\r\n  2  ", [CancelOrder("BTCUSDT", "1"), CancelOrder("BTCUSDT", "2")]),
        ("inst_id,order_id,inst_type\nETHUSDT,1,usdt-futures\n", [ETH]),
        ("orderId;instId;instType;size\n1;ETHUSDT;USDT-FUTURES;0.5\n", [ETH]),
        ("Client OID\tSymbol\nmine\tETHUSDT\n", [CancelOrder("ETHUSDT", client_oid="mine")]),
        ('order_id,client_oid\n1,\n"2","a,""b"\n', [CancelOrder("BTCUSDT", "1"), CancelOrder("BTCUSDT", "2", 'a,"b')]),
        ("order_id,inst_id\n7,\n", [CancelOrder("BTCUSDT", "7")]),
        ('{"order_id":1376695893517410304}', [CancelOrder("BTCUSDT", "1376695893517410304")]),
        ('"8"\n{"order_id":9}\n', [CancelOrder("BTCUSDT", "8"), CancelOrder("BTCUSDT", "9")]),
        ('{"orderId":"1","instId":"ETHUSDT","instType":"USDT-FUTURES","size":"1"}', [ETH]),
        ("id,symbol\n1,ETHUSDT\n", [CancelOrder("ETHUSDT", "1")]),
        ("id,order_id\n5,1\n", [CancelOrder("BTCUSDT", "1")]),
        ('[{"id":"1","clientOrderId":"a","symbol":"ETHUSDT","status":"open"},{"orderId":"2"}, "3"]\n4\n',
         [CancelOrder("ETHUSDT", "1", "a"), *(CancelOrder("BTCUSDT", id) for id in "234")]),
        ("id,clientOrderId,symbol\n1,,BTC/USDT\n2,,ETH/USDT:USDT\n3,mine,BTC/USDC:USDC\n",
         [CancelOrder("BTCUSDT", "1"), CancelOrder("ETHUSDT", "2", None, InstType.USDT_FUTURES),
          CancelOrder("BTCPERP", "3", "mine", InstType.USDC_FUTURES)]),
        ('[\n  {\n    "id": "1",\n    "clientOrderId": null,\n    "symbol": "ETH/USDT:USDT",\n    "info": {}\n  }\n]\n', [ETH]),
        ('{"code":"00000","msg":"success","data":[{"orderId":"1","symbol":"ETHUSDT","category":"USDT-FUTURES"}]}', [ETH]),
        ('{\n"code": "00000",\n"data": {"entrustedList": [{"orderId": "1", "symbol": "BTCUSDT"}], "endId": "1"}\n}\n',
         [CancelOrder("BTCUSDT", "1")]),
        ('{"code":"00000","data":{"list":[{"orderId":"1","symbol":"BTCUSDT"}],"cursor":"1"}}', [CancelOrder("BTCUSDT", "1")]),
        ("order_id\nabc\n", [CancelOrder("BTCUSDT", "abc")]),
        ("order_id,inst_id\n1,币安人生USDT\n2,BTCUSDT-250328\n",
         [CancelOrder("币安人生USDT", "1"), CancelOrder("BTCUSDT-250328", "2")]),
    ],
)  # fmt: skip
def test_the_format_of_a_list_is_detected(
    tmp_path: Path, text: str, orders: list[CancelOrder]
) -> None:
    assert list(read(tmp_path, text)) == orders


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\n2,3\n", '/orders:2: "2,3" has 2 columns; expected one id per line'),
        ("order_id,inst_id\n1,BTCUSDT,3\n", "has 3 columns; expected at most 2, as in the header"),
        ("1\n\x1b[2J\n", "/orders:2: order_id must be 1 to 64 printable ASCII characters"),
        ('{"order_id": 1.5}', "order_id must be"),
        ('{"order_id": true}', "order_id must be"),
        ('{"inst_id": "BTCUSDT"}', "needs an order_id or a client_oid"),
        ('{"order_id": "1", "inst_type": "SWAP"}', "inst_type must be one of SPOT, USDT-FUTURES"),
        ('{"order_id": "1", "inst_id": "BTC/USDT"}', "write 'BTCUSDT'"),
        ('{"order_id": "1", "inst_id": "BTC/USDT:USDT"}', "/orders:1: inst_id must"),
        ('{"order_id": "1", "inst_id": "BTC/USDT:USDT"}', "write 'BTCUSDT' and --inst-type USDT-FUTURES"),
        ("1\n# comment\n", '/orders:2: "# comment" looks like a comment'),
        ("#5\n", '/orders:1: "#5" looks like a comment'),
        ("# exported today\norder_id\n1\n", '/orders:1: "# exported today" looks like a comment'),
        ("1\nnot json\n", "/orders:2: order_id must be 1 to 64 printable ASCII characters without blanks"),
        ("'1376695893517410305\n", "write '1376695893517410305'"),
        ("order_id\n1\nnan\n", "/orders:3: order_id must be the exchange's id; got 'nan', which stands for a missing value"),
        ('{"order_id": ', "is not valid JSON: expected one object per line"),
        ("[1, 2]", "is not an object or a string: expected one object per line"),
        ('[{"order_id": "1"}, []]', "is not an object or a string: expected one object per line"),
        ('{"order_id": \n{}', "alone or with the lines below (Expecting ',' delimiter in line 2 from here): expected"),
        ("1\n[\n1]\n", '/orders:2: "[" is not valid JSON: expected one object per line'),
        ('{"code":"40009","msg":"sign signature error","data":null}',
         'is a response with the code "40009", which lists no orders'),
        ('{"code":"00000","data":{"orderId":"1"}}', "has no list of orders in data: expected one object per line"),
        ('{"code":"00000","data":{"entrustedList":null}}', "no order to cancel"),
        ("ids\n1\n", '/orders:1: order_id has digits only; got "ids"'),
        ('"abc"\n', '/orders:1: order_id has digits only; got "abc"'),
        ("symbol,id\nBTC/ETH:BTC,1\n", "/orders:2: inst_id must be the exchange's own name"),
        ('[{"order_id": "1"}, {"order_id": true}]', "/orders:1, item 2: order_id must be"),
        ("order_id,attempts\n1,x\n", '/orders:2: attempts must be a whole number from 0 up; got "x"'),
        ("[\n", "is not valid JSON: expected one object per line"),
        ("order_id\n1.37669589351741E+18\n", "/orders:2: order_id must be the exchange's whole id"),
        (b"1\n\xff\n", "/orders:2: not valid UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_line_is_reported_by_its_number(tmp_path: Path, text: str | bytes, said: str) -> None:
    lines = refusal(tmp_path, text)
    assert any(said in line for line in lines), lines
    assert lines[-1] == "nothing was sent" or said == "no order to cancel"
    assert all(line.isprintable() for line in lines)


def test_the_number_of_reported_bad_lines_is_bounded(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "a,b\n" * 50)
    assert len(lines) == 12
    assert lines[10] == "… and 40 more invalid lines"


def test_an_order_without_an_instrument_is_refused(tmp_path: Path) -> None:
    assert "pass --instrument BTCUSDT" in refusal(tmp_path, "1\n", BARE)[0]


def test_an_endless_line_is_not_read_to_its_end() -> None:
    with pytest.raises(Failure, match="longer than 65536 bytes"):
        read_orders((), ["/dev/zero"], DEFAULTS)


def test_a_long_array_on_one_line_is_read(tmp_path: Path) -> None:
    listed = [{"id": str(n), "info": {"why": "x" * 500}} for n in range(300)]
    assert len(read(tmp_path, json.dumps(listed))) == 300


def test_an_endless_array_is_not_read_to_its_end(tmp_path: Path) -> None:
    for text in ("[" + " " * 2**24, "[\n" + " " * 2**24):
        assert "longer than 16777216 bytes" in refusal(tmp_path, text)[0]


def test_attempts_of_earlier_runs_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "left.jsonl"
    file.write_text(
        '{"order_id":"1"}\n{"order_id":"2","attempts":2}\n{"order_id":"1","attempts":1}\n'
    )
    read = read_orders(["3"], [str(file)], DEFAULTS)
    assert {order.order_id: n for order, n in read.attempts.items()} == {"1": 1, "2": 2}


@pytest.mark.parametrize("file", ["/no/such/file", "/tmp", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(file: str) -> None:
    with pytest.raises(Failure, match="cannot read"):
        read_orders((), [file], DEFAULTS)


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    assert refusal(tmp_path, "\n\n")[0].startswith("no order to cancel")


def test_a_duplicate_is_sent_once_and_its_first_place_is_named(tmp_path: Path) -> None:
    file = tmp_path / "orders"
    file.write_text("order_id,client_oid\n1,a\n2,\n1,b\n,a\n")
    read = read_orders(["2"], [str(file)], DEFAULTS)
    # The first and third have the same order id, which takes precedence over the client id.
    assert [(order.order_id, order.client_oid) for order in read.orders] == [
        ("2", None),
        ("1", "a"),
        (None, "a"),
    ]
    assert read.duplicates == (
        f"{file}:3: BTCUSDT 2 is a duplicate of argument 1: it is sent once",
        f"{file}:4: BTCUSDT 1 is a duplicate of {file}:2: it is sent once",
    )


def test_plain_ids_may_be_client_order_ids(tmp_path: Path) -> None:
    mine = Defaults(inst_id="BTCUSDT", inst_type=None, client_oids=True, codec=Codec())
    assert read(tmp_path, "x\n#5\n", mine) == tuple(
        CancelOrder("BTCUSDT", client_oid=id) for id in ("x", "#5")
    )
    assert read(tmp_path, "id\nx\n", mine) == (CancelOrder("BTCUSDT", client_oid="x"),)
    assert "looks like a comment" in refusal(tmp_path, "# comment\n", mine)[0]

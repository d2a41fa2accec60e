"""The help texts of the commands. `_wrapping` fits them to the terminal."""

from __future__ import annotations

from typing import Final

from bitget_proto.testing import Fault

FAULTS: Final = ("none", *(fault.value.replace(" ", "-") for fault in Fault))
"""The names that `--fault` accepts before the colon."""

EXAMPLES: Final = """\
examples:
  bitget-cancel demo
  bitget-cancel orders --instrument BTCUSDT 1376695893517410304
  bitget-cancel all --instrument BTCUSDT --dry-run
  bitget-cancel guard --countdown 30
  bitget-cancel exchange --port 8765
  bitget-cancel replay record.jsonl

Run "bitget-cancel COMMAND --help" for the options and examples of a command.
"""

COMPLETION_HELP: Final = """\
completion:
  To complete commands, options and their values with the Tab key, put this line
  into ~/.bashrc or ~/.zshrc: eval "$(register-python-argcomplete bitget-cancel)".
"""

DEMO_HELP: Final = """\
Start an exchange in this process, place orders on it, and cancel them over real
WebSockets with each transport: anyio on asyncio, anyio on trio, asyncio, and a
blocking socket. Faults are injected on the way. At the end every outcome is
compared with what the exchange received and did.

No keys are needed and nothing leaves this machine. The rate limits are lifted on
both sides, so the demo takes seconds. On a unified account most cancels are sent
in batches. Transports that are not installed are skipped.
"""

DEMO_EXAMPLES: Final = """\
examples:
  bitget-cancel demo
  bitget-cancel demo --orders 2000 --transport trio --transport blocking
  bitget-cancel demo --account unified --confirm
  bitget-cancel demo --json | jq .

exit codes:
  0    every cancel got exactly one outcome, and every outcome (and, with
       --confirm, every state) is correct
  1    a cancel got no outcome, several outcomes, or a wrong one; or a state is wrong
  2    wrong arguments, or no transport is installed
  4    a transport could not connect to the embedded exchange
  130  interrupted by Ctrl-C (143: by SIGTERM)
  141  the output could not be written
"""

ORDERS_HELP: Final = """\
Cancel your orders over Bitget's private WebSocket, at the exchange's limit of
10 messages a second. If the connection drops, it is opened again. The outcome of
each cancel is one of:

  accepted              the exchange accepted the request; the order may still
                        fill before the cancel takes effect
  rejected              the exchange refused the request
  unresolved, sent      no definite answer came: look the order up
  unresolved, not sent  the cancel was never sent: safe to send again

With --confirm, the state of each order is looked up as well: cancelled, filled
first (completely, before the cancel took effect), still open, not found or
unknown.

Ctrl-C stops sending, waits up to 5 s for the answers to the cancels already sent,
and reports every outcome. A second Ctrl-C skips the wait.

With --remaining FILE, the orders whose cancel is not settled are written to FILE
at the end, even after Ctrl-C or a lost connection. Pass FILE as --file to go on.
Cancels that may have taken effect are marked there, with "attempts", and a later
run leaves them out unless it has --resend: look those orders up first.
"""

ORDERS_EXAMPLES: Final = """\
examples:
  bitget-cancel orders --instrument BTCUSDT 1376695893517410304 1376695893517410305
  bitget-cancel orders --instrument BTCUSDT --client-oid mine-7 mine-8
  bitget-cancel orders --file orders.csv --dry-run
  bitget-cancel orders --file orders.csv --remaining left.jsonl
  bitget-cancel orders --file left.jsonl --remaining left.jsonl
  bitget-cancel orders --instrument BTCUSDT --json - < ids.txt
  bitget-cancel orders --inst-type USDT-FUTURES --instrument ETHUSDT --demo-trading --credentials keys.toml --file ids.txt
  bitget-cancel orders --instrument BTCUSDT -- -7

The -- is needed before an id that begins with a dash.
"""

ALL_HELP: Final = """\
List the open orders of an instrument over REST, and cancel them like
"bitget-cancel orders". Only the listed orders are cancelled: run the command again
for orders that were placed in the meantime.

In live trading it shows the list, and asks before it cancels the orders. Without
a terminal to ask on, it refuses, unless --yes is given. --dry-run cancels nothing.
"""

ALL_EXAMPLES: Final = """\
examples:
  bitget-cancel all --instrument BTCUSDT --dry-run
  bitget-cancel all --instrument BTCUSDT --confirm
  bitget-cancel all --instrument ETHUSDT --inst-type USDT-FUTURES --yes --confirm
  bitget-cancel all --instrument BTCUSDT --profile desk --yes --json | jq .
"""

EXCHANGE_HELP: Final = """\
Run the embedded exchange on 127.0.0.1 until Ctrl-C. Any client can connect to it.
It checks requests strictly against Bitget's documentation and injects faults on
request.

Any API key is accepted, unless one is given by --credentials or by the
environment variables that "bitget-cancel orders" reads; then only that key is
accepted, and the timestamp and the signature of a login are checked.
"""

_FAULT_WORDS: Final = {
    "none": "no fault: none:5 leaves five cancels alone",
    "late": "the answer comes late",
    "duplicate": "the answer comes twice",
    "silent": "no answer comes",
    "garbage": "invalid JSON comes instead of the answer",
    "wrong-types": "the id of the answer is a number, and its code is true",
    "unknown-id": "the answer has an id that no request had",
    "no-arg": "an error that names no request (30016) comes instead of the answer",
    "unsure": "the answer is a code (40010) that leaves the outcome open",
    "drop-before": "the connection drops before the exchange acts",
    "drop-after": "the connection drops after the exchange acts, without an answer",
    "going-away": "a notice (30033), then the answer, then the connection drops",
    "throttle": "the exchange does not act: an error that names no request (30006) comes",
    "cut": "the first half of the answer comes, as a whole message",
    "item-missing": "the answer to a batch leaves out every second order",
    "item-twice": "the answer to a batch names its first order twice",
    "reordered": "the answer to a batch names the orders in reverse",
    "fill-first": "the order fills before the request reaches it",
    "half-fill-first": "half of the order fills before the request reaches it",
    "push-late": "the push of the orders channel comes late",
    "push-twice": "the push of the orders channel comes twice",
    "push-first": "the push of the orders channel comes before the answer",
    "no-push": "the push of the orders channel is lost",
}

FAULTS_HELP: Final = "\n".join(
    (
        "faults, each applied to one cancel, in the order of the options:",
        *(f"  {name:<15}  {_FAULT_WORDS[name]}" for name in FAULTS),
        "",
    )
)

EXCHANGE_EXAMPLES: Final = """\
examples:
  bitget-cancel exchange --port 8765 --generate 500
  bitget-cancel exchange --orders orders.csv --log
  bitget-cancel exchange --fault none:5 --fault silent:2 --fault drop-after

exit codes:
  0    stopped by Ctrl-C or SIGTERM
  2    wrong arguments, or the port is in use
  141  the output could not be written
"""


REPLAY_HELP: Final = """\
Show a recording as a timeline: what was called, what was sent and received, and
the outcome of each cancel with its reason. Then replay the recording and compare
the output of the protocol core with the recorded output, byte for byte. Nothing
is sent.
"""

REPLAY_EXAMPLES: Final = """\
examples:
  bitget-cancel orders --instrument BTCUSDT --record record.jsonl 1376695893517410304
  bitget-cancel replay record.jsonl
  bitget-cancel replay --engine msgspec --json record.jsonl | jq .

exit codes:
  0    the replay gave the recorded output
  1    the replay differs; the first difference is shown
  2    wrong arguments, or the file is not a valid recording
  141  the output could not be written
"""

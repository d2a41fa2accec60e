"""Profiles of `bitget-cancel`: what the options leave open comes from a file, which has no keys."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bitget_proto import Dialect, SessionConfig
from bitget_proto.testing import ExchangeConfig, ScriptedExchange
from bitget_transports.cli._arguments import parser
from bitget_transports.cli._carriers import Job
from bitget_transports.cli._exit_codes import Failure
from bitget_transports.cli._keys import VARIABLES
from bitget_transports.cli._profiles import apply
from bitget_transports.exchange import ExchangeThread, exchange_in_thread

from ..proxies import running
from .running import KEY, SECRETS, Shell, spot

DESK = """
[desk]
account = "unified"
url = "wss://desk.example/v3/ws/private"
proxy = "http://127.0.0.1:3128"
transport = "blocking"
timeout = 3
connect_timeout = 2.5
cancels_per_second = 20
api_key_env = "DESK_KEY"
secret_env = "DESK_SECRET"
passphrase_env = "DESK_PASSPHRASE"

[demo]
demo_trading = true
"""
ORDER = ("--instrument", "BTCUSDT", "1")


def written(tmp_path: Path, text: str | bytes) -> str:
    file = tmp_path / "bitget-cancel.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def applied(*arguments: str, home: Path | None = None) -> dict[str, object]:
    parsed = parser().parse_args(arguments)
    apply(parsed, {} if home is None else {"XDG_CONFIG_HOME": str(home)})
    return vars(parsed)


def test_a_profile_fills_in_what_the_options_leave_open(tmp_path: Path) -> None:
    file = written(tmp_path, DESK)
    found = applied("--config", file, "orders", "--profile", "desk", "--timeout", "7", *ORDER)
    assert found["account"] == "unified"
    assert found["url"] == "wss://desk.example/v3/ws/private"
    assert found["proxy"] == "http://127.0.0.1:3128"
    assert found["transport"] == "blocking"
    assert (found["timeout"], found["connect_timeout"]) == (7.0, 2.5)
    assert found["cancels_per_second"] == 20
    assert found["variables"] == {
        "api_key": "DESK_KEY",
        "secret": "DESK_SECRET",
        "passphrase": "DESK_PASSPHRASE",
    }


def test_without_a_profile_the_defaults_apply(tmp_path: Path) -> None:
    written(tmp_path, DESK)
    found = applied("all", "--instrument", "BTCUSDT", home=tmp_path)
    assert found["account"] == "classic"
    assert (found["transport"], found["timeout"], found["connect_timeout"]) == (
        "asyncio",
        10.0,
        10.0,
    )
    assert (found["url"], found["proxy"], found["variables"]) == (None, True, VARIABLES)
    assert found["cancels_per_second"] is None


def test_a_place_on_the_command_line_replaces_that_of_the_profile(tmp_path: Path) -> None:
    written(tmp_path, DESK)
    found = applied("--profile", "desk", "orders", "--demo-trading", *ORDER, home=tmp_path)
    assert (found["url"], found["demo_trading"]) == (None, True)
    found = applied("--profile", "demo", "orders", "--url", "wss://x/", *ORDER, home=tmp_path)
    assert (found["url"], found["demo_trading"]) == ("wss://x/", False)
    found = applied("--profile", "demo", "orders", *ORDER, home=tmp_path)
    assert (found["url"], found["demo_trading"]) == (None, True)


def test_the_file_is_in_the_home_directory_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".config").mkdir()
    written(tmp_path / ".config", DESK)
    assert applied("orders", "--profile", "demo", *ORDER)["demo_trading"] is True
    # "All paths set in these environment variables must be absolute" (XDG Base Directory).
    relative = applied("orders", "--profile", "demo", *ORDER, home=Path("relative"))
    assert relative["demo_trading"] is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[desk]\nsecret = "the-secret"', "contains a key (secret), and any key in it is refused"),
        ('[desk]\nsecret = "the-secret"', 'write secret_env = "BITGET_SECRET"'),
        ('api_key = "the-key"\n[desk]', "contains a key (api_key)"),
        ('[desk]\n[other.keys]\npassphrase = "the-passphrase"', "contains a key (passphrase)"),
        ('[desk]\nsecret_env = "the-secret"', "variable, in upper case, and never a key itself"),
        ("[desk]\napi_key_env = 5", "api_key_env must be the name"),
        ('[desk]\nsecret_env = "A"\napi_key_env = "B"', "passphrase_env is missing: name all of api_key_env,"),
        ('[desk]\nacount = "unified"', '"acount" is not known; allowed are account, url, demo_trading'),
        ('[desk]\naccount = "v3"', "account must be one of classic, unified"),
        ("[desk]\naccount = []", "account must be one of classic, unified"),
        ('[desk]\ntransport = "curl"', "transport must be one of anyio, trio, asyncio, blocking"),
        ("[desk]\ntimeout = 0", "timeout must be a number of seconds above 0"),
        ("[desk]\ntimeout = true", "timeout must be a number of seconds above 0"),
        ("[desk]\nconnect_timeout = nan", "connect_timeout must be a number of seconds above 0"),
        ("[desk]\ncancels_per_second = 0", "must be a whole number from 1 to 1000"),
        ("[desk]\ncancels_per_second = true", "must be a whole number from 1 to 1000"),
        ('[desk]\nurl = ""', "url must be a text that is not empty"),
        ("[desk]\ndemo_trading = 1", "demo_trading must be true or false"),
        ('[desk]\ndemo_trading = true\nurl = "wss://x/"', "demo_trading and url cannot be combined"),
        ('[desk]\nproxy = "http://user:the-secret@proxy:1"', "proxy must be the URL of a proxy without a user and a password"),
        ("[other]\n[more]\n", 'has no profile "desk"; it has "other", "more"'),
        ("desk = 5", 'has no profile "desk"; it has none'),
        ("[desk]\nsecret = the-secret", ":2 is not valid TOML"),
        (b"\xff", "is not valid UTF-8"),
        ("#" * 70000, "longer than 65536 bytes"),
    ],
)  # fmt: skip
def test_an_invalid_file_is_reported_without_its_values(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(Failure) as caught:
        applied("orders", "--config", file, "--profile", "desk", *ORDER)
    assert said in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert not any(secret in repr(error) for secret in SECRETS)
        error = error.__cause__


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"cannot read .*/bitget-cancel\.toml.*: No such file"):
        applied("orders", "--profile", "desk", *ORDER, home=tmp_path)
    with pytest.raises(Failure, match="invalid file name"):
        applied("orders", "--config", "a\0b", "--profile", "desk", *ORDER)


def test_a_profile_is_for_the_commands_that_connect(shell: Shell) -> None:
    assert "only orders and all take --profile" in shell("--profile", "desk", "demo").err
    ran = shell("orders", "--config", "x", *ORDER)
    assert ran.code == 2
    assert "--config needs --profile NAME" in ran.err
    (error,) = shell("all", "--json", "--profile", "desk", "--config", "x", *ORDER[:2]).lines
    assert (error["type"], error["exit_code"]) == ("error", 2)


@pytest.mark.parametrize("dialect", Dialect)
def test_a_profile_runs_against_the_exchange(
    shell: Shell, tmp_path: Path, dialect: Dialect
) -> None:
    exchange = exchange_of("1", dialect=dialect)
    with exchange_in_thread(exchange) as server:
        options = ("--profile", "desk", "--config", desk(shell, tmp_path, server, dialect))
        ran = shell(*options, "all", "--instrument", "BTCUSDT", "--confirm")
        shell.patch.delenv("DESK_API_KEY")
        without = shell(*options, "orders", *ORDER)
    assert ran.code == 0
    assert "1 order: 1 cancelled" in ran.out
    assert without.code == 2
    assert "no API key (DESK_API_KEY is missing): set DESK_API_KEY, DESK_SECRET," in without.err


def test_the_proxy_of_a_profile_is_used(shell: Shell, tmp_path: Path) -> None:
    with (
        exchange_in_thread(exchange_of("1")) as server,
        running(urlsplit(server.url).port or 0) as proxy,
    ):
        file = desk(shell, tmp_path, server, Dialect.CLASSIC, f'proxy = "{proxy.url}"')
        ran = shell("orders", "--profile", "desk", "--config", file, *ORDER)
    assert ran.code == 0
    assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    ("dialect", "limit", "rate"),
    [(Dialect.CLASSIC, 4, 4), (Dialect.CLASSIC, 60, 10), (Dialect.UNIFIED, 60, 60)],
)
def test_the_cancels_per_second_of_a_profile_are_the_limit(
    shell: Shell, tmp_path: Path, dialect: Dialect, limit: int, rate: int
) -> None:
    jobs = list[Job]()

    def carry(_: object, job: Job) -> None:
        jobs.append(job)

    shell.patch.setattr("bitget_transports.cli._orders.carry", carry)
    with exchange_in_thread(exchange_of("1", dialect=dialect)) as server:
        more = f"cancels_per_second = {limit}"
        file = desk(shell, tmp_path, server, dialect, more)
        shell("orders", "--profile", "desk", "--config", file, *ORDER)
    (job,) = jobs
    assert job.budget is not None
    assert job.budget.per_second == limit
    assert isinstance(job.config, SessionConfig)
    assert job.config.link.max_in_flight == 2 * rate


def exchange_of(*ids: str, dialect: Dialect = Dialect.CLASSIC) -> ScriptedExchange:
    return ScriptedExchange(spot(*ids), credentials=KEY, config=ExchangeConfig(dialect=dialect))


def desk(
    shell: Shell, tmp_path: Path, server: ExchangeThread, dialect: Dialect, more: str = ""
) -> str:
    """Write a profile for this exchange, whose keys are in variables of its own."""
    for name, variable in VARIABLES.items():
        shell.patch.delenv(variable)
        shell.patch.setenv(f"DESK_{name.upper()}", getattr(KEY, name))
    names = "\n".join(f'{name}_env = "DESK_{name.upper()}"' for name in VARIABLES)
    where = f'account = "{dialect.value}"\nurl = "{server.url}"'
    return written(tmp_path, f"[desk]\n{where}\n{more}\n{names}\n")

"""Profiles: options of `orders` and `all` that are not given come from a configuration file.

- An option on the command line takes precedence over the profile.
- A profile names the environment variables of the keys and never contains a key, so the file may be
  readable by others. An error message shows no value that may be a key.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias, cast

from bitget_proto import Dialect
from bitget_proto.explain import quoted

from ._carriers import Carrier
from ._exit_codes import Failure
from ._keys import VARIABLES

DEFAULT_FILE: Final = "$XDG_CONFIG_HOME/bitget-cancel.toml"

PROFILES_HELP: Final = """\
profiles:
  --profile NAME takes the options that are not given from the table [NAME] of the file
  $XDG_CONFIG_HOME/bitget-cancel.toml (~/.config if the variable is not set), or of
  --config FILE: account, url, demo_trading, proxy, ca_file, transport, timeout,
  connect_timeout and cancels_per_second. The keys api_key_env, secret_env and passphrase_env name the
  environment variables of the API key. A file with a key in it is refused.
"""

_DEFAULTS: Final[Mapping[str, object]] = {
    "account": "classic",
    "transport": "asyncio",
    "timeout": 10.0,
    "connect_timeout": 10.0,
    "proxy": True,
}
"""What applies without an option and without a profile."""

_MAX_BYTES = 65536
"""The largest configuration file, in bytes."""

_EXPECTED = 'a profile is a table such as [desk], with lines such as account = "unified"'

_SHOWN = (
    "account",
    "transport",
    "demo_trading",
    "timeout",
    "connect_timeout",
    "cancels_per_second",
)
"""The keys of a profile whose value may be shown."""

_is_variable = re.compile(r"[A-Z_][A-Z0-9_]{0,63}").fullmatch
"""The exchange's keys and secrets have lower-case letters, so they are not taken for names."""

_Profile: TypeAlias = Mapping[str, object]

_Check: TypeAlias = Callable[[object], tuple[str, bool]]
"""Returns a description of the allowed values, and whether a value is allowed."""


def apply(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Fill in the options that are not given, from the profile and then from the defaults.

    Raises: Failure when the file or the profile cannot be used.
    """
    if arguments.command not in ("orders", "all"):
        if arguments.profile is not None or arguments.config is not None:
            raise Failure("only orders and all take --profile and --config: leave them out")
        return
    if arguments.profile is None and arguments.config is not None:
        raise Failure("--config needs --profile NAME, which names a table of the file")
    arguments.variables, arguments.proxy = VARIABLES, None
    arguments.cancels_per_second = None
    if arguments.profile is not None:
        file = _file(arguments.config, environment)
        _fill_in(arguments, _read(file, arguments.profile), quoted(str(file)))
    for name, value in _DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def _file(given: str | None, environment: Mapping[str, str]) -> Path:
    if given is not None:
        return Path(given)
    folder = environment.get("XDG_CONFIG_HOME", "")
    # "All paths set in these environment variables must be absolute" (XDG Base Directory).
    where = Path(folder) if os.path.isabs(folder) else Path(os.path.expanduser("~/.config"))
    return where / "bitget-cancel.toml"


def _read(file: Path, name: str) -> _Profile:
    shown = quoted(str(file))
    try:
        with file.open("rb") as stream:
            text = stream.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Failure(
            f"cannot read the configuration file {shown}: "
            f"{getattr(error, 'strerror', None) or 'invalid file name'}: pass --config FILE, or "
            "leave --profile out"
        ) from None
    if len(text) > _MAX_BYTES:
        raise Failure(f"{shown} is longer than {_MAX_BYTES} bytes: {_EXPECTED}")
    try:
        tables = tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Failure(f"{shown} is not valid UTF-8: {_EXPECTED}") from None
    except tomllib.TOMLDecodeError as error:
        # Drop the message and the cause: both may contain parts of a key.
        line = re.search(r"at line (\d+)", str(error))
        place = f":{line[1]}" if line else ""
        raise Failure(f"{shown}{place} is not valid TOML: {_EXPECTED}") from None
    _refuse_keys(tables, shown)
    profile = tables.get(name)
    if not isinstance(profile, dict):
        names = [quoted(key) for key, value in tables.items() if isinstance(value, dict)]
        there = ", ".join(names) or "none"
        raise Failure(f"{shown} has no profile {quoted(name)}; it has {there}")
    return cast("_Profile", profile)


def _refuse_keys(table: Mapping[str, object], shown: str) -> None:
    """Refuse a file that contains a key anywhere, including in another profile.

    Raises: Failure.
    """
    for name, value in table.items():
        if name in VARIABLES:
            raise Failure(
                f"{shown} contains a key ({name}), and any key in it is refused: write "
                f'{name}_env = "{VARIABLES[name]}", and set that environment variable; if others '
                "can read the file, replace the key"
            )
        if isinstance(value, dict):
            _refuse_keys(cast("_Profile", value), shown)


def _fill_in(arguments: argparse.Namespace, profile: _Profile, shown: str) -> None:
    where = f"{shown}, profile {quoted(arguments.profile)}"
    unknown = [name for name in profile if name not in _CHECKS]
    if unknown:
        raise Failure(
            f"{where}: {quoted(unknown[0])} is not known; allowed are {', '.join(_CHECKS)}"
        )
    for name, value in profile.items():
        allowed, right = _CHECKS[name](value)
        if not right:
            # Another value may contain a key or a password.
            got = f"; got {quoted(str(value))}" if name in _SHOWN else ""
            raise Failure(f"{where}: {name} must be {allowed}{got}")
    if profile.get("demo_trading") and "url" in profile:
        raise Failure(f"{where}: demo_trading and url cannot be combined: leave one of them out")
    keys = [f"{name}_env" for name in VARIABLES]
    missing = [key for key in keys if key not in profile]
    if 0 < len(missing) < len(keys):  # otherwise parts of two keys could be mixed
        raise Failure(
            f"{where}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: name "
            f"all of {', '.join(keys)}, or none for {', '.join(VARIABLES.values())}"
        )
    # --url or --demo-trading on the command line replaces both.
    if arguments.url is not None or arguments.demo_trading:
        profile = {key: profile[key] for key in profile if key not in ("url", "demo_trading")}
    for name, value in profile.items():
        if not name.endswith("_env") and getattr(arguments, name) in (None, False):
            setattr(arguments, name, value)
    arguments.variables = {
        name: profile.get(f"{name}_env", default) for name, default in VARIABLES.items()
    }


# --- checks ---


def _one_of(*names: str) -> _Check:
    return lambda value: (f"one of {', '.join(names)}", value in names)


def _seconds(value: object) -> tuple[str, bool]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "a number of seconds above 0", number and 0.0 < cast("float", value) < math.inf


def _count(value: object) -> tuple[str, bool]:
    right = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1000
    return "a whole number from 1 to 1000", right


def _text(value: object) -> tuple[str, bool]:
    return "a text that is not empty", isinstance(value, str) and value != ""


def _flag(value: object) -> tuple[str, bool]:
    return "true or false", isinstance(value, bool)


def _proxy(value: object) -> tuple[str, bool]:
    allowed = (
        "the URL of a proxy without a user and a password: set HTTPS_PROXY for one that needs them"
    )
    return allowed, isinstance(value, str) and value != "" and "@" not in value


def _variable(value: object) -> tuple[str, bool]:
    allowed = (
        "the name of an environment variable, in upper case, and never a key itself: write a name "
        "such as DESK_SECRET"
    )
    return allowed, isinstance(value, str) and _is_variable(value) is not None


_CHECKS: Final[Mapping[str, _Check]] = {
    "account": _one_of(*(dialect.value for dialect in Dialect)),
    "url": _text,
    "demo_trading": _flag,
    "proxy": _proxy,
    "ca_file": _text,
    "transport": _one_of(*(carrier.value for carrier in Carrier)),
    "timeout": _seconds,
    "connect_timeout": _seconds,
    "cancels_per_second": _count,
    **{f"{name}_env": _variable for name in VARIABLES},
}
"""The keys of a profile."""

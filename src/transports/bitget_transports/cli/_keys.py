"""Where the API key comes from: the environment, or a file that only its owner can read. Never from an argument.

Rules of this file
- No message holds a value, nor any part of a file: only names, and line numbers.
- The file is looked at once it is open: what was checked is what is read.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tomllib
from collections.abc import Mapping
from typing import Final

from bitget_proto import Credentials, ValidationError
from bitget_proto.explain import quoted

from ._exit_codes import Failure

VARIABLES: Final = {
    "api_key": "BITGET_API_KEY",
    "secret": "BITGET_SECRET",
    "passphrase": "BITGET_PASSPHRASE",
}
"""The environment variables, by the names that they have in a file."""

KEYS_HELP: Final = """\
keys:
  From the environment: BITGET_API_KEY, BITGET_SECRET, BITGET_PASSPHRASE; or from a TOML file (--credentials FILE) that only
  its owner can read (chmod 600 FILE):
      api_key = "..."
      secret = "..."        # for an RSA key: its PEM text, between triple quotes
      passphrase = "..."
"""

_LONGEST = 65536
"""Bytes of a file of keys that are read."""

_line_of_error = re.compile(r"at line (\d+)").search


def keys_from(file: str | None, environment: Mapping[str, str]) -> Credentials:
    """The keys of the file when there is one, else of the environment.

    Raises: Failure that says which is missing.
    """
    if file is not None:
        return _from_file(file)
    missing = [name for name in VARIABLES.values() if not environment.get(name)]
    if missing:
        lacks = (
            ""
            if len(missing) == len(VARIABLES)
            else f" ({' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing)"
        )
        raise Failure(
            f"no API key{lacks}: set {', '.join(VARIABLES.values())}, or pass --credentials FILE"
        )
    try:
        return Credentials(**{name: environment[variable] for name, variable in VARIABLES.items()})
    except ValidationError as error:
        name, said = str(error).split(" ", 1)
        raise Failure(f"{VARIABLES[name]} {said}") from None


def keys_if_any(file: str | None, environment: Mapping[str, str]) -> Credentials | None:
    """As `keys_from`, but None where neither a file nor a variable says anything."""
    if file is None and not any(environment.get(name) for name in VARIABLES.values()):
        return None
    return keys_from(file, environment)


def _from_file(file: str) -> Credentials:
    name = quoted(file)
    try:
        with open(file, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            # Windows has no such bits: its files are their owner's by their place.
            if sys.platform != "win32" and stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise Failure(
                    f"{name} holds keys, and others than its owner can reach it: chmod 600 {name}"
                )
            text = stream.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        raise Failure(
            f"cannot read {name}: {getattr(error, 'strerror', None) or 'no such name'}"
        ) from None
    wanted = f"it must hold the lines {', '.join(f'{key} = …' for key in VARIABLES)}, each value between quotes"
    if len(text) > _LONGEST:
        raise Failure(f"{name} is longer than {_LONGEST} bytes, so it is no file of keys: {wanted}")
    try:
        values = tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Failure(f"{name} is no text in UTF-8: {wanted}") from None
    except tomllib.TOMLDecodeError as error:
        # Neither the message nor its cause is passed on: both may hold parts of a key.
        line = _line_of_error(str(error))
        raise Failure(
            f"{name}{f':{line[1]}' if line else ''} cannot be read as TOML: {wanted}"
        ) from None
    missing = [key for key in VARIABLES if not isinstance(values.get(key), str) or not values[key]]
    if missing:
        raise Failure(f"{name} lacks {' and '.join(missing)}: {wanted}")
    try:
        return Credentials(**{key: values[key] for key in VARIABLES})
    except ValidationError as error:
        raise Failure(f"{name}: {error}") from None

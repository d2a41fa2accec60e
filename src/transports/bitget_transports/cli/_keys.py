"""Reads the API key from the environment, or from a file that only its owner can access.

Error messages contain names and line numbers, never a value or any other part of the file. The
permissions are checked on the open file, so the file that is checked is the file that is read.
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
"""The environment variable of each key in the file."""

KEYS_HELP: Final = """\
keys:
  The API key is read from the environment variables BITGET_API_KEY, BITGET_SECRET
  and BITGET_PASSPHRASE, or from a TOML file (--credentials FILE) that only its
  owner can access (chmod 600 FILE). The file has three lines, api_key = "...",
  secret = "..." and passphrase = "...". An RSA key is its PEM text, between
  triple quotes.
"""

_MAX_BYTES = 65536
"""The largest key file, in bytes."""

_line_of_error = re.compile(r"at line (\d+)").search


def keys_from(
    file: str | None, environment: Mapping[str, str], variables: Mapping[str, str] = VARIABLES
) -> Credentials:
    """Return the keys from `file`, or from these variables of the environment when it is None.

    Raises: Failure when a key is missing or invalid, or the file cannot be used.
    """
    if file is not None:
        return _from_file(file)
    missing = [name for name in variables.values() if not environment.get(name)]
    if missing:
        lacks = (
            ""
            if len(missing) == len(variables)
            else f" ({' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing)"
        )
        raise Failure(
            f"no API key{lacks}: set {', '.join(variables.values())}, or pass --credentials FILE"
        )
    try:
        return Credentials(**{name: environment[variable] for name, variable in variables.items()})
    except ValidationError as error:
        name, said = str(error).split(" ", 1)
        raise Failure(f"{variables[name]} {said}") from None


def keys_if_any(file: str | None, environment: Mapping[str, str]) -> Credentials | None:
    """Return the keys like `keys_from`, or None without a file and without any variable set."""
    if file is None and not any(environment.get(name) for name in VARIABLES.values()):
        return None
    return keys_from(file, environment)


def _from_file(file: str) -> Credentials:
    name = quoted(file)
    try:
        with open(file, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            # Windows has no such bits; there the directory decides who can access a file.
            if sys.platform != "win32" and stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise Failure(
                    f"{name} contains keys and must be accessible to its owner only: chmod 600 {name}"
                )
            text = stream.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Failure(
            f"cannot read {name}: {getattr(error, 'strerror', None) or 'invalid file name'}"
        ) from None
    lines = ", ".join(f'{key} = "..."' for key in VARIABLES)
    wanted = f"it must contain the lines {lines}"
    if len(text) > _MAX_BYTES:
        raise Failure(f"{name} is longer than {_MAX_BYTES} bytes and is not a key file: {wanted}")
    try:
        values = tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Failure(f"{name} is not valid UTF-8: {wanted}") from None
    except tomllib.TOMLDecodeError as error:
        # Drop the message and the cause: both may contain parts of a key.
        line = _line_of_error(str(error))
        raise Failure(
            f"{name}{f':{line[1]}' if line else ''} is not valid TOML: {wanted}"
        ) from None
    missing = [key for key in VARIABLES if not isinstance(values.get(key), str) or not values[key]]
    if missing:
        raise Failure(f"{name} lacks {' and '.join(missing)}: {wanted}")
    try:
        return Credentials(**{key: values[key] for key in VARIABLES})
    except ValidationError as error:
        raise Failure(f"{name}: {error}") from None

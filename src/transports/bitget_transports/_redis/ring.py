"""The moments that a store has booked for the cancels of one account: one script, run by Redis.

The rules are those of `bitget_proto.Lease`. All times are microseconds of the server's own clock.
Two keys, which never expire, hold what is known of an account: the last moments, and since when the
server knows them. Without the second key, or when another server process wrote it (its `run_id`),
the server has forgotten: everything granted before counts as used at the last moment possible.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from bitget_proto import Ask, ValidationError

from .._driver.checks import safe_repr

TIMEOUT: Final = 0.25
"""Seconds after which a server that does not answer counts as failed. Our choice."""

SCRIPT: Final = """\
local lease, spacing, far = 20000, 1070000, 60000000
local limit, n, place = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function whole(number) return string.format('%.0f', number) end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local known, since = string.match(redis.call('GET', KEYS[2]) or '', '^(%w+)/(%d+)$')
local newest = tonumber(redis.call('LINDEX', KEYS[1], -1) or 0)
-- A moment far ahead was booked before the clock was set back.
if known ~= run or newest > now + far then
    since = whole(now + 2 * lease)
    redis.call('DEL', KEYS[1])
    redis.call('SET', KEYS[2], run .. '/' .. since)
    newest = 0
end

local epoch, moment = string.match(place, '^(%d+)/(%d+)$')
moment = tonumber(moment)
if epoch ~= since or now > moment then
    local before = redis.call('LINDEX', KEYS[1], n - limit - 1) or since
    moment = math.max(now + lease, before + spacing, newest)
    for _ = 1, n do redis.call('RPUSH', KEYS[1], whole(moment)) end
    redis.call('LTRIM', KEYS[1], -1000, -1)
end
return {whole(moment - lease - now), since .. '/' .. whole(moment)}
"""
"""Books `n` cancels of an account with this limit, or redeems a place; returns the delay and the
place.
"""

Answer: TypeAlias = list[bytes | str]

_MOST: Final = 1000
"""The largest limit, because this many moments are kept."""


class Ring:
    """The arguments of the script, and the meaning of its answer."""

    def __init__(self, account: str, per_second: int) -> None:
        if not isinstance(account, str) or not account or {*"{}"} & {*account}:
            raise ValidationError(
                "account must be a name of yours for the account, without braces, the same in every"
                f" process; got {safe_repr(account)}"
            )
        if isinstance(per_second, int) and per_second > _MOST:
            raise ValidationError(
                f"per_second must be at most {_MOST} on Redis; got {safe_repr(per_second)}"
            )
        self.keys: Final = [f"bitget-proto:{{{account}}}:{name}" for name in ("moments", "since")]
        self._per_second = per_second

    def arguments(self, ask: Ask) -> list[str | int]:
        """Return the arguments of the script for this question."""
        return [self._per_second, ask.n, ask.place]

    @staticmethod
    def read(answer: Answer) -> tuple[float, str]:
        """Return the delay in seconds, and the place."""
        delay, place = (part.decode() if isinstance(part, bytes) else part for part in answer)
        return float(delay) / 1e6, place

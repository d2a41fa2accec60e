"""What the conformance kit has to say of a driver.

Rules of this file
- A broken rule is named by the contract's name for it, with a sentence on what was seen. Nothing is a score.
- What was not played is not called kept.
"""

from collections.abc import Iterator, Sequence

import attrs

from ..._values.set_module import set_module
from .recording_connection import DriverStep
from .scenario import Scenario
from .strict_connection import Rule

_FOLD = 3
"""How many steps make a pattern; of one that goes on for long the rest is counted instead of shown."""


@attrs.frozen
class Break:
    """A rule that was broken, and what was seen of it."""

    rule: Rule
    what: str

    def __str__(self) -> str:
        return f"{self.what}.\n    Rule «{self.rule.value}»: {self.rule.sentence}"


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class Result:
    """What one scenario showed."""

    scenario: Scenario
    breaks: Sequence[Break] = ()
    """The first is the cause, as far as can be seen; those behind it may be its consequences."""

    steps: Sequence[DriverStep] = attrs.field(default=(), repr=False)
    """All that the driver did with its connection."""

    seconds: float = 0.0
    not_played: str = ""
    """Why it was not played; empty when it was."""

    @property
    def kept(self) -> bool:
        """Whether it was played, and no rule was broken."""
        return not self.breaks and not self.not_played

    @property
    def broken(self) -> Rule | None:
        """The rule that was broken first, if any."""
        return self.breaks[0].rule if self.breaks else None

    def __str__(self) -> str:
        """One line if all is well; else what was broken."""
        if self.not_played:
            return f"not played  {self.scenario.name}: {self.not_played}"
        if not self.breaks:
            return f"kept        {self.scenario.name}  ({self.seconds * 1000:.0f} ms)"
        breaks = "\n  ".join(map(str, self.breaks))
        return f"BROKEN      {self.scenario.name}: {self.scenario.tells}\n  {breaks}"

    def story(self) -> str:
        """The steps, one a line; many alike in a row are counted."""
        return "\n".join(_folded(self.steps))


@set_module("bitget_proto.testing")
@attrs.frozen
class Report:
    """What all scenarios showed; `print(report)`, or look at `kept`."""

    results: Sequence[Result]

    @property
    def kept(self) -> bool:
        """Whether no rule was broken, and something was played."""
        return not any(result.breaks for result in self.results) and any(
            result.kept for result in self.results
        )

    @property
    def broken(self) -> frozenset[Rule]:
        """The rules that were broken, each by what was the cause in some scenario."""
        return frozenset(result.broken for result in self.results if result.broken is not None)

    def __getitem__(self, scenario: str) -> Result:
        """The result of the scenario of this name."""
        for result in self.results:
            if result.scenario.name == scenario:
                return result
        raise KeyError(scenario)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.results), self.summary])

    @property
    def summary(self) -> str:
        """All of it in one line."""
        kept = sum(result.kept for result in self.results)
        broken = sum(bool(result.breaks) for result in self.results)
        rest = len(self.results) - kept - broken
        summary = f"{kept} scenarios kept, {broken} broken" + (
            f", {rest} not played" if rest else ""
        )
        if broken:
            summary += "; rules broken: " + ", ".join(
                rule.value for rule in Rule if rule in self.broken
            )
        return summary

    def check(self) -> None:
        """See that every rule was kept.

        Raises: ContractBroken, which is an AssertionError, with what was broken and the steps.
        """
        for result in self.results:
            if result.breaks:
                raise ContractBroken(result)


@set_module("bitget_proto.testing")
class ContractBroken(AssertionError):
    """A driver broke a rule of the driver contract; `result` says how."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result}\nThe steps:\n{result.story()}")
        self.result = result


def _folded(steps: Sequence[DriverStep]) -> Iterator[str]:
    begin = 0
    while begin < len(steps):
        kinds = set(map(_kind, steps[begin : begin + _FOLD]))
        end = begin
        while end < len(steps) and _kind(steps[end]) in kinds:
            end += 1
        shown = end if end - begin <= 4 * _FOLD else begin + 2 * _FOLD
        yield from map(str, steps[begin:shown])
        if shown < end:
            yield f"{'':>12} … {end - shown} more like these …"
        begin = end


def _kind(step: DriverStep) -> tuple[str, str]:
    return step.call, step.what[:6]

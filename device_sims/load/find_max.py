"""The search for the highest rate that holds: how many beds a server carries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from device_sims.load.expect import Expectation
from device_sims.load.outcome import Outcome
from device_sims.load.plan import LoadPlan

_FACTOR = 1.4
_REFINE = 3
_MOST_STEPS = 16

Step = tuple[float, str]


@dataclass(frozen=True)
class Highest:
    """What the search found."""

    plan: LoadPlan | None
    """The highest rate that held; None where not even the first did."""
    outcome: Outcome
    """Of that rate, or of the first where none held."""
    steps: list[Step]
    """Every rate tried, messages a second, and what came of it."""
    gave_out: str
    """What broke first above, and which part was busiest then."""


def find_max(
    plan: LoadPlan, expectations: Sequence[Expectation], attempt: Callable[[LoadPlan], Outcome]
) -> Highest:
    """Raise the rate until an expectation breaks, then close in. The number of devices stays."""
    steps: list[Step] = []
    best: tuple[LoadPlan, Outcome] | None = None
    low, high = 0.0, 0.0
    rate = plan.target_rate
    first: Outcome | None = None
    gave_out = ""
    refined = 0
    while len(steps) < _MOST_STEPS and refined <= _REFINE:
        tried = replace(plan, rate_hz=rate / plan.devices, attempt=len(steps))
        outcome = attempt(tried)
        first = first or outcome
        broken = [str(one) for one in expectations if not one.met(outcome.result)]
        if broken:
            gave_out = f"{', '.join(broken)}; {busiest(outcome)}"
            steps.append((rate, f"broke {gave_out}"))
            high = rate
        else:
            steps.append((rate, "held"))
            low, best = rate, (tried, outcome)
        if not high:
            rate = low * _FACTOR
        else:
            refined += 1
            rate = (low + high) / 2 if low else high / 2
    if best is None:
        assert first is not None  # noqa: S101  the loop runs at least once
        return Highest(None, first, steps, gave_out)
    return Highest(best[0], best[1], steps, gave_out or f"nothing within {len(steps)} steps")


def busiest(outcome: Outcome) -> str:
    """Name the part that used the most CPU in its busiest second."""
    parts = {
        "the hub": [s.hub_cpu for s in outcome.seconds],
        "the broker": [s.broker_cpu for s in outcome.seconds],
        "the load generator": [s.load_cpu for s in outcome.seconds],
    }
    most = {
        name: max(known) for name, values in parts.items() if (known := [v for v in values if v is not None])
    }
    if not most:
        return "no part was watched"
    name = max(most, key=most.__getitem__)
    return f"busiest was {name} at {most[name]:.2f} cores"

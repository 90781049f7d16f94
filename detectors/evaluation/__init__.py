"""How good the detectors are: scorers for one's own data, and the measures; no files, no network.

`adapter` gives the production detectors' own core to whoever wants to score plain mappings with it.
"""

from __future__ import annotations

from importlib import import_module

from .scorer import LabelledScorer, Scorer

__all__ = ["KINDS", "LabelledScorer", "Scorer", "adapter"]

KINDS = {
    "spike": "SpikeAdapter",
    "charge": "ChargeAdapter",
    "limit": "LimitAdapter",
    "series": "SeriesAdapter",
}
"""What can be asked for, and the class in the module of that name."""


def adapter(kind: str) -> Scorer:
    """Return a scorer that has learned nothing yet: `score(event)` before `learn(event)`, event after event in time.

    Args:
        kind: `spike` and `series` take `{"account", "t", "value"}`; `charge` takes `{"id", "account", "merchant", "t",
            "amount"}` and has `feedback(event, is_bad)`, whose event also has `now`; `limit` is asked `{"account", "t", "used",
            "allowance", "cycle_start", "cycle_end"}` once a day and learns `{"account", "t", "value"}`. Times are seconds since 1970.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no adapter for {kind!r}; expected one of {', '.join(KINDS)}")
    found: Scorer = getattr(import_module(f".{kind}", __name__), KINDS[kind])()
    return found

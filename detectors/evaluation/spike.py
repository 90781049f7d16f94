"""The usage-spike detector's core as outside scorers ask it: a mapping in, a score out."""

from __future__ import annotations

from detectors.online.usage_spikes import UsageSpikes


class SpikeAdapter(UsageSpikes):
    """Score readings `{"account", "t" (seconds since 1970), "value"}` in the order of time, all accounts interleaved.

    It drives the habits and cohorts that the production detector drives. `score` is how odd the account's usage is with this
    reading, in decades, before the line is drawn: higher is odder, 0 is usual. `learn` takes in the reading that was scored.
    """

    score = UsageSpikes.score_one
    learn = UsageSpikes.learn_one

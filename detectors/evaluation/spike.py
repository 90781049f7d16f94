"""The usage-spike core as outside scorers ask it: plain mappings in, scores out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.online.usage_cohort import UsageCohort
from detectors.online.usage_habit import UsageHabit
W=(0,0,1,1,0,0,0)

class SpikeAdapter:
    def __init__(self) -> None:
        self.a = {}
        self.cohort = UsageCohort()
    def score(self, event: Mapping[str, Any]) -> float:
        a = self.a.get(event["account"])
        if a is None:
            a = self.a[event["account"]] = UsageHabit()
        hour = int(event["t"] // 3600)
        if hour > a.bucket:
            a.begin(hour, hour % 24, W[hour // 24 % 7], self.cohort)
        return a.score_one(event["value"], self.cohort)
    def learn(self, event: Mapping[str, Any]) -> None:
        self.a[event["account"]].learn_one(event["value"], self.cohort)

"""Every detector there is, with its settings: the one place a new detector joins."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from .bulletin_board import BulletinBoard
from .data_quality import DataQuality, DataQualitySettings
from .detector import Detector
from .message import Name
from .monitored_series import MonitoredSeries, MonitoredSeriesSettings
from .plan_limit import PlanLimit, PlanLimitSettings
from .plans import Plan
from .suspicious_charge import SuspiciousCharge, SuspiciousChargeSettings
from .usage_spike import UsageSpike, UsageSpikeSettings


class CatalogueSettings(BaseModel):
    """The `detectors` section of `foretell.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_quality: DataQualitySettings = Field(default_factory=DataQualitySettings)
    usage_spike: UsageSpikeSettings = Field(default_factory=UsageSpikeSettings)
    suspicious_charge: SuspiciousChargeSettings = Field(default_factory=SuspiciousChargeSettings)
    plan_limit: PlanLimitSettings = Field(default_factory=PlanLimitSettings)
    monitored_series: MonitoredSeriesSettings = Field(default_factory=MonitoredSeriesSettings)


def build_detectors(
    settings: CatalogueSettings, plans: Mapping[Name, Plan], board: BulletinBoard
) -> tuple[Detector, ...]:
    """Return the enabled detectors, in the order in which their alerts are given.

    Args:
        settings: how each is tuned, and which are enabled.
        plans: what the company sells.
        board: what is known about many accounts.
    """
    every: tuple[tuple[bool, Detector], ...] = (
        (  # before those that it keeps events from
            settings.data_quality.enabled and any(plan.allowances for plan in plans.values()),
            DataQuality(settings.data_quality, plans),
        ),
        (settings.suspicious_charge.enabled, SuspiciousCharge(settings.suspicious_charge, board)),
        (settings.plan_limit.enabled, PlanLimit(settings.plan_limit, plans)),
        (settings.usage_spike.enabled, UsageSpike(settings.usage_spike)),
        (  # without a meter to watch it would cost every reading a call
            settings.monitored_series.enabled and bool(settings.monitored_series.meters),
            MonitoredSeries(settings.monitored_series),
        ),
    )
    return tuple(detector for enabled, detector in every if enabled)

"""`foretell.yaml`: every section, and what each room is given of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from channels.settings import ChannelSettings, DeliverySettings
from detectors.catalogue import CatalogueSettings
from detectors.engine import EngineSettings
from detectors.message import Name
from detectors.plans import Meter, Plan
from streams.settings import (
    KafkaSettings,
    RepartitionSettings,
    StreamSettings,
    TopicsSettings,
    WorkerSettings,
    refuse_circles,
)

from .config_file import ConfigFile

Port = Annotated[int, Field(ge=0, le=65535)]


class HttpSettings(BaseModel):
    """The `http` section: where `/metrics`, `/healthz` and `/readyz` are served.

    Attributes:
        stream: the stream worker's port; 0 takes a free one.
        deliver: the channel consumer's port; 0 takes a free one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    stream: Port = 9464
    deliver: Port = 9465


class Config(BaseModel):
    """All sections of `foretell.yaml`; each has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicsSettings = Field(default_factory=TopicsSettings)
    repartition: tuple[RepartitionSettings, ...] = ()
    stream: WorkerSettings = Field(default_factory=WorkerSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    meters: dict[Name, Meter] = Field(default_factory=dict)
    plans: dict[Name, Plan] = Field(default_factory=dict)
    detectors: CatalogueSettings = Field(default_factory=CatalogueSettings)
    channels: ChannelSettings = Field(default_factory=ChannelSettings)

    @model_validator(mode="after")
    def _allowances_are_of_known_meters(self) -> Self:
        for plan_name, plan in self.plans.items():
            for meter_name, allowance in plan.allowances.items():
                place = f"plans.{plan_name}.allowances.{meter_name}"
                meter = self.meters.get(meter_name)
                if meter is None:
                    raise ValueError(
                        f"{place}: no such meter; add `{meter_name}: {{unit: {allowance.unit}}}` to `meters`"
                    )
                if meter.unit != allowance.unit:
                    raise ValueError(
                        f"{place}: the allowance is in {allowance.unit!r}, the meter in {meter.unit!r}; use one unit"
                    )
        return self

    @model_validator(mode="after")
    def _floors_are_of_known_meters(self) -> Self:
        for meter_name in self.detectors.usage_spike.least_extra:
            if meter_name not in self.meters:
                place = f"detectors.usage_spike.least_extra.{meter_name}"
                raise ValueError(f"{place}: no such meter; add it with its unit to `meters`")
        return self

    @model_validator(mode="after")
    def _repartition_leads_out_of_no_topic_of_ours(self) -> Self:
        refuse_circles(self.repartition, self.topics)
        return self

    def stream_settings(self) -> StreamSettings:
        """Return what the stream worker needs."""
        return StreamSettings(
            kafka=self.kafka,
            topics=self.topics,
            repartition=self.repartition,
            worker=self.stream,
            engine=self.engine_settings(),
        )

    def engine_settings(self) -> EngineSettings:
        """Return what the alerts depend on."""
        return EngineSettings(meters=self.meters, plans=self.plans, detectors=self.detectors)

    def delivery_settings(self) -> DeliverySettings:
        """Return what the channel consumer needs."""
        return DeliverySettings(
            channels=self.channels,
            kafka=self.kafka.client_options(),
            notifications=self.topics.named("notifications"),
            receipts=self.topics.named("receipts"),
            group=f"{self.kafka.group}.deliver",
        )


def load_config(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration in `path`, with what the environment overrides.

    Raises:
        ConfigError: it cannot be used, and where and why.
    """
    file = ConfigFile.read(path, environment)
    try:
        return Config.model_validate(file.values)
    except ValidationError as error:
        raise file.explain(error) from error

"""The Faust app, with the settings that the workers need of it."""

from __future__ import annotations

from typing import Any

import faust

from .settings import KafkaSettings, StreamSettings
from .transport import BatchApp


def create_app(settings: StreamSettings) -> BatchApp:
    """Return an app without agents. It opens no web server and keeps no table."""
    kafka, worker = settings.kafka, settings.worker
    return BatchApp(
        kafka.group,
        broker=[f"kafka://{server}" for server in kafka.servers],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=worker.session_timeout_seconds,
        broker_heartbeat_interval=worker.session_timeout_seconds / 5,
        broker_request_timeout=max(30.0, worker.session_timeout_seconds),
        broker_rebalance_timeout=20.0,
        broker_max_poll_interval=300.0,
        broker_max_poll_records=worker.most_records,
        broker_commit_interval=worker.checkpoint_seconds,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=worker.instance_id,
        stream_buffer_maxsize=8,  # counts batches
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        store="memory://",
        web_enabled=False,
    )


def _credentials(kafka: KafkaSettings) -> Any:
    if kafka.uses_sasl and kafka.sasl_password is not None:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=kafka.ssl_context(),
        )
    return faust.SSLCredentials(context=kafka.ssl_context()) if kafka.uses_tls else None

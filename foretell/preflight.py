"""What must hold before a process starts: codecs installed, a broker that answers, topics as needed."""

from __future__ import annotations

import aiokafka.codec
import kafka.codec

from streams.topics import admin, require

from .config import Config

_CODECS = ("gzip", "snappy", "lz4", "zstd")
_PACKAGES = {"snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}


class PreflightError(Exception):
    """Something that every process needs is missing; the sentence tells what to install."""


def require_codecs() -> None:
    """Return if records of every compression can be read.

    A client without the codec of a compressed topic dies at its first record, which may be weeks after the start.

    Raises:
        PreflightError: a codec is missing.
    """
    for codec in _CODECS:
        for client, module, package in (
            ("aiokafka", aiokafka.codec, "cramjam"),
            ("kafka-python", kafka.codec, _PACKAGES.get(codec)),
        ):
            if not getattr(module, f"has_{codec}")():
                raise PreflightError(
                    f"{client} cannot read topics compressed with {codec}: a library is missing; install it with "
                    f"`pip install {package}`, or all that Foretell needs from requirements.lock"
                )


def require_kafka(config: Config) -> None:
    """Return if a broker answers and all topics are as needed.

    Raises:
        PreflightError: a codec is missing.
        streams.topics.TopicError: no broker answers, or a topic is missing or has too few partitions.
    """
    require_codecs()
    with admin(config.kafka) as client:
        require(client, config.topics, config.repartition)

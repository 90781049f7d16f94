"""What ten million pending timers cost an event, and what they cost in memory."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import orjson

from detectors.codec import Reader
from detectors.engine import Engine, Origin

from .contest import run_program, say
from .events import Readings
from .memory import resident_bytes
from .product_work import READER, SETTINGS, seed

_DAY_MS = 24 * 3600 * 1000
_YEAR_MS = 365 * _DAY_MS
_MARK = bytes(range(1, 9))
"""A time that no account is woken at, to find the place of the time in a saved profile."""


def measure(timers: int, events: int) -> tuple[float, float, float]:
    """Return the seconds of an event with no timers, with so many, and the bytes of memory of a timer."""
    report = run_program("bench.pending_timers", f"--timers={timers}", f"--events={events}")
    say(
        f"  timers: {report['none'] * 1e6:.1f} us an event with none, {report['many'] * 1e6:.1f} us with {timers:,} pending,"
        f" {report['bytes']:.0f} bytes each, {report['fill_seconds']:.1f} s to set them all"
    )
    return report["none"], report["many"], report["bytes"]


def _pending(timers: int, now_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield saved accounts that are to be woken over the next year, and not while this runs."""
    codec = Engine(SETTINGS).codec
    profile = codec.restore("any", seed(b"timer-00000001"))
    profile.timer_ms = int.from_bytes(_MARK)
    before, after = codec.save(profile).split(_MARK)
    for number in range(timers):
        due_ms = now_ms + _DAY_MS + number * 7_919_113 % _YEAR_MS
        yield b"timer-%08d" % number, before + due_ms.to_bytes(8) + after


def _cost(engine: Engine, reader: Reader, readings: Readings) -> float:
    began = time.process_time()
    for offset, record in enumerate(readings):
        event = reader.read(record.value)
        if record.timestamp_ms >= engine.next_timer_ms:
            engine.tick(record.timestamp_ms)
        engine.handle(event, Origin("bench", 0, offset, record.timestamp_ms))  # type: ignore[arg-type] # readings are about accounts
    return (time.process_time() - began) / len(readings)


def main() -> None:
    """Measure twice and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--timers", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    options = parser.parse_args()
    readings = Readings(1000, max(1, options.events // 1000))
    costs, taken, seconds = [], 0, 0.0
    for timers in (0, options.timers):
        engine = Engine(SETTINGS)
        before, began = resident_bytes(), time.perf_counter()
        engine.restore({}, _pending(timers, int(time.time() * 1000)))
        taken, seconds = resident_bytes() - before, time.perf_counter() - began
        costs.append(_cost(engine, READER, readings))
        assert engine.pending_timers >= timers
    report = {"none": costs[0], "many": costs[1], "bytes": taken / max(1, options.timers), "fill_seconds": seconds}
    print(orjson.dumps(report).decode())


if __name__ == "__main__":
    main()

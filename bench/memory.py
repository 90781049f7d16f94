"""How much memory an account takes: its process's resident memory, over what it was before there were accounts."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from datetime import timedelta
from pathlib import Path
from random import Random

import orjson

from detectors.engine import Origin
from streams.checkpoints import Restored
from streams.engine_shard import EngineShard

from .contest import run_program, say
from .events import account_name
from .our_settings import engine_shard
from .restoring import settings_of
from .saved_profiles import charge, hours_ago, read, spread, usage


def measure(profiles: Path, accounts: int, where: str) -> float:
    """Return the bytes of an account that is `hot` or `idle`."""
    report = run_program("bench.memory", f"--profiles={profiles}", f"--accounts={accounts}", f"--where={where}")
    say(
        f"  memory, {where}: {report['bytes'] / accounts:,.0f} bytes an account over {accounts:,} of them,"
        f" saved in {report['mean_bytes']:,.0f}"
    )
    return float(report["bytes"] / accounts)


def resident_bytes() -> int:
    """Return this process's resident memory."""
    gc.collect()
    if sys.platform != "linux":
        raise OSError("resident memory is read from /proc, which only Linux has; run this part there")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Make the accounts and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profiles", type=Path, required=True)
    parser.add_argument("--accounts", type=int, required=True)
    parser.add_argument("--where", choices=("hot", "idle"), required=True)
    options = parser.parse_args()
    saved = read(options.profiles)
    settings = settings_of("127.0.0.1:9", "bench")
    warm = engine_shard(settings, 0, Restored())
    _heat(warm, saved[0], 0)
    before = resident_bytes()
    if options.where == "idle":
        states = {key: bytes(bytearray(state)) for key, state in spread(saved, options.accounts)}  # a copy for each
        shard = engine_shard(settings, 0, Restored(states=states))
        counted = shard.accounts.counts().idle
    else:
        shard = engine_shard(settings, 0, Restored())
        for number in range(options.accounts):
            _heat(shard, saved[number % len(saved)], number)
        counted = shard.accounts.counts().hot
    taken = resident_bytes() - before
    assert counted == options.accounts, f"{counted} accounts are {options.where}, expected {options.accounts}"
    print(orjson.dumps({"bytes": taken, "mean_bytes": sum(map(len, saved)) / len(saved)}).decode())


def _heat(shard: EngineShard, state: bytes, number: int) -> None:
    """Bring an account into use: restored, a reading and a charge handled, so that every detector has its objects."""
    engine, accounts = shard.engine, shard.accounts
    name, moment = account_name(number), hours_ago(0) + timedelta(minutes=number % 60)
    accounts.add(name.encode(), engine.codec.restore(name, state))
    origin = Origin("bench", 0, number)
    engine.handle(usage(name, "now", moment, 500.0), origin)
    engine.handle(charge(name, "paid", moment, Random(number)), origin)  # noqa: S311 - any amount will do


if __name__ == "__main__":
    main()

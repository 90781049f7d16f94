"""What counts as alive."""

from streams.health import Health


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def look_every_second(health: Health, clock: Clock, seconds: int, lag: int) -> None:
    for _ in range(seconds):
        clock.seconds += 1
        health.beat(lag)


def test_with_nothing_to_read_a_quiet_worker_is_healthy() -> None:
    clock = Clock()
    health = Health(60, clock)

    look_every_second(health, clock, 3600, lag=0)

    assert health.is_healthy()
    assert not health.is_stalled()


def test_lag_without_progress_is_ill_and_then_stalled() -> None:
    clock = Clock()
    health = Health(60, clock)

    look_every_second(health, clock, 61, lag=5)
    assert not health.is_healthy()
    assert not health.is_stalled()

    look_every_second(health, clock, 60, lag=5)
    assert health.is_stalled()


def test_lag_with_progress_is_healthy() -> None:
    clock = Clock()
    health = Health(60, clock)

    for _ in range(10):
        look_every_second(health, clock, 59, lag=100_000)
        health.moved()

    assert health.is_healthy()


def test_an_event_loop_that_stands_still_is_ill() -> None:
    clock = Clock()
    health = Health(60, clock)

    clock.seconds += 61

    assert not health.is_healthy()


def test_a_process_that_was_stopped_is_forgiven_once() -> None:
    clock = Clock()
    health = Health(60, clock)
    look_every_second(health, clock, 3, lag=5)

    clock.seconds += 600

    assert health.beat(lag=5)
    assert health.is_healthy()
    assert not health.beat(lag=5)

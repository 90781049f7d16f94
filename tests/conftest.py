"""What the whole suite shares: one real Kafka, and a second one for those who break it."""

import signal
from collections.abc import Callable, Iterator

import psutil
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from foretell.broker import LocalBroker


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """Undo what `nohup` and a shell's `&` do to the processes they start, and those to theirs: they ignore signals."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def broker() -> Iterator[LocalBroker]:
    """A running Kafka for all tests; do it no harm, and name topics and groups so that they meet no other test's."""
    with LocalBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def bootstrap(broker: LocalBroker) -> str:
    """The address of the shared Kafka."""
    return broker.bootstrap


@pytest.fixture
def isolated_broker() -> Iterator[LocalBroker]:
    """A running Kafka with data of its own, to be killed, paused and filled at will."""
    with LocalBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def ends() -> Callable[[int], bool]:
    """Whether the process with this id ends within a few seconds."""

    @retry(
        retry=retry_if_result(lambda ended: not ended),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(10),
        retry_error_callback=lambda _: False,
    )
    def ends(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # a container's first process may not bury it
        except psutil.NoSuchProcess:
            return True

    return ends

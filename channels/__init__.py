"""This room speaks: alerts in, messages to people out, receipts of what became of each."""

from .consumer import Consumer, ConsumerError
from .ledger import Conservation, Ledger
from .ledger_file import LedgerError
from .metrics import DeliveryMetrics
from .settings import ChannelSettings, DeliverySettings

__all__ = [
    "ChannelSettings",
    "Conservation",
    "Consumer",
    "ConsumerError",
    "DeliveryMetrics",
    "DeliverySettings",
    "Ledger",
    "LedgerError",
]

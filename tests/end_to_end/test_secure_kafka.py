"""Both processes on a Kafka that wants TLS and a password, given from the environment."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from foretell.broker import LocalBroker

PASSWORD = "correct-horse"


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[LocalBroker, str, Path]]:
    """A Kafka with a second listener, SASL_SSL; its address and the authority that signed its certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    certificate = authority.issue_cert("127.0.0.1")
    chain = "".join(blob.bytes().decode() for blob in certificate.cert_chain_pems)
    key = certificate.private_key_pem.bytes().decode()
    key_path = tmp_path / "broker.pem"
    key_path.write_text(_pkcs8(key) + chain)

    broker = LocalBroker(tmp_path / "kafka")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    broker._settings = {
        "listeners": f"PLAINTEXT://{broker.bootstrap},CONTROLLER://127.0.0.1:{broker._controller_port},SECURE://{address}",
        "advertised.listeners": f"PLAINTEXT://{broker.bootstrap},SECURE://{address}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": f'{login} required user_team="{PASSWORD}";',
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(key_path),
    }
    with broker:
        yield broker, address, tmp_path / "authority.pem"


def _pkcs8(pem: str) -> str:
    key = serialization.load_pem_private_key(pem.encode(), None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_tls_and_a_password_from_the_environment_let_both_processes_in(
    secure: tuple[LocalBroker, str, Path],
    make_pipeline: Callable[[str], Any],
    eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker, address, authority = secure
    pipeline = make_pipeline(broker.bootstrap)
    monkeypatch.setenv("FORETELL_KAFKA__BOOTSTRAP", address)
    monkeypatch.setenv("FORETELL_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("FORETELL_KAFKA__SASL_USERNAME", "team")
    monkeypatch.setenv("FORETELL_KAFKA__SASL_PASSWORD", PASSWORD)
    monkeypatch.setenv("FORETELL_KAFKA__SSL_CAFILE", str(authority))
    processes = [pipeline.start(command) for command in ("stream", "deliver")]

    at = "2026-03-10T12:00:00Z"
    pipeline.send_event("accounts", "a1", {"id": "1", "type": "account.updated", "time": at, "plan": "basic"})
    pipeline.send_event("usage", "a1", {"id": "2", "time": at, "meter": "data", "unit": "GB", "quantity": "8.5"})

    assert eventually(pipeline.messages)[0]["account"] == "a1"
    assert PASSWORD not in "".join(process.log_tail(10_000) for process in processes)

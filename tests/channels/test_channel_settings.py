from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from channels import ChannelSettings, DeliverySettings
from channels.settings import AppriseSettings

TWILIO = "twilio://AC12345678901234567890123456789012:abcdefabcdefabcdefabcdefabcdefab@15551234567/{account}"


def refusal(**section: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        ChannelSettings.model_validate(section)
    return str(caught.value)


def test_without_a_word_messages_are_printed_and_the_ledger_is_a_file_here() -> None:
    settings = ChannelSettings()

    assert settings.ledger == "sqlite:///foretell.sqlite"
    assert settings.deliver_to == ("console",)
    assert settings.senders["console"].kind == "console"


def test_an_apprise_url_may_have_a_place_for_the_account() -> None:
    settings = ChannelSettings.model_validate(
        {"senders": {"sms": {"kind": "apprise", "url": TWILIO, "attempts": 2}}, "deliver_to": ["sms"]}
    )

    sms = settings.senders["sms"]
    assert isinstance(sms, AppriseSettings)
    assert sms.url.get_secret_value() == TWILIO
    assert sms.attempts == 2


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("twillio://topsecret:b@15551234567/15557654321", ["'twillio://'", "did you mean 'twilio://'?", "https://"]),
        ("zzzzqq://topsecret", ["'zzzzqq://'", "https://appriseit.com/services/"]),
        ("twilio://topsecret", ["'twilio://'", "https://appriseit.com/services/twilio/"]),
        ("topsecret", ["no Apprise URL", "https://"]),
        ("json://u:topsecret@h/x?retry=3", ["json://", "attempts"]),
        ("json://u:topsecret@h/x?optional=yes", ["json://", "optional"]),
    ],
)
def test_a_bad_apprise_url_is_refused_by_its_scheme_and_its_secret_is_not_repeated(url: str, said: list[str]) -> None:
    refused = refusal(senders={"sms": {"kind": "apprise", "url": url}}, deliver_to=["sms"])

    assert all(part in refused for part in said), refused
    assert "topsecret" not in refused


def test_a_service_that_lacks_a_package_names_the_package() -> None:
    refused = refusal(senders={"bus": {"kind": "apprise", "url": "mqtts://u:topsecret@h/x"}}, deliver_to=["bus"])

    assert "paho-mqtt" in refused


def test_a_secret_does_not_show_in_the_settings_printed() -> None:
    settings = ChannelSettings.model_validate(
        {"senders": {"sms": {"kind": "apprise", "url": TWILIO}}, "deliver_to": ["sms"]}
    )
    delivery = DeliverySettings(settings, {"sasl_plain_password": "topsecret"}, "n", "r", "g")

    assert "abcdef" not in repr(delivery)
    assert "topsecret" not in repr(delivery)
    assert delivery.dead_letters == "n-dlt"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"deliver_to": ["sms"]}, "deliver_to names 'sms', which is none of the senders (console)"),
        ({"deliver_to": ["console", "console"]}, "deliver_to names a sender twice"),
        ({"deliver_to": []}, "at least 1 item"),
        ({"ledger": "foretell.sqlite"}, "this is no SQLAlchemy URL; expected one like 'sqlite:///foretell.sqlite'"),
        ({"ledger": "postgresql://db/foretell"}, "keeps its ledger in an SQLite file, not in 'postgresql'"),
        ({"ledger": "sqlite://"}, "SQLite file"),
        ({"senders": {"Console!": {"kind": "console"}}}, "String should match pattern"),
        ({"senders": {"console": {"kind": "pigeon"}}}, "'console', 'apprise'"),
        ({"senders": {"console": {"kind": "console", "colour": "red"}}}, "Extra inputs are not permitted"),
        ({"retries": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_bad_section_says_what_is_wrong(section: dict[str, Any], said: str) -> None:
    assert said in refusal(**section)


def test_a_console_may_append_to_a_file(tmp_path: Path) -> None:
    settings = ChannelSettings.model_validate(
        {"senders": {"console": {"kind": "console", "format": "json", "path": str(tmp_path / "m.jsonl")}}}
    )

    assert settings.senders["console"].model_dump()["path"] == tmp_path / "m.jsonl"

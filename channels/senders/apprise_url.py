"""Apprise URLs: checked when the configuration is read, filled in for an account when a message goes out."""

from __future__ import annotations

import difflib
import logging
from typing import Any
from urllib.parse import quote

import apprise
from apprise.plugins import url_to_dict

ACCOUNT = "{account}"
_SAMPLE_ACCOUNT = "15555550100"  # a telephone number from the block for fiction, which passes for a name as well
_EVERY_SERVICE = "https://appriseit.com/services/"

_log = logging.getLogger("apprise")
_log.addHandler(logging.NullHandler())

_ASSET = apprise.AppriseAsset(
    app_id="Foretell",
    storage_mode="memory",
    async_mode=False,  # one service a call
    secure_logging=True,
)


def check_url(url: str) -> None:
    """Return if Apprise can use `url`.

    Raises:
        ValueError: it cannot; the sentence names the scheme and where to look, and nothing else of the URL.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme.replace("+", "").replace("-", "").isalnum():
        raise ValueError(f"this is no Apprise URL; expected one like 'twilio://...', see {_EVERY_SERVICE}")
    service = open_service(url, _SAMPLE_ACCOUNT, timeout_seconds=1.0)
    if service is None:
        raise ValueError(_why_unusable(scheme.lower()))
    if service.retry:
        raise ValueError(
            f"the {scheme}:// URL asks Apprise to retry; remove `retry` from it and set `attempts`: "
            "Foretell tries again only where nothing was accepted"
        )
    if service.optional:
        raise ValueError(f"the {scheme}:// URL asks Apprise to call failures a success; remove `optional` from it")


def open_service(url: str, account: str, timeout_seconds: float) -> apprise.NotifyBase | None:
    """Return the service behind `url` for this account, or None if Apprise cannot use it.

    A service is opened for each message: Apprise makes one that is kept wait up to 5.5 s between messages.

    Args:
        url: an Apprise URL; each `{account}` in it is replaced.
        account: any text; it is percent-encoded.
        timeout_seconds: for connecting and for each answer, unless the URL says `cto` and `rto` itself.
    """
    _overhear()
    parts: dict[str, Any] | None = url_to_dict(  # type: ignore[no-untyped-call]
        url.replace(ACCOUNT, quote(account, safe="")), secure_logging=True
    )
    if parts is None:
        return None
    parts.setdefault("cto", timeout_seconds)
    parts.setdefault("rto", timeout_seconds)
    return apprise.Apprise.instantiate(parts, asset=_ASSET)


def call(service: apprise.NotifyBase, subject: str, body: str, timeout_seconds: float) -> apprise.AppriseResult:
    """Hand a message to `service` once, and give up waiting after `timeout_seconds`."""
    return apprise.Apprise(service, asset=_ASSET).notify(
        body=body,
        title=subject,
        body_format=apprise.NotifyFormat.TEXT,
        timeout=timeout_seconds,
        log_level=logging.DEBUG,
    )


def _overhear() -> None:
    """Have Apprise say everything to us and nothing to the program's log: its lines carry addresses.

    Each time anew, since a program may set up its logging after this module is read.
    """
    _log.propagate = False
    _log.disabled = False
    _log.setLevel(logging.DEBUG)


def _why_unusable(scheme: str) -> str:
    services = apprise.Apprise().details(show_requirements=True, show_disabled=True)["schemas"]
    known = {name: service for service in services for name in _schemes(service)}
    service = known.get(scheme)
    if service is None:
        near = difflib.get_close_matches(scheme, known, n=1)
        hint = f"; did you mean '{near[0]}://'?" if near else ";"
        return f"Apprise knows no service '{scheme}://'{hint} see {_EVERY_SERVICE}"
    if not service["enabled"]:
        wanted = ", ".join(service["requirements"]["packages_required"]) or service["requirements"]["details"]
        return f"Apprise cannot use '{scheme}://' here: it needs {wanted}; see {service['setup_url']}"
    return f"Apprise does not accept this '{scheme}://' URL; compare it with {service['setup_url']}"


def _schemes(service: dict[str, Any]) -> set[str]:
    return {*(service["protocols"] or ()), *(service["secure_protocols"] or ())}

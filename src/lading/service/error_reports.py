"""Errors of the service go to Sentry where ``SENTRY_DSN`` says so, as from Cog's server: its own, failed setups, a model given up.

What a model raises in a prediction is its client's to know, and not reported; of a failed setup its kind and place are, not its words. Neither are
values: no request, no variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lading import __version__
from lading.service.log import ServiceLog

_LAST_SECONDS = 2.0


class ErrorReports:
    """Sends what `ServiceLog.alarm` hears. ``client`` is the module ``sentry_sdk``, initialised."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def tell(self, message: str, error: BaseException | None) -> None:
        """Send one; never waits."""
        if error is not None:
            self._client.capture_exception(error)
        else:
            self._client.capture_message(message, level="error")

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._client.flush(_LAST_SECONDS)


def start_error_reports(variables: Mapping[str, str], log: ServiceLog) -> ErrorReports | None:
    """Begin to send errors, where it is wanted and possible; else None, with one warning if it was wanted."""
    dsn = variables.get("SENTRY_DSN")
    if not dsn:
        return None
    try:
        import sentry_sdk  # noqa: PLC0415 - for those alone who asked for it
    except ImportError:
        log.say("warning", "SENTRY_DSN is set, and sentry-sdk is not installed beside Lading: pip install 'lading[sentry]'")
        return None
    try:
        sentry_sdk.init(
            dsn=dsn,
            release=variables.get("SENTRY_RELEASE") or f"lading@{__version__}",
            environment=variables.get("SENTRY_ENVIRONMENT") or "production",
            default_integrations=False,
            include_local_variables=False,  # requests and secrets are among them
            max_request_body_size="never",
        )
    except ValueError:  # its message would show the address, and the key in it
        log.say("warning", "SENTRY_DSN is not an address of Sentry's: errors are not reported")
        return None
    reports = ErrorReports(sentry_sdk)
    log.alarm = reports.tell
    return reports

"""Filters of the log: for what clients cause and operators cannot fix."""

import logging
from http import HTTPStatus


class WithoutReadiness(logging.Filter):
    """Drop Django's record of each 503 of /readyz.

    A load balancer asks every second. chat.runtime.readiness logs when the result changes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        match = getattr(getattr(record, "request", None), "resolver_match", None)
        is_readiness = match is not None and match.view_name == "readyz"
        return not (is_readiness and getattr(record, "status_code", 0) == HTTPStatus.SERVICE_UNAVAILABLE)


class RejectedRequests(logging.Filter):
    """Shorten Django's record of a rejected request, such as one to a foreign host, to one line.

    Any client can cause it, and the traceback always shows the same place.
    """

    CHARS_MAX = 200

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):
            record.msg, record.args = record.getMessage()[: self.CHARS_MAX], ()
            record.exc_info = record.exc_text = None
        return True

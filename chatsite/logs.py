"""Filter of the log: a probe that finds the process not ready is no error of a request."""

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

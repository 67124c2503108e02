"""Whether this process is alive (/healthz) and can serve (/readyz), for supervisors and load balancers.

Neither needs a session. Both keep Django's check of the Host header: a probe must send a name from
CHATSITE_ALLOWED_HOSTS (probes of 127.0.0.1 and localhost do), or it is answered 400.
"""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse

from chat.runtime.process import current_runtime

UNCACHED = {"Cache-Control": "no-store"}


async def healthz(request: HttpRequest) -> HttpResponse:
    """Answer `ok` while the event loop runs. A restart would not help if the database is down."""
    return HttpResponse("ok", "text/plain; charset=utf-8", headers=UNCACHED)


async def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if this process can serve, else 503. The body has the checks and the process status."""
    readiness = await current_runtime().readiness()
    return JsonResponse(
        {"ready": readiness.is_ready, "checks": readiness.checks, "status": readiness.status},
        status=HTTPStatus.OK if readiness.is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
        headers=UNCACHED,
    )

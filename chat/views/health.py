"""Health probes: /healthz (is alive) and /readyz (can serve requests).

For supervisors and load balancers. Neither needs a session. Both keep Django's check of the Host header: a
probe must send a name from CHATSITE_ALLOWED_HOSTS (by default localhost and 127.0.0.1) or gets 400.
"""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse

from chat.runtime.process import current_runtime

UNCACHED = {"Cache-Control": "no-store"}


async def healthz(request: HttpRequest) -> HttpResponse:
    """Answer `ok` while the event loop runs.

    The database is not checked, because a restart would not help if it is down.
    """
    return HttpResponse("ok", "text/plain; charset=utf-8", headers=UNCACHED)


async def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if this process can serve, else 503.

    The body has the result of each check and the status of the process.
    """
    readiness = await current_runtime().readiness()
    return JsonResponse(
        {"ready": readiness.is_ready, "checks": readiness.checks, "status": readiness.status},
        status=HTTPStatus.OK if readiness.is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
        headers=UNCACHED,
    )

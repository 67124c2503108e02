"""The control endpoint of a running fake provider: schedule faults, release gates, read its log."""

import json
import urllib.request


def control(provider, path, body=None, method=None):
    url = provider.base_url.removesuffix("/v1") + "/control/" + path
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as reply:
        return reply.read().decode()


def release(provider, gate):
    control(provider, f"release?gate={gate}", method="POST")


def provider_text(provider, question):
    return json.loads(control(provider, "text", {"text": question}))["text"]


def last_body(provider):
    """Return the body of the last chat request."""
    return json.loads(control(provider, "body"))["body"]


def requests_of(provider):
    """Return the records of all chat requests, oldest first."""
    return json.loads(control(provider, "requests"))["requests"]

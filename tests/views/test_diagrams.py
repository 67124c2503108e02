"""The document of a diagram's frame: its policy, and that pages may frame nothing else."""

from django.urls import reverse


def test_the_frame_has_a_sandbox_and_a_policy_of_its_own(client):
    response = client.get(reverse("diagram"))
    policy = response["Content-Security-Policy"]
    assert "sandbox allow-scripts;" in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy  # so none
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert "script>" in response.content.decode()


def test_other_pages_cannot_be_framed_and_the_chat_frames_only_its_own(client, model):
    response = client.get(reverse("chat"))
    policy = response["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "frame-src 'self'" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"

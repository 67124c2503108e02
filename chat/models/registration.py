"""Registrations: how many accounts an address may create."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext

from chat.errors import RequestRefused
from chat.models.sign_in import network_of


class Registration(models.Model):
    """An account that was created from an address, without saying which account."""

    WINDOW = timedelta(hours=1)
    # An office or a school class shares one address; a program that creates accounts wants thousands.
    PER_ADDRESS = 10

    address = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["address", "created_at"]), models.Index(fields=["created_at"])]

    def __str__(self) -> str:
        return f"registration at {self.created_at}"

    @classmethod
    def check_in(cls, address: str) -> None:
        """Count an account before it is created, so that concurrent ones count each other.

        An address that is empty, behind a proxy that does not forward it, is not limited. Raises
        RequestRefused `too_many_registrations`; that one is not counted.
        """
        now = timezone.now()
        cls.objects.filter(created_at__lt=now - cls.WINDOW).delete()
        network = network_of(address)
        if not network:
            return
        own = cls.objects.create(address=network)
        previous = cls.objects.filter(address=network, created_at__gte=now - cls.WINDOW, pk__lt=own.pk)
        times = list(previous.order_by("-created_at").values_list("created_at", flat=True)[: cls.PER_ADDRESS])
        if len(times) == cls.PER_ADDRESS:
            own.delete()
            raise RequestRefused(
                "too_many_registrations",
                gettext(
                    "Too many accounts were created from your network within an hour. Try again later, "
                    "or ask the administrator of this site for an account."
                ),
                retry_after_s=max(1.0, (times[-1] + cls.WINDOW - now).total_seconds()),
            )

"""What the tests of the event log share."""

from django.utils import timezone

from chat.models import Generation, Message


def end(generation, text):
    Generation.objects.filter(pk=generation.pk).update(status="completed", finished_at=timezone.now())
    Message.objects.filter(pk=generation.message_id).update(text=text)

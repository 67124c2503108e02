from django.tasks.backends.immediate import ImmediateBackend as AsyncioBackend

"""Uploads and batches for tests."""

from chat.batches import intake
from chat.batches.lines import LineSource
from chat.event_log.writer import InlineWriter


def upload(folder, data, kind="csv"):
    """Write an upload to a file, and return its path."""
    path = folder / f"upload.{kind}"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def stored(folder, user, model, data, kind="csv", template="", **values):
    """Store an upload as a batch that is ready."""
    batch = intake.new_batch(user, model, "test", **values)
    source = LineSource(upload(folder, data, kind), kind, template, batch.system_prompt)
    return intake.accept(InlineWriter(), batch, source)


def prompts(count):
    """Return so many rows as CSV."""
    return "text\n" + "".join(f"question {number}\n" for number in range(1, count + 1))

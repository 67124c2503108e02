"""Follow one generation's log: replay its rows, then continue live, without a gap or a repeat.

A follower pulls: it keeps its own position and takes the rows that are there, from memory while it keeps
up, from the database when it fell behind or when another process owns the run. So a slow reader costs
nothing, and no row can be lost on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from channels.db import database_sync_to_async

from chat.event_log.lease import LogRow
from chat.event_log.read import rows_after, snapshot_after
from chat.event_log.topics import Topics

# How often the log of a run in another process is read.
POLL_S = 0.5
# How long followers of a run that is about to start here wait before they read the database.
START_S = 5.0


async def follow(
    topics: Topics, generation_id: int, *, after: int = 0, is_about_to_start: bool = False
) -> AsyncIterator[list[LogRow]]:
    """Yield the committed events above seq `after`, in order and without a gap, until the last one.

    A final generation whose log is gone yields one `snapshot`; a generation that does not exist yields
    nothing. `is_about_to_start`: this process has just scheduled the run, so the database has no rows yet.
    Not reading it matters when many runs start at once.
    """
    if is_about_to_start:
        await topics.wait_open(generation_id, START_S)
    while True:
        topic = topics.get(generation_id)
        rows = topic.rows_after(after) if topic is not None else None
        if rows is None or (not rows and topic is not None and topic.is_over):
            topic = None
            rows = await database_sync_to_async(rows_after)(generation_id, after)
        if rows:
            yield rows
            after = rows[-1].seq
            if rows[-1].is_terminal:
                return
        elif topic is not None:
            await topic.wait()
        else:
            last, exists = await database_sync_to_async(snapshot_after)(generation_id, after)
            if last is not None:
                yield [last]
            if last is not None or not exists:
                return
            await topics.wait_open(generation_id, POLL_S)

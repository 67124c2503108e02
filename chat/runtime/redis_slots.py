"""Slots shared by all processes, counted in Redis.

Each process reports its whole state, so repeating a report does no harm, and a Redis that was flushed is
complete again within a second. An entry that is not renewed expires, which frees the slots of its process.
"""

from __future__ import annotations

import logging

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat.upstream.queue import STARVATION_MAX
from chat.upstream.shared_slots import Counts, SharedSlotsUnavailable, SlotGrant

logger = logging.getLogger(__name__)

# Calls wait for this; a slower Redis counts as unavailable.
TIMEOUT_S = 1.0
KEY = "chatsite:slots:{endpoint}"

# One hash for each endpoint. The entry of a process: when it expires, its running calls and its waiting
# calls, both by priority. A waiting call is granted a slot
# - if bulk is due: bulk waits somewhere and none runs anywhere (with one slot: after STARVATION_MAX others);
# - else if slots are left after the calls that go first: more urgent ones elsewhere, and equally urgent ones
#   of processes that use fewer slots. If bulk is due elsewhere, one slot is reserved for it.
# API and bulk calls use at most the program slots.
ACQUIRE = """
local key, me = KEYS[1], ARGV[1]
local slots, program_slots = tonumber(ARGV[2]), tonumber(ARGV[3])
local lease_ms, starvation_max = tonumber(ARGV[4]), tonumber(ARGV[5])
local running = {tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])}
local waiting = {tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])}
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local others = {}
local mine = running[1] + running[2] + running[3]
local total, programs, bulk_running, bulk_waiting = mine, running[2] + running[3], running[3], waiting[3]
local starvation = 0
local entries = redis.call("HGETALL", key)
for n = 1, #entries, 2 do
    if entries[n] == "starvation" then
        starvation = tonumber(entries[n + 1])
    elseif entries[n] ~= me then
        local entry = {}
        for number in string.gmatch(entries[n + 1], "%d+") do entry[#entry + 1] = tonumber(number) end
        if entry[1] <= now then
            redis.call("HDEL", key, entries[n])
        else
            local in_use = entry[2] + entry[3] + entry[4]
            others[#others + 1] = {in_use = in_use, waiting = {entry[5], entry[6], entry[7]}}
            total, programs = total + in_use, programs + entry[3] + entry[4]
            bulk_running, bulk_waiting = bulk_running + entry[4], bulk_waiting + entry[7]
        end
    end
end

local function count_ahead(priority)
    local count = 0
    for _, other in ipairs(others) do
        for urgent = 1, priority - 1 do count = count + other.waiting[urgent] end
        if other.in_use < mine then count = count + other.waiting[priority] end
    end
    return count
end

local function next_priority()
    local is_bulk_due = bulk_waiting > 0 and bulk_running == 0
    if slots == 1 then is_bulk_due = bulk_waiting > 0 and starvation >= starvation_max end
    if is_bulk_due and waiting[3] > 0 and programs < program_slots then return 3 end
    local reserved = is_bulk_due and 1 or 0
    local free = slots - total - reserved
    local free_for_programs = math.min(free, program_slots - programs - reserved)
    for priority = 1, 3 do
        local left = priority == 1 and free or free_for_programs
        if waiting[priority] > 0 then return left > count_ahead(priority) and priority end
    end
end

local granted = {0, 0, 0}
while total < slots do
    local priority = next_priority()
    if not priority then break end
    granted[priority] = granted[priority] + 1
    running[priority], waiting[priority] = running[priority] + 1, waiting[priority] - 1
    mine, total = mine + 1, total + 1
    if priority > 1 then programs = programs + 1 end
    if priority == 3 then
        bulk_running, bulk_waiting, starvation = bulk_running + 1, bulk_waiting - 1, 0
    elseif bulk_waiting > 0 then
        starvation = starvation + 1
    end
end

if mine + waiting[1] + waiting[2] + waiting[3] == 0 then
    redis.call("HDEL", key, me)
else
    local entry = {now + lease_ms, running[1], running[2], running[3], waiting[1], waiting[2], waiting[3]}
    for n, number in ipairs(entry) do entry[n] = string.format("%d", number) end
    redis.call("HSET", key, me, table.concat(entry, " "), "starvation", starvation)
    redis.call("PEXPIRE", key, lease_ms)
end
return {granted[1], granted[2], granted[3], total}
"""


class RedisSlots:
    """`SharedSlots` in Redis. Belongs to one event loop once it has been used."""

    def __init__(self, url: str, *, process: str, lease_s: float) -> None:
        """Connect on first use.

        `process`: the name under which this process reports. `lease_s`: its slots are freed when it has not
        reported for so long.
        """
        redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), retries=0),
        )
        self._redis = redis
        self._acquire = redis.register_script(ACQUIRE)
        self._process = process
        self._lease_ms = round(lease_s * 1000)
        # Why Redis cannot be used, as a text for operators.
        self.problem: str | None = None

    async def ping(self) -> str | None:
        """Return what is wrong with Redis, or None."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as exc:
            return f"degraded: does not answer ({type(exc).__name__})"
        return self.problem

    async def acquire(
        self, endpoint: str, slots: int, program_slots: int, in_use: Counts, waiting: Counts
    ) -> SlotGrant:
        try:
            *granted, total_in_use = await self._acquire(
                keys=[KEY.format(endpoint=endpoint)],
                args=[self._process, slots, program_slots, self._lease_ms, STARVATION_MAX, *in_use, *waiting],
            )
        except (RedisError, OSError) as exc:
            self._set_problem(f"does not answer ({type(exc).__name__}): slots are divided by processes")
            raise SharedSlotsUnavailable from exc
        self._set_problem(None)
        return SlotGrant(tuple(granted), total_in_use)

    def _set_problem(self, problem: str | None) -> None:
        """Keep the problem; log when it appears and when it is over."""
        if problem and not self.problem:
            logger.warning("Redis %s", problem)
        elif self.problem and not problem:
            logger.warning("Redis answers again: slots are counted for all processes")
        self.problem = problem

"""The slots of all processes, counted in Redis: each tells what it holds and who waits, and takes its own.

A process's entry holds its whole state, so that telling it twice does no harm and a Redis that was emptied
knows all again within a second. An entry that is not renewed ends, and with it what that process held.
"""

from __future__ import annotations

import logging

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat.upstream.shared_slots import Counts, SharingFailed, Trade

logger = logging.getLogger(__name__)

# A Redis that is slower than this is as good as none: people wait for it.
TIMEOUT_S = 1.0
KEY = "chatsite:slots:{endpoint}"

# One hash for each endpoint. Entry of a process: when it ends, then its calls and its callers in line, by
# priority. Whoever asks gets a slot
# - if it is bulk's turn: bulk waits somewhere and none runs anywhere (with one slot: after 8 others);
# - else if slots are left after those who go first: the more urgent elsewhere, and as urgent ones of
#   processes that hold less. A slot is kept for bulk whose turn it is elsewhere.
TRADE = """
local PASSED_OVER_MAX = 8
local key, me = KEYS[1], ARGV[1]
local slots, lease_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local held = {tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])}
local waiting = {tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])}
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local others = {}
local mine = held[1] + held[2] + held[3]
local total, bulk_held, bulk_waiting = mine, held[3], waiting[3]
local passed = 0
local entries = redis.call("HGETALL", key)
for n = 1, #entries, 2 do
    if entries[n] == "passed over" then
        passed = tonumber(entries[n + 1])
    elseif entries[n] ~= me then
        local each = {}
        for number in string.gmatch(entries[n + 1], "%d+") do each[#each + 1] = tonumber(number) end
        if each[1] <= now then
            redis.call("HDEL", key, entries[n])
        else
            others[#others + 1] = {held = each[2] + each[3] + each[4], waiting = {each[5], each[6], each[7]}}
            total = total + each[2] + each[3] + each[4]
            bulk_held, bulk_waiting = bulk_held + each[4], bulk_waiting + each[7]
        end
    end
end

local function go_first(mine_is)
    local count = 0
    for _, other in ipairs(others) do
        for priority = 1, mine_is - 1 do count = count + other.waiting[priority] end
        if other.held < mine then count = count + other.waiting[mine_is] end
    end
    return count
end

local function next_one()
    local is_bulks_turn = bulk_waiting > 0 and bulk_held == 0
    if slots == 1 then is_bulks_turn = bulk_waiting > 0 and passed >= PASSED_OVER_MAX end
    if is_bulks_turn and waiting[3] > 0 then return 3 end
    local free = slots - total - (is_bulks_turn and 1 or 0)
    for priority = 1, 3 do
        if waiting[priority] > 0 then return free > go_first(priority) and priority end
    end
end

local granted = {0, 0, 0}
while total < slots do
    local priority = next_one()
    if not priority then break end
    granted[priority] = granted[priority] + 1
    held[priority], waiting[priority] = held[priority] + 1, waiting[priority] - 1
    mine, total = mine + 1, total + 1
    if priority == 3 then
        bulk_held, bulk_waiting, passed = bulk_held + 1, bulk_waiting - 1, 0
    elseif bulk_waiting > 0 then
        passed = passed + 1
    end
end

if mine + waiting[1] + waiting[2] + waiting[3] == 0 then
    redis.call("HDEL", key, me)
else
    local entry = {now + lease_ms, held[1], held[2], held[3], waiting[1], waiting[2], waiting[3]}
    for n, number in ipairs(entry) do entry[n] = string.format("%d", number) end
    redis.call("HSET", key, me, table.concat(entry, " "), "passed over", passed)
    redis.call("PEXPIRE", key, lease_ms)
end
return {granted[1], granted[2], granted[3], total}
"""


class RedisSlots:
    """`SharedSlots` over Redis. Belongs to one event loop from its first use on."""

    def __init__(self, url: str, *, process: str, lease_s: float) -> None:
        """Connects when it is first used.

        `process`: under which name this one holds its slots. They are free when it told nothing for
        `lease_s`.
        """
        redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), retries=0),
        )
        self._redis = redis
        self._trade = redis.register_script(TRADE)
        self._process = process
        self._lease_ms = round(lease_s * 1000)
        # What is wrong with Redis, in words for operators.
        self.problem: str | None = None

    async def ping(self) -> str | None:
        """Return what is wrong with Redis, or None."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as exc:
            return f"degraded: does not answer ({type(exc).__name__})"
        return self.problem

    async def trade(self, endpoint: str, slots: int, held: Counts, waiting: Counts) -> Trade:
        try:
            *granted, in_use = await self._trade(
                keys=[KEY.format(endpoint=endpoint)],
                args=[self._process, slots, self._lease_ms, *held, *waiting],
            )
        except (RedisError, OSError) as exc:
            self._tell(f"does not answer ({type(exc).__name__}): slots are divided by processes")
            raise SharingFailed from exc
        self._tell(None)
        return Trade(tuple(granted), in_use)

    def _tell(self, problem: str | None) -> None:
        if problem and not self.problem:
            logger.warning("Redis %s", problem)
        elif self.problem and not problem:
            logger.warning("Redis answers again: slots are counted for all processes")
        self.problem = problem

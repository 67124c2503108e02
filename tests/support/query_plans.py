"""Records the queries that a piece of code executes, and explains how the database would run each one."""

import contextlib
import re

from django.db import connection, connections

# The tables that grow with the history of a site.
LARGE = (
    *("chat_generation", "chat_message", "chat_attempt", "chat_conversation", "chat_loggedevent"),
    "chat_batchline",
)
# Columns that any number of rows of these tables can have in common.
UNBOUNDED = ("user_id", "api_key_id", "model_id", "owner", "status")
EXPLAINABLE = ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")


class Recorder:
    """The queries of this thread's connection while `recording()`, each once, with its parameters."""

    def __init__(self):
        self.queries = {}
        self._connection = connections["default"]  # coroutines have another one

    @contextlib.contextmanager
    def recording(self):
        with self._connection.execute_wrapper(self._execute):
            yield

    def _execute(self, execute, sql, params, many, context):
        if not many and sql.lstrip().upper().startswith(EXPLAINABLE):
            self.queries.setdefault(sql, params)
        return execute(sql, params, many, context)

    def scans(self):
        """Return (query, line of its plan) for each full scan of a large table or of one of its indexes."""
        return [
            (sql, line)
            for sql, params in self.queries.items()
            if any(f'"{table}"' in sql or f" {table} " in sql for table in LARGE)
            for line in plan_of(sql, params)
            if is_scan(line, sql)
        ]


def plan_of(sql, params):
    """Return the lines of the database's plan, with `params` bound as they were."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            return [row[3] for row in cursor.fetchall()]
        # The tables of a test are small: with this, a scan is chosen only where no index can be used.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN (COSTS OFF) {sql}", params)
        return _with_conditions([row[0] for row in cursor.fetchall()])


def is_scan(line, sql):
    """Return whether a line of a plan reads a whole table or index, or all rows of one user, key or model.

    Partial indexes are accepted: they hold only the rows that are wanted.
    """
    if connection.vendor == "sqlite":
        pattern = r"(SCAN|SEARCH) (\S+)(?: USING (?:COVERING )?INDEX (\S+))?(?: \((.+)\))?"
        found = re.match(pattern, line)
        if found is None or _table(found[2], sql) not in LARGE or found[3] in partial_indexes():
            return False
        return found[1] == "SCAN" or found[4] in {f"{column}=?" for column in UNBOUNDED}
    scanned = re.search(r"Seq Scan on (\S+)", line)
    if scanned:
        return scanned[1] in LARGE
    found = re.search(r"(?:Index(?: Only)? Scan(?: Backward)? using|Bitmap Index Scan on) (\S+)", line)
    if found is None or found[1] not in indexes() or found[1] in partial_indexes():
        return False
    condition = re.search(r"Index Cond: \((\w+) (?:= [^()]+|IS NOT NULL)\)(?: \||$)", line)
    return "Index Cond" not in line or (condition is not None and condition[1] in UNBOUNDED)


def partial_indexes():
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'")
        else:
            cursor.execute("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '% WHERE %'")
        return {row[0] for row in cursor.fetchall()}


def indexes():
    """Return the names of all indexes of large tables on PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = ANY(%s)", [list(LARGE)])
        return {row[0] for row in cursor.fetchall()}


def _table(name, sql):
    """Return the table that `name` in a plan stands for: SQLite prints the alias."""
    found = re.search(rf'"?(chat_\w+)"? (?:AS )?"?{re.escape(name)}"?(?=\W|$)', sql)
    return found[1] if found and not name.startswith("chat_") else name


def _with_conditions(lines):
    """Join each node of a PostgreSQL plan with the conditions below it."""
    nodes = []
    for line in lines:
        if nodes and re.match(r"\s+(Index Cond|Filter|Recheck Cond|Sort Key|Rows Removed)", line):
            nodes[-1] += f" | {line.strip()}"
        else:
            nodes.append(line.strip())
    return nodes

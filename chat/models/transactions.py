"""A decorator for operations that run in the caller's transaction, or in one of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.db import connection, transaction


def in_transaction[**P, R](verb: Callable[P, R]) -> Callable[P, R]:
    """Run a verb in its caller's transaction; without one, in a transaction of its own.

    A verb raises RequestRefused before it writes anything, because its caller may go on.

    `transaction.atomic` would make a savepoint in the caller's. The writer has made one already, and each
    costs as much as a row.
    """

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block:
            return verb(*args, **kwargs)
        with transaction.atomic():
            return verb(*args, **kwargs)

    return run

"""Render an answer once, when it is final. The same HTML serves the chat page, the no-JS page and admin.

Each step adds one concern, and each step that fails leaves the text readable:

    render           never raises; cleans characters that no page can carry
    _render          renders here, or in a child process if the text is long or takes long
    markdown.to_html converts Markdown to HTML and checks its deadline between the parser's steps
    sanitize         removes everything that is not on the allowlist
    plain            fallback: the escaped text

Three things are bounded: time (hostile text can make a parser backtrack without end), depth (recursion),
and the output (raw HTML is shown as text, images become links, links lead to http, https and mailto only).

This package imports neither Django nor the database, so that the child process starts fast.
"""

import asyncio
import contextlib
import logging
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chat.rendering.deadline import CHILD_TIME_LIMIT_S, TIME_LIMIT_S, Deadline, DeadlineExceeded
from chat.rendering.highlight import NO_COLOURS
from chat.rendering.markdown import to_html
from chat.rendering.writer import plain
from chat.text import clean

logger = logging.getLogger(__name__)

# 1 MB takes about 2 s of the interpreter lock, during which no other answer moves.
CHILD_ABOVE_CHARS = 200_000
# A text of this length, without code and formulas, takes 0.03 to 0.5 ms; a hostile one takes longer.
SHORT_MAX_CHARS = 500
SHORT_TIME_LIMIT_S = 0.005
_SLOW = re.compile(r"[`~$\\]")
# Above this a page could only show plain text, and a second copy of it is not stored.
MAX_CHARS = 2_000_000

_ROOT = Path(__file__).resolve().parents[2]

# A separate pool: a long text must block neither the event loop nor the database threads.
# More threads than cores, because some of them only wait for a child process.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="rendering")


async def arender(text: str) -> str:
    """Run `render` off the event loop, unless that would take longer than rendering a short text."""
    if len(text) <= SHORT_MAX_CHARS and _SLOW.search(text) is None:
        with contextlib.suppress(Exception):  # such as DeadlineExceeded: `render` then finds out why
            return to_html(clean(text), Deadline(SHORT_TIME_LIMIT_S))
    return await asyncio.get_running_loop().run_in_executor(_threads, render, text)


def render(text: str) -> str:
    """Return Markdown `text` as HTML that is safe to put into a page. Never raises.

    Takes about TIME_LIMIT_S plus twice CHILD_TIME_LIMIT_S at most; text that would take longer is returned
    escaped. Text above MAX_CHARS gives an empty string.
    """
    if len(text) > MAX_CHARS:
        return ""
    text = clean(text)
    try:
        return _render(text)
    except Exception as exc:  # noqa: BLE001  # an answer that cannot be rendered is still shown
        # Neither the message nor a traceback: both may quote the user's text.
        logger.warning("A text of %s characters is shown unrendered: %s", len(text), type(exc).__name__)
        return plain(text)


def _render(text: str) -> str:
    if len(text) <= CHILD_ABOVE_CHARS:
        with contextlib.suppress(DeadlineExceeded):
            return to_html(text, Deadline(TIME_LIMIT_S))
    try:
        return render_in_child(text)
    except subprocess.TimeoutExpired:
        return render_in_child(text, NO_COLOURS)


def render_in_child(text: str, *options: str) -> str:
    """Render in a child process, which can be killed. Raises OSError, subprocess.SubprocessError."""
    child = subprocess.run(  # noqa: S603 - our own interpreter and module; the text goes through stdin
        [sys.executable, "-m", "chat.rendering.child", *options],
        cwd=_ROOT,
        # The child parses untrusted text and needs none of our secrets.
        env={name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
        input=text.encode(),
        capture_output=True,
        timeout=CHILD_TIME_LIMIT_S,
        check=True,
    )
    return child.stdout.decode()

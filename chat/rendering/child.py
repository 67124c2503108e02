"""The rendering child process: reads Markdown from standard input, writes HTML to standard output."""

import sys

from chat.rendering.deadline import CHILD_TIME_LIMIT_S, Deadline
from chat.rendering.highlight import NO_COLOURS
from chat.rendering.markdown import to_html


def main() -> None:
    text = sys.stdin.buffer.read().decode()
    html = to_html(
        text,
        Deadline(CHILD_TIME_LIMIT_S * 0.9),
        # Code that takes longer is shown without colours: time is left for the rest of the text.
        highlight_deadline=Deadline(CHILD_TIME_LIMIT_S * 0.4),
        is_coloured=NO_COLOURS not in sys.argv,
    )
    sys.stdout.buffer.write(html.encode())


if __name__ == "__main__":
    main()

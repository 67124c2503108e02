"""The one way to say no to a request: a code for machines, a sentence for people."""


class RequestRefused(Exception):
    """A request that was understood, or not, and is not carried out. Nothing has been changed.

    `code` is one lower-case word or several joined by `_`. `message` says what to do about it.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s

"""The error of a refused request: a code for programs, a sentence for users."""


class RequestRefused(Exception):
    """A request is not carried out, and nothing has changed.

    `code`: lower-case words joined by `_`. `message`: what the user can do about it.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s

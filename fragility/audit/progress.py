"""A line on standard error that says what is being measured and how long the rest takes."""

import sys
import time


class Progress:
    """Time left, from the share of the planned seconds that is done and the time that it took."""

    def __init__(self, planned: float, shown: bool):
        self.planned, self.shown, self.finished = max(planned, 1e-9), shown, 0.0
        self.start, self.last = time.monotonic(), 0.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self._write("")
        if self.shown and sys.stderr.isatty():
            sys.stderr.write("\r")

    def show(self, what: str) -> None:
        """Name what is being measured; on a terminal at most five times a second, in a log twice a minute."""
        now = time.monotonic()
        if self.shown and now - self.last >= (0.2 if sys.stderr.isatty() else 30):
            self.last = now
            self._write(f"{self.finished / self.planned:4.0%}  {self._left(now)}  {what}")

    def done(self, seconds: float) -> None:
        """So many of the planned seconds are done."""
        self.finished += seconds

    def _left(self, now: float) -> str:
        share = min(1.0, self.finished / self.planned)
        if share < 0.01:
            return f"about {_duration(self.planned)} in all"
        return f"{_duration((now - self.start) * (1 - share) / share)} left"

    def _write(self, text: str) -> None:
        if not self.shown:
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{text[:100]}")
        elif text:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02}"

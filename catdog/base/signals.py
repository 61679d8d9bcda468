"""Handles SIGINT (Ctrl-C), SIGTERM (sent by a batch system that ends a job) and SIGHUP (the terminal is gone)."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

NOTHING_TRAINED = "stopped before the first step: nothing was trained; start again with the same command."


class Interrupted(BaseException):
    """Raised on a signal, whose number is `signal`; `saved` is whether a checkpoint was written for it.

    advice: what has become of the work and how to go on, a sentence for the user, or "".

    Like KeyboardInterrupt it is not an Exception, so that no `except Exception` catches it.
    """

    def __init__(self, number: int, saved: bool = False) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number
        self.saved = saved
        self.advice = ""


class Signals:
    """Context manager in which the first signal calls `handler`; a second one has its previous effect.

    SIGHUP stays ignored where it is ignored already: by nohup.
    """

    def __init__(self, handler: Callable[[int], None]) -> None:
        self.handler = handler
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            try:
                self.previous[number] = signal.signal(number, self._first)
            except ValueError:  # not the main thread, which alone can set handlers
                return

    def _first(self, number: int, frame: FrameType | None) -> None:
        self.__exit__()
        self.handler(number)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}


def stop_at_once(number: int) -> NoReturn:
    """Raise Interrupted: the handler for `Signals` where there is nothing to save."""
    raise Interrupted(number)

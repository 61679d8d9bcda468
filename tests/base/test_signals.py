"""Signals are handled where they would end the process, and left alone where they are ignored."""

import os
import signal
from collections.abc import Iterator

import pytest

from catdog.base.signals import Interrupted, Signals, stop_at_once


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_is_handled_once_and_then_as_before(number: int) -> None:
    before: list[int] = []
    handled: list[int] = []
    signal.signal(number, lambda found, frame: before.append(found))
    with Signals(handled.append):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    assert (handled, before) == ([number], [number, number])


def test_the_end_of_a_terminal_is_ignored_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals(stop_at_once):
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)

"""Runs calls in threads that end with the process, which waits for those of a ThreadPoolExecutor until all is done."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any


class DaemonThreads:
    """At most `count` threads, which are started when there is something to do and end when there is not."""

    def __init__(self, count: int) -> None:
        self._count, self._running = count, 0
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[Any], Any], Any]] = deque()

    def submit(self, call: Callable[[Any], Any], argument: Any) -> "Future[Any]":
        """Begin `call(argument)`, or leave it to wait for a thread that is free."""
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, call, argument))
            if self._running < self._count:
                self._running += 1
                threading.Thread(target=self._run, daemon=True).start()
        return future

    def map(self, call: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterator[Any]:
        """`call` of each of the arguments, in order. Where the iteration is given up, no more are begun."""
        futures = [self.submit(call, argument) for argument in arguments]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                future, call, argument = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(argument))
                except BaseException as error:
                    future.set_exception(error)
            del future, call, argument

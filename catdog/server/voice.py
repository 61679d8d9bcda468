"""What the process of a training tells the server, a line for each thing: its name, and its value as JSON."""

import contextlib
import json
from typing import Any

from catdog.base.worker import claim_standard_output

_NOTES = 500  # kept


class Voice:
    """Tells the server. Once that has ended, what is told is lost, and the training goes on to its stop."""

    def __init__(self) -> None:
        self._output = claim_standard_output()
        self._plan: list[str] = []
        self._notes: list[str] = []
        self._is_planning = True

    def tell(self, name: str, value: Any) -> None:
        line = f"{name} {json.dumps(value)}\n"
        with contextlib.suppress(OSError):
            self._output.write(line.encode())
            self._output.flush()

    def log(self, line: str) -> None:
        """A line of train.log: of the plan until the training begins, then a note, unless the curves show as much."""
        if self._is_planning:
            self._plan.append(line)
        elif not line.startswith("epoch "):
            self._notes = [*self._notes, line][-_NOTES:]
        self.tell("log", {"plan": self._plan, "notes": self._notes})

    def end_of_plan(self) -> None:
        self._is_planning = False

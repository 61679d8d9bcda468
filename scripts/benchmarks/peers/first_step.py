"""`catdog train` until its first step is done: the seconds to it, and then the process ends."""

import os
import sys
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.peers.lines import say
from catdog.cli.main import main


def end(*_: Any) -> None:
    say(stepped=1)
    os._exit(0)


if __name__ == "__main__":
    register_optimizer_step_post_hook(end)
    sys.exit(main(["train", *sys.argv[1:]]))

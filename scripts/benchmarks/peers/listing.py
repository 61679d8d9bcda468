"""List a folder of photos and split it, as training does."""

import sys
import time

from benchmarks.peers.lines import say
from catdog.data.splits import train_and_val


def main() -> None:
    started = time.perf_counter()
    train, val = train_and_val(sys.argv[1], val_share=0.2, seed=0)
    say(list_seconds=time.perf_counter() - started, photos=len(train) + len(val))


if __name__ == "__main__":
    main()

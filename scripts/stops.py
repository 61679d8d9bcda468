"""How long a training takes to stop and save: signals at random moments, in seconds from the signal to the exit.

python scripts/stops.py [--count 10] [flags of catdog train]
"""

import argparse
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, metavar="N")
    arguments, flags = parser.parse_known_args()
    seconds = []
    for number in range(arguments.count):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [sys.executable, "-m", "catdog", "train", "--out", str(run), "--epochs", "100000", *flags]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as training:
                while not (run / "last.pt").exists() and training.poll() is None:
                    time.sleep(0.01)
                time.sleep(random.Random(number).uniform(0.5, 8))
                sent = time.monotonic()
                training.send_signal(signal.SIGTERM if number % 2 else signal.SIGINT)
                status = training.wait()
                seconds.append(time.monotonic() - sent)
            size = (run / "last.pt").stat().st_size / 1e6
            print(f"{seconds[-1]:6.2f} s  exit status {status}  last.pt {size:.0f} MB", flush=True)
    print(f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s, n = {len(seconds)}")


if __name__ == "__main__":
    main()

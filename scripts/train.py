"""`python scripts/train.py` is `catdog train`."""

import sys

from catdog.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

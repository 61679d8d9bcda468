"""`python scripts/evaluate.py` is `catdog evaluate`."""

import sys

from catdog.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))

"""`python scripts/predict.py` is `catdog predict`."""

import sys

from catdog.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))

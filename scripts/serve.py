"""`python scripts/serve.py` is `catdog serve`."""

import sys

from catdog.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))

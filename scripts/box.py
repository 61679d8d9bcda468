"""Makes the network that comes with catdog, and its model card, of a run: stored compactly, measured as it is stored.

python scripts/box.py RUN                        catdog/trained/cats-dogs.safetensors and catdog/trained/README.md
python scripts/box.py RUN --bits 16 --out FILE   weights in float16; FILE, and its model card beside it
"""

import argparse
import sys
from pathlib import Path

from catdog.box import SOURCE, STORAGE, box
from catdog.errors import CatdogError
from catdog.runs.locate import TRAINED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="folder of the run, or its name in runs/")
    parser.add_argument("--bits", type=int, choices=STORAGE, default=8, help="of each weight (default: 8)")
    parser.add_argument("--out", type=Path, default=TRAINED, metavar="FILE", help="default: the package's own")
    parser.add_argument("--data", metavar="DIR", help="its folder of photos (default: where the run found them)")
    parser.add_argument("--source", default=SOURCE, metavar="TEXT", help=f"photographs of what (default: {SOURCE})")
    arguments = parser.parse_args()
    try:
        print(box(arguments.run, arguments.bits, arguments.out, arguments.data, arguments.source))
    except CatdogError as error:
        sys.exit(f"box: {error}")


if __name__ == "__main__":
    main()

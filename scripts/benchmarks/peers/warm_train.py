"""`catdog train` in a process that has made an optimizer before: torch imports its compiler at the first one.

That takes seconds. The tutorial's loop makes its optimizer before its clock starts, so for a comparison of photos a
second catdog does too.
"""

import sys

import torch

from catdog.cli.main import main

if __name__ == "__main__":
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)
    sys.exit(main(["train", *sys.argv[1:]]))

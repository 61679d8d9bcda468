"""Writes a torch.export program (.pt2): `torch.export.load(path).module()(photos)` needs no catdog."""

import io
import json
from pathlib import Path

import torch

from catdog.base.atomic import write_atomic
from catdog.tools.export.exported import Exported
from catdog.tools.export.network import program_of


def write_program(exported: Exported, path: Path) -> None:
    """Write the program; its extra file catdog.json says what it is (`torch.export.load`'s extra_files)."""
    stored = io.BytesIO()
    torch.export.save(program_of(exported), stored, extra_files={"catdog.json": json.dumps(exported.about())})
    write_atomic(path, lambda file: file.write(stored.getbuffer()))

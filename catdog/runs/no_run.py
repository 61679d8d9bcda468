"""Says why something cannot be resumed, and what to give instead."""

from collections.abc import Sequence
from pathlib import Path

from catdog.base.text import in_shell
from catdog.data.listing import has_photos
from catdog.runs.locate import TRAINED_NAME


def why_no_run(path: Path, kind: str, verb: str, marks: Sequence[str]) -> str:
    """The sentence for `path`, which holds none of the files `marks`. kind: "run folder"; verb: what makes one."""
    what = kind.removesuffix(" folder")
    if path.name == TRAINED_NAME:
        return f"{TRAINED_NAME} comes with catdog and cannot be resumed; give a folder that `catdog {verb}` made."
    if path.is_file():
        if any((path.parent / name).exists() for name in marks):
            return f"{path} is a file of a {what}; give its folder: catdog {verb} --resume {in_shell(path.parent)}"
        return f"{path} is a file, not a {kind}; give a folder that `catdog {verb}` made."
    if not path.is_dir():
        return f"there is no {kind} {path} to resume; give one that `catdog {verb}` made."
    mend = f"give a folder that `catdog {verb}` made"
    if has_photos(str(path)):
        mend = "folders of photos are given with --data"
    return f"{path} is no {what} (it holds no {marks[0]} and no {marks[1]}); {mend}."

import shlex
import subprocess
from pathlib import Path

import pytest

from catdog.base.text import MANY, in_shell, listed


@pytest.mark.parametrize(
    "name", ["plain", "my photos", "it's", "$HOME", "a`b`", "~", "new\nline", 'say "cat"', "a;b", "猫"]
)
def test_a_shell_takes_a_quoted_path_as_it_is(name: str) -> None:
    done = subprocess.run(["sh", "-c", f"printf %s {in_shell(name)}"], capture_output=True, text=True, check=True)
    assert done.stdout == name


def test_a_quoted_path_is_no_flag() -> None:
    (word,) = shlex.split(in_shell("-x y"))
    assert not word.startswith("-")
    assert Path(word) == Path("-x y")


def test_of_many_names_the_first_are_listed_on_one_line() -> None:
    assert listed(["cat", "d\nog"]) == "cat, d\\nog"
    names = [f"class {i}" for i in range(2500)]
    assert listed(names) == ", ".join(names[:MANY]) + f", and {2500 - MANY:,} more"

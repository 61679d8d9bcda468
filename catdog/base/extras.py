"""How to install what a verb needs and is not there: an extra of catdog's, or what a light installation leaves out."""

import re
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

LEFT_OUT = ("torch", "torchvision", "matplotlib", "shtab")
"""What catdog needs and `catdog predict` does not: all that docs/library.md leaves out of an installation for it."""


def what_is_left_out(error: ModuleNotFoundError) -> str:
    """A sentence on a package of `LEFT_OUT` that is not there. Raises `error` again where it is about another."""
    if (name := (error.name or "").partition(".")[0]) not in LEFT_OUT:
        raise error
    return f"this needs {name}, which is not installed; for all that catdog does: {how_to_install()}"


def how_to_install(extra: str = "") -> str:
    """The command that installs what is missing of `extra`, or "" for what all of catdog needs.

    It names the packages: catdog may lie in a clone or have come as a wheel, and is not in the package index.
    """
    try:
        lines = requires("catdog") or []
    except PackageNotFoundError:  # run from its folder, without having been installed
        lines = []
    wanted = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        name = re.match(r"[\w.-]+", requirement)
        is_of_it = re.search(r"extra == ['\"](.*)['\"]", marker)
        if (is_of_it[1] if is_of_it else "") == extra and name and find_spec(_module(name[0])) is None:
            wanted.append(f'"{requirement.strip()}"')  # as all shells take it
    if not wanted:  # also where another version was installed, which did not know of it
        return f'pip install -e ".[{extra}]"' if extra else "pip install -e ."
    return f"pip install {' '.join(wanted)}"


def _module(package: str) -> str:
    return {"pillow": "PIL"}.get(package, package.replace("-", "_"))

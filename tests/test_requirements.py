"""What may be installed with catdog: no release that is known to steal, or to have the hole that our use would open."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = [
    Requirement(line)
    for lines in (
        PROJECT["build-system"]["requires"],
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
    )
    for line in lines
]
REFUSED = {
    "lightning": ["2.6.2", "2.6.3"],  # GHSA-w37p-236h-pfx3: they steal credentials when imported
    "torch": ["2.5.1", "2.9.1", "2.10.0"],  # CVE-2025-32434, CVE-2026-24747, PYSEC-2026-139
    "pillow": ["11.2.1", "12.1.0", "12.1.1", "12.2.0"],  # CVE-2025-48379, -2026-25990, -40192, -55798
    "setuptools": ["78.1.0"],  # CVE-2025-47273
    "tqdm": ["4.66.2"],  # CVE-2024-34062
    "pytest": ["9.0.2"],  # CVE-2025-71176
    "scikit-learn": ["1.4.2"],  # CVE-2024-5206
    "timm": ["1.0.27"],  # GHSA-pqww-w348-m542
    "starlette": ["0.47.1", "0.49.0"],  # CVE-2025-54121, CVE-2025-62727
    "h11": ["0.14.0"],  # CVE-2025-43859
    "python-multipart": ["0.0.17", "0.0.21"],  # CVE-2024-53981, CVE-2026-24486
}


@pytest.mark.parametrize(("name", "release"), [(name, release) for name, found in REFUSED.items() for release in found])
def test_a_release_that_is_known_to_be_harmful_is_never_installed(name: str, release: str) -> None:
    mine = [requirement for requirement in REQUIREMENTS if requirement.name == name]
    assert mine and not [requirement for requirement in mine if requirement.specifier.contains(release)]


@pytest.mark.parametrize("line", PROJECT["project"]["dependencies"])
def test_what_the_tests_run_with_is_what_is_asked_for(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(version(requirement.name))

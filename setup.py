"""Where the packages lie, which pyproject.toml cannot say: a wheel holds the recipes in configs/ as catdog/configs."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["catdog*"]), "catdog.configs"],
    package_dir={"catdog.configs": "configs"},
)

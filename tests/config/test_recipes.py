"""The recipes in configs/, found by name; tests/test_wheel.py finds them where a wheel was installed."""

from pathlib import Path

import pytest

from catdog.config.recipes import find_config, recipes
from catdog.config.toml import load_config
from catdog.errors import CatdogError

ROOT = Path(__file__).parents[2]
NAMES = {"article", "best", "default", "fast"}


def test_a_recipe_is_found_by_its_name() -> None:
    assert set(recipes()) == {path.stem for path in (ROOT / "configs").glob("*.toml")} == NAMES
    for name in NAMES:
        assert load_config(name) == load_config(ROOT / "configs" / f"{name}.toml")
    Path("fast").mkdir()  # of photos, say
    assert find_config("fast")[0].name == "fast.toml"


def test_a_file_goes_before_a_recipe_of_its_name() -> None:
    Path("fast").write_text("[training]\nepochs = 77\n")
    assert load_config("fast").training.epochs == 77
    Path("fast").write_text("[trainin]\n")
    with pytest.raises(CatdogError, match=r"^\./fast \(a file here, not catdog's recipe fast\): unknown section"):
        load_config("fast")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fsat", "there is no configuration fsat; did you mean fast? Check the path, "),
        ("configs/fast.toml", "there is no configuration configs/fast.toml; did you mean fast? Check the path, "),
        ("/no/such/x.toml", "there is no configuration /no/such/x.toml; check the path, "),
        (".", "the configuration . is a folder; "),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(name: str, words: str) -> None:
    with pytest.raises(CatdogError) as refused:
        load_config(name)
    assert str(refused.value).startswith(words)
    assert "article, best, default, fast" in str(refused.value) or name == "."

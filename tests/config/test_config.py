import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from catdog import config
from catdog.config.settings import Config
from catdog.config.toml import load_config, to_toml
from catdog.errors import CatdogError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_field_is_documented_and_named_once() -> None:
    names = [name for section in asdict(Config()).values() for name in section]
    assert len(names) == len(set(names)) == len(config.fields())
    assert all(len(field.doc) > 20 for field in config.fields().values())


def test_a_saved_configuration_reads_back_the_same(tmp_path: Path) -> None:
    changed = load_config(
        None, {"hidden": (), "data": 'a "quoted"\\ näme\n\x7f', "mixup": 1e-7, "strict": True, "loss": "svm", "seed": 7}
    )
    (tmp_path / "config.toml").write_text(to_toml(changed), encoding="utf-8")
    assert load_config(tmp_path / "config.toml") == changed != Config()


def test_flags_go_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[training]\nepochs = 3\nbatch_size = 16\n")
    found = load_config(file, {"epochs": 5})
    assert (found.training.epochs, found.training.batch_size, found.run.seed) == (5, 16, Config().run.seed)


def test_batch_norm_says_nothing_of_torchvisions_networks() -> None:
    """Runs that hold false, once the default, are resumed; whether one photo is enough, the network itself says."""
    for batch_norm in (False, True):
        fields = {"model": "squeezenet1_1", "batch_norm": batch_norm, "batch_size": 1}
        assert load_config(None, fields).model.batch_norm == batch_norm


def test_the_default_recipe_is_the_default() -> None:
    assert load_config(CONFIGS / "default.toml") == Config()


@pytest.mark.parametrize("recipe", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_loads(recipe: Path) -> None:
    load_config(recipe)
    assert tomllib.loads(recipe.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[training]\nlearning_rat = 1.0", "unknown field learning_rat in [training]; did you mean learning_rate?"),
        ("[training]\nlr = 0.1", "unknown field lr in [training]; did you mean learning_rate?"),
        ("[trainin]\nepochs = 1", "unknown section [trainin]; did you mean training?"),
        ("[model]\nepochs = 1", "epochs belongs in section [training]"),
        ("[training]\nepochs = 'ten'", "epochs (--epochs) must be a whole number, not 'ten'"),
        ("[training]\nepochs = true", "epochs (--epochs) must be a whole number, not True"),
        ("[training]\nepochs = 1.5", "must be a whole number"),
        ("[training]\nlearning_rate = nan", "learning_rate (--learning-rate) must be from"),
        ("[training]\nlearning_rate = -1", "learning_rate (--learning-rate) must be from"),
        ("[training]\nlearning_rate = inf", "learning_rate (--learning-rate) must be from"),
        (
            f"[training]\nlearning_rate = {10**20}",
            "learning_rate (--learning-rate) must be from 1e-12 to 1000, not 1e+20",
        ),
        (
            f"[training]\nlearning_rate = {10**400}",
            "learning_rate (--learning-rate) must be from 1e-12 to 1000, not 100",
        ),
        (f"[run]\nseed = {10**20}", "seed (--seed) must be from 0 to 4.29497e+09, not 100000000000000000000."),
        (f"[run]\nseed = {-(10**400)}", "seed (--seed) must be from 0 to 4.29497e+09, not -100"),
        (f"[photos]\nimage_size = [32, {10**20}]", "image_size (--image-size) must be from 1 to 10000, not 100000"),
        (f"[model]\nhidden = [{10**400}]", "hidden (--hidden) must be from 1 to 1e+06, not 100"),
        ("[photos]\nimage_size = [32]", "image_size (--image-size) must be 2 whole numbers"),
        ("[photos]\nimage_size = [0, 32]", "image_size (--image-size) must be from 1"),
        ("[model]\nhidden = [64, 0]", "hidden (--hidden) must be from 1"),
        (f"[model]\nhidden = {[1] * 1001}", "hidden (--hidden) must be 1,000 numbers at most, not 1,001"),
        ("[model]\nhidden = [64.5]", "hidden (--hidden) must be a list of whole numbers"),
        ("[model]\nactivation = 'rel'", "must be one of relu, gelu, tanh, sigmoid, not 'rel'; did you mean relu?"),
        ("[photos]\nstrict = 1", "strict (--strict) must be true or false"),
        (
            "[model]\nbatch_norm = false\n[training]\nbatch_size = 4\naccumulate = 5",
            "accumulate (5) must not exceed batch_size (4)",
        ),
        ("[model]\nbatch_norm = true\n[training]\nbatch_size = 1", "batch_size (1) is too small: the batch norm"),
        (
            "[model]\nbatch_norm = true\n[training]\nbatch_size = 3\naccumulate = 2",
            "give --batch-size 4 or more, or a smaller --accumulate, or --no-batch-norm.",
        ),
        ("training = 3", "training must be a section"),
        ("[training", "is not valid TOML"),
        ("[training]\nepochs = many\n", "Invalid value (at line 2, column 10): epochs = many."),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_the_field(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(CatdogError) as refused:
        load_config(file)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatdogError, match=r"there is no configuration .*no\.toml"):
        load_config(tmp_path / "no.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatdogError, match="not text"):
        load_config(tmp_path / "b.toml")

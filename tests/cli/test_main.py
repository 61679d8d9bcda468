import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import catdog
from catdog.cli.main import main
from catdog.config.schema import fields

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_threads_wait_without_spinning_for_long_unless_the_user_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    main(["completion", "bash"])
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    main(["completion", "bash"])
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    main(["completion", "bash"])
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--version"], f"catdog {catdog.__version__}"),
        (["--help"], "catdog train --data photos"),
        (["train", "--help"], "catdog train --resume runs/mine"),
        (["predict", "--help"], "catdog predict photo.jpg"),
        (["evaluate", "--help"], "--json"),
        (["data", "sample", "--help"], "catdog data sample drawings"),
        (["data", "check", "--help"], "catdog data check photos"),
        (["data", "stats", "--help"], "catdog data stats photos"),
        (["data", "fetch", "--help"], "catdog data fetch pets photos/pets"),
    ):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0
        assert said in capsys.readouterr().out


def test_every_field_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    printed = capsys.readouterr().out
    assert all(field.flag in printed for field in fields().values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--epoch", "3"], "catdog train has no flag --epoch; did you mean --epochs?"),
        (["train", "--epochs", "0"], "epochs (--epochs) must be from 1"),
        (["train", "--image-size", "0", "32"], "image_size (--image-size) must be from 1"),
        (["train", "--batch-size", "-3"], "batch_size (--batch-size) must be from 0"),
        (["train", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["train", "--loss", "hinge"], "argument --loss: invalid choice: 'hinge'"),
        (["train", "--device", "tpu", "--data", "photos"], "there is no device tpu"),
        (["train", "--data", "nowhere"], "there is no folder"),
        (["train", "--config", "nowhere.toml"], "there is no configuration nowhere.toml"),
        (["train", "--resume", "--seed", "3"], "leave --seed out"),
        (["train", "--resume"], "there is no run in runs/ to resume"),
        (
            ["train", "--resume", "photos"],
            "photos is no run (it holds no config.toml and no last.pt); folders of",
        ),
        (["train", "--resume", "photos/cat"], "photos/cat is no run (it holds no config.toml and no last.pt); give a"),
        (["train", "--resume", "cats-dogs"], "cats-dogs comes with catdog and cannot be resumed; give a folder"),
        (
            ["train", "--resume", "nowhere"],
            "there is no run folder nowhere to resume; give one that",
        ),
        (["train", "--resume", "runs/nowhere"], "there is no run folder runs/nowhere to resume; give one that"),
        (["tune", "--resume", "photos"], "photos is no study (it holds no config.toml and no study.db); folders of"),
        (["predict"], "IMAGE|DIR|-"),
        (["evaluate", "--run", "nowhere"], "there is no run nowhere"),
        (["guess"], "invalid choice: 'guess'"),
        (["tarin"], "invalid choice: 'tarin'; did you mean train? Choose from train, predict"),
        (["data", "chek"], "invalid choice: 'chek'; did you mean check? Choose from sample, check"),
        (["test"], "did you mean evaluate? "),
        (["train", "--lr", "0.1"], "catdog train has no flag --lr; did you mean --learning-rate? See"),
        (["train", "--lr=0.1"], "did you mean --learning-rate? See"),
        (["explain", "--learning-rate", "0.1"], "did you mean --lr? See"),
        (["train", "--batch", "8"], "did you mean --batch-size? See"),
        (["train", "--bs", "8"], "did you mean --batch-size? See"),
        (["train", "--num_workers", "2"], "did you mean --threads? See"),
        (["train", "--gpu", "0"], "did you mean --device? See"),
        (["train", "--output", "x"], "did you mean --out? See"),
        (["train", "--name", "x"], "did you mean --out? See"),
        (["train", "photos"], "catdog train has no argument photos; did you mean --data? See"),
        (["train", "--optimizer", "adm"], "invalid choice: 'adm'; did you mean adamw? Choose"),
        (["version"], "did you mean --version? Choose"),
        (["help"], "did you mean --help? Choose"),
        (["data-check", "x"], "did you mean data check? Choose"),
        (["stats"], "did you mean data stats? Choose"),
        (["predict", "x", "--thresh", "0.9"], "did you mean --unsure-below? See catdog predict --help."),
        (["train", "--xyzzy"], "catdog train has no flag --xyzzy; see catdog train --help."),
        (
            ["data", "sample", "x", "--coun", "3"],
            "catdog data sample has no flag --coun; did you mean --count?",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], make_photos: Callable[..., Path]
) -> None:
    photos = make_photos({"cat": 5, "dog": 5}).rename("photos")
    Path("photos/cat/.mine.tmp").touch()
    before = sorted(photos.rglob("*"))
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("catdog: ")
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["photos"] and sorted(photos.rglob("*")) == before


def test_a_script_is_the_same_program() -> None:
    for verb in ("train", "predict", "evaluate"):
        done = subprocess.run([sys.executable, SCRIPTS / f"{verb}.py", "--flag"], capture_output=True, text=True)
        assert done.returncode == 2
        assert f"catdog {verb}" in done.stderr


def test_completion_knows_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert "--learning-rate" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; import catdog.cli.main as c; c.build_parser(); print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

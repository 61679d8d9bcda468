"""`catdog push`: sends a run to the Hugging Face Hub. What names photos, or shows them, stays here.

Of a run's files these do: answers.csv, skipped.csv, train.log, evaluation/, explain/; and the checkpoints, whose
configuration says where the photos lie. config.toml is sent without such places.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catdog.base.extras import how_to_install
from catdog.base.text import in_shell
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.config.toml import load_config, to_toml
from catdog.errors import CatdogError
from catdog.runs.histograms import WEIGHTS_FILE
from catdog.runs.locate import TRAINED_NAME, comes_with_catdog, find_model
from catdog.runs.readme import README, without_places, write_readme

CONFIG = "config.toml"
SENT = (README, MODEL_FILE, CONFIG, "metrics.csv", WEIGHTS_FILE, "curves.png")


def main(run: str, repository: str, private: bool) -> int:
    """Send the run to the model repository `repository`, "user/name", which is made where it is not there."""
    files = contents(_folder(run))
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.utils import disable_progress_bars
    except ModuleNotFoundError:
        raise CatdogError(
            f"catdog push needs huggingface_hub, the extra [hub] of catdog: {how_to_install('hub')}"
        ) from None
    if not sys.stderr.isatty():
        disable_progress_bars()
    api = HfApi()
    place = f"{api.endpoint}/{repository}"
    readers = "which you alone can see" if private else "which everybody can see, unless it is there and private"
    print(f"sends to {place}, {readers}:", *_lines(files), sep="\n", flush=True)
    additions = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=what) for name, what in files.items()]
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.repo_info(repository).private:
            raise CatdogError(
                f"{place} is there already, and everybody can see it; give another name, or make it private."
            )
        api.create_commit(repository, additions, commit_message=f"catdog push {Path(run).name}")
    except CatdogError:
        raise
    except Exception as error:  # of its HTTP client, which is another in other versions, or wrapped in others
        raise _in_words(error, place) from None
    print(f"sent; to try it elsewhere: hf download {repository} --local-dir {in_shell(repository.split('/')[1])}")
    return 0


def _folder(run: str) -> Path:
    model = find_model(run)
    if comes_with_catdog(model):
        raise CatdogError(f"{TRAINED_NAME} comes with catdog, so there is nothing to send; give a run of yours.")
    if model.name != MODEL_FILE:
        raise CatdogError(f"{model} is no run, which is a folder with a {MODEL_FILE}; give the folder of one.")
    return model.parent


def contents(folder: Path) -> dict[str, Path | bytes]:
    """What is sent of a run folder: name -> the file, or what is sent in its place. The card is written if need be."""
    config = load_config(folder / CONFIG)
    if not (folder / README).exists():  # a run of before there were cards
        write_readme(folder, config)
    found: dict[str, Path | bytes] = {name: folder / name for name in SENT if (folder / name).is_file()}
    return {**found, CONFIG: to_toml(without_places(config)).encode()}


def _lines(files: dict[str, Path | bytes]) -> Iterator[str]:
    for name, what in files.items():
        size = len(what) if isinstance(what, bytes) else what.stat().st_size
        yield f"  {size / 1e3:11,.1f} kB  {name}"


def _in_words(error: BaseException, place: str) -> CatdogError:
    """What went wrong at the Hub, in a sentence."""
    found: BaseException | None = error
    while found is not None and not hasattr(found, "response"):
        found = found.__cause__
    status: Any = getattr(getattr(found, "response", None), "status_code", 0)
    if status == 401:
        why = "the Hub does not know you: give a token that may write, in HF_TOKEN or by hf auth login"
    elif status in (403, 404):
        why = "it belongs to somebody else, or your token may not write to it: give another name, or another token"
    elif status >= 500:
        why = f"the Hub has a problem of its own (HTTP {status}): try again later"
    else:
        said = " ".join(str(found or error).split())[:200].rstrip(".")
        why = f"{said or type(error).__name__}: check the network, and HF_ENDPOINT if you have set it"
    return CatdogError(f"cannot send to {place}: {why}.")

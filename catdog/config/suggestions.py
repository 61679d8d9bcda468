"""The name that somebody meant who wrote one that is not known, and the line that is no TOML."""

import difflib
import re
from collections.abc import Iterable

# What other programs call them, where that looks unlike the name here, or as much like another.
_ALSO_CALLED = {
    "accumulate": "accum accum-iter grad-accum gradient-accumulation gradient-accumulation-steps",
    "batch-size": "bs b batch batchsize minibatch",
    "clip-norm": "clip grad-clip gradient-clip max-grad-norm",
    "data": "dataset dir folder images input path photos root",
    "device": "gpu gpus cuda cpu mps",
    "early-stopping": "patience early-stop",
    "epochs": "e n-epochs num-epochs iterations",
    "hidden": "layers units neurons width hidden-size",
    "image-size": "size img-size imgsz img resolution input-size",
    "learning-rate": "lr l-r rate eta step-size",
    "lr": "learning-rate rate eta",  # of `catdog explain`
    "loss": "criterion loss-fn objective",
    "model": "arch architecture backbone net network",
    "on-nan": "nan",
    "optimizer": "opt optim solver",
    "out": "output o name run-name save save-dir output-dir project",
    "precision": "amp fp16 half bf16 dtype",
    "resume": "continue checkpoint ckpt restart",
    "run": "weights checkpoint ckpt model",
    "schedule": "scheduler lr-scheduler lr-schedule",
    "seed": "random-state random-seed",
    "threads": "workers num-workers jobs j cpus cores nproc",
    "val-share": "split val-split validation-split test-size val",
    "warmup-epochs": "warmup warm-up",
    "weight-decay": "wd decay l2",
    "unsure-below": "thresh threshold min-confidence confidence conf cutoff",
    "train": "fit learn",
    "predict": "classify infer inference",
    "evaluate": "eval test validate score",
    "explain": "why show visualize",
    "push": "upload publish share",
}


def did_you_mean(name: str, known: Iterable[str], then: str = "") -> str:
    """Return the rest of a sentence: "; did you mean X?" for the X of `known` that `name` stands for or is most similar
    to, if any, and `then`, which goes on from there: "; did you mean X? Check the path.", "; check the path.", or ".".
    """
    by_word = {_word(one): one for one in known}
    word = _word(name)
    meant = [one for one, others in _ALSO_CALLED.items() if one in by_word and word in others.split()]
    close = meant or difflib.get_close_matches(word, by_word, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {by_word[close[0]]}?" + (f" {then[0].upper()}{then[1:]}" if then else "")
    return f"; {then}" if then else "."


def _word(name: str) -> str:
    """The name without what a flag or a key has around it: "learning-rate" for --learning_rate=0.1."""
    return re.sub("[_ ]", "-", name.lstrip("-").partition("=")[0]).lower()


def line_of(text: str, error: str) -> str:
    """The line of a TOML `text` that an `error` of tomllib is at, to be put behind it; "" where that is at none."""
    number = re.search(r"at line (\d+)", error)
    line = text.splitlines()[int(number[1]) - 1].strip() if number else ""
    return f": {line[:80]}" if line else ""

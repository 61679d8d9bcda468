"""Whoever uses catdog from a program of theirs has its types: mypy, as strict as can be, on such a program."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
from pathlib import Path

from catdog.config import load_config
from catdog.data import list_photos
from catdog.errors import ImageError
from catdog.images import decode
from catdog.predict import Classifier, Prediction
from catdog.tools.evaluation import Evaluation, evaluate
from catdog.tools.explain import explain

classifier = Classifier.load(Path("runs/mine"))
answer: Prediction = classifier.predict(Path("photo.jpg"))
share: float = answer.probabilities[answer.label]
familiarity: float | None = answer.familiarity
for name, found in classifier.predict_all([("a", "a.jpg"), ("b", b"...")]):
    print(name, str(found) if isinstance(found, ImageError) else found.label.upper())
result: Evaluation = evaluate(classifier, list_photos("photos"))[0]
low, high = result.accuracy_interval
print(explain(classifier, Path("photo.jpg")).answer.upper(), result.n + 1, low + high)
height, width, channels = decode(b"...", (24, 24)).shape
reveal_type(decode(b"..."))
print(load_config(None, {"epochs": 3}).training.epochs + height)
"""
WRONG = {
    "classifier.predict(3)": "arg-type",
    "answer.lable": "attr-defined",
    "len(answer.probability)": "arg-type",
    "load_config(1)": "arg-type",
    "result.accuracy.upper()": "attr-defined",
    "evaluate(classifier, 'photos')": "arg-type",
}


@pytest.mark.slow
def test_a_program_that_uses_it_is_checked_as_strictly_as_can_be(tmp_path: Path) -> None:
    """Nothing is untyped to it, and what it gets wrong is found, line by line."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + "\n".join(WRONG) + "\n")
    # What is wrong within catdog is left to its own mypy, which is not as strict, also where it is installed editably.
    flags = ["--strict", "--config-file=", "--follow-imports=silent", "--no-error-summary", f"--cache-dir={tmp_path}"]
    command = [sys.executable, "-m", "mypy", *flags, str(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert 'Revealed type is "numpy.ndarray[tuple[Any, ...], numpy.dtype[numpy.unsignedinteger' in done.stdout
    errors = [line.partition(": error: ")[2] for line in done.stdout.splitlines() if ": error: " in line]
    assert [error.rpartition("[")[2].rstrip("]") for error in errors] == list(WRONG.values()), done.stdout + done.stderr

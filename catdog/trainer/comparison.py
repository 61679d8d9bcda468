"""How often the network that comes with catdog is right on the photos that a training is validated on."""

from catdog.data.listing import Listing
from catdog.data.names import class_key
from catdog.predict import Classifier, Prediction
from catdog.runs.introduction import CATS_DOGS
from catdog.runs.locate import TRAINED
from catdog.runs.start import are_known


def as_it_comes(photos: Listing) -> dict[str, float]:
    """{CATS_DOGS: its accuracy on `photos`}; empty where it does not know their classes, or none can be read."""
    if not are_known(photos.classes):
        return {}
    samples = ((photos.classes[label], path) for path, label in photos.samples)
    answers = list(Classifier.load(TRAINED).predict_all(samples))
    right = [class_key(answer.label) == class_key(name) for name, answer in answers if isinstance(answer, Prediction)]
    return {CATS_DOGS: sum(right) / len(right)} if right else {}

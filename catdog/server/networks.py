"""The networks that can be asked, by id. An id is one that was listed: no path comes from a request."""

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog.checkpoint.header import load_card
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.errors import CatdogError
from catdog.runs.locate import TRAINED
from catdog.runs.trained_on import trained_on
from catdog.server.requests import RequestError

if TYPE_CHECKING:
    from catdog.predict import Classifier
    from catdog.tools.explain.backprop import Network

_KEPT = 4  # networks in memory


class Networks:
    """The network that comes with catdog, those of the runs below a folder, and the one that serve was started with.

    `first` is the id of the latter, which is asked where a request names none. Threads may use it at the same time.
    """

    def __init__(self, runs: Path = Path("runs"), asked: Path = TRAINED) -> None:
        self.runs = runs.absolute()
        self._asked = asked.absolute()
        self._lock, self._naming = threading.Lock(), threading.Lock()
        self._loaded: OrderedDict[tuple[Path, int], _Loaded] = OrderedDict()
        self._ids: dict[Path, str] = {}
        self._listed = self.paths()
        self.first = self.id_of(self._asked)

    def paths(self) -> dict[str, Path]:
        """The model file of each id: those of the runs, the newest first, then the one that comes with catdog."""
        models = [*sorted(self.runs.glob(f"*/{MODEL_FILE}"), key=_age), TRAINED, self._asked]
        return {self.id_of(path): path for path in dict.fromkeys(models)}

    def id_of(self, model: Path) -> str:
        """The id of a model file, which need not be there yet: its run's name, numbered where another has that.

        It is given once: a run that is made later takes no id from another.
        """
        with self._naming:
            if model not in self._ids:
                name = model.parent.name if model.name == MODEL_FILE else model.stem
                numbered = (f"{name}-{number}" for number in itertools.count(2))
                taken = set(self._ids.values())
                self._ids[model] = next(i for i in itertools.chain([name], numbered) if i not in taken)
            return self._ids[model]

    def get(self, name: str | None = None) -> "Classifier":
        """The network of an id, None: `first`. Raises RequestError for an id that is not listed."""
        return self._load(name).classifier

    def backprop(self, name: str | None = None) -> "Network":
        """The same network with its backward pass, in float64. Raises CatdogError for one that is no MLP."""
        return self._load(name).network

    def path(self, name: str | None = None) -> Path:
        """The model file of an id, None: `first`. Raises RequestError for an id that is not listed."""
        name = self.first if name is None else name
        found = self._listed.get(name)
        if found is None or not found.exists():
            self._listed = self.paths()
            found = self._listed.get(name)
        if found is None:
            raise RequestError(404, f"there is no network {name!a:.80}; GET /api/networks lists those that there are.")
        return found

    def _load(self, name: str | None) -> "_Loaded":
        path = self.path(name)
        key = (path, _age(path))
        with self._lock:  # loaded once, however many ask
            if key not in self._loaded:
                from catdog.predict import Classifier

                self._loaded[key] = _Loaded(Classifier.load(path))
            self._loaded.move_to_end(key)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def describe(self) -> list[dict[str, Any]]:
        """What the header of each network's file says: classes, size of its pictures, how often it is right."""
        found: list[dict[str, Any]] = []
        for name, path in self.paths().items():
            try:
                found.append({"id": name, **_description(path, _age(path))})
            except CatdogError as error:  # a damaged file
                found.append({"id": name, "error": str(error)})
        return found


@dataclass
class _Loaded:
    classifier: "Classifier"

    @cached_property
    def network(self) -> "Network":
        from catdog.tools.explain.backprop import Network

        return Network.of(self.classifier)


@lru_cache(1000)
def _description(path: Path, age: int) -> dict[str, Any]:
    card = load_card(path)
    return {
        "classes": card.classes,
        "image_size": card.architecture.image_size,
        "model": card.architecture.model,
        "trained_on": "photographs" if path == TRAINED else trained_on(path),
        "accuracy": card.validation.get("accuracy"),
        "validation_photos": card.validation.get("photos"),
    }


def _age(path: Path) -> int:
    """The less, the later a file was written; 0 where it is gone."""
    try:
        return -path.stat().st_mtime_ns
    except OSError:
        return 0

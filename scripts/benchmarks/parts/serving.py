"""`catdog serve` under load, beside the forward pass alone and a server of the usual kind."""

from pathlib import Path

from benchmarks.contender import Contender, Figures, Part, said
from benchmarks.parts.using import run_folder, weights
from benchmarks.photos import Place
from benchmarks.processes import run_peer
from benchmarks.results import Limit

CLIENTS = (1, 8, 64)


def _photo(place: Place) -> Path:
    return min(path for path in (place.photos() / "train").rglob("*") if path.is_file())


def _load(place: Place, clients: int, *server: object) -> Figures:
    return said(run_peer("serving_load", "--clients", clients, _photo(place), *server, folder=place.work))


def _catdog(run: str, clients: int) -> Contender:
    def measure(place: Place, round: int) -> Figures:
        return _load(place, clients, "catdog", "serve", "--run", run or run_folder(place))

    return Contender(f"catdog serve, {run or 'dense'}, {clients} at once", measure)


def _fastapi(clients: int) -> Contender:
    def measure(place: Place, round: int) -> Figures:
        return _load(place, clients, "benchmarks.peers.fastapi_server", "--weights", weights(place))

    return Contender(f"FastAPI and torch, dense, {clients} at once", measure, needs="fastapi")


def _forward(run: str) -> Contender:
    def measure(place: Place, round: int) -> Figures:
        return said(run_peer("forward_rate", _photo(place), "--run", run or run_folder(place), folder=place.work))

    return Contender(f"the forward pass alone, {run or 'dense'}", measure)


def serving() -> Part:
    box, dense = "cats-dogs", ""
    contenders = [_forward(box), *(_catdog(box, n) for n in CLIENTS)]
    contenders += [_forward(dense), *(_catdog(dense, n) for n in CLIENTS), *map(_fastapi, CLIENTS)]
    rate = "predictions_per_second"
    limits = [
        Limit(
            f"cats-dogs, {n} at once: predictions/s over those of the forward pass alone",
            *(_catdog(box, n).name, rate, "ratio", _forward(box).name),
            least=0.7,
        )
        for n in CLIENTS[1:]
    ]
    limits.append(Limit("cats-dogs, 1 at once: p99 seconds", _catdog(box, 1).name, "p99_seconds", most=0.3))
    limits += [
        Limit(
            f"dense, {n} at once: predictions/s over those of FastAPI and torch",
            *(_catdog(dense, n).name, rate, "ratio", _fastapi(n).name),
            least=1,
        )
        for n in CLIENTS
    ]
    return Part(
        "serving",
        "Predictions a second, and the 99th percentile of the seconds that one takes, by so many clients that send a "
        "photo of the training set, wait for the answer and send the next, on the machine of the server. The forward "
        "pass alone has its photo decoded and takes a thread a core. cats-dogs: the network that comes with catdog; "
        "dense: 32 x 32, three layers of 1024, as in the part predict.",
        contenders,
        limits,
        rounds=3,
    )

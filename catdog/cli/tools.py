"""`catdog evaluate`, `explain`, `demo`, `doctor`, `export` and `push`."""

import argparse
import re
from typing import Any

from catdog.cli.flags import add_config, add_doubts, add_fields, add_run, add_verb, given_fields
from catdog.config.toml import load_config
from catdog.errors import CatdogError


def add_evaluate(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "evaluate",
        _evaluate,
        "measure how often a network is right, and write a report",
        "examples:\n  catdog evaluate                          figures; the report goes to evaluation/ in the run\n"
        "  catdog evaluate --data other-photos --out report.html\n"
        "  catdog evaluate --run runs/mine --json   figures alone, for programs",
    )
    add_run(parser)
    parser.add_argument(
        "--data", metavar="DIR", help="folder of photos (default: what the run was validated on; cats-dogs needs one)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR|FILE.html",
        help="where the report goes (default: evaluation/ in the run's folder; runs/cats-dogs/ for cats-dogs)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; no report without --out")


def _evaluate(arguments: argparse.Namespace) -> int:
    from catdog.tools.evaluation.command import main as evaluate

    return evaluate(arguments.run, arguments.data, arguments.json, arguments.out)


def add_explain(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "explain",
        _explain,
        "show what the network does with a photo, in numbers and pictures",
        "examples:\n  catdog explain photo.jpg                 the answer, and how it comes about, in a dozen lines\n"
        "  catdog explain --full photo.jpg          every number: forward, loss, backward, one step, forward again\n"
        "  catdog explain --label cat photo.jpg     when the photo's folder does not tell what it is\n"
        "  catdog explain cat.jpg dog.jpg           each, and what the hidden layers make of them side by side\n"
        "  catdog explain --run runs/mine           what the network has learned, without a photo\n"
        "  catdog explain --textbook                the two worked examples of the textbooks",
    )
    parser.add_argument("inputs", metavar="IMAGE|DIR|-", nargs="*", help="photos; none: what the network has learned")
    add_run(parser)
    parser.add_argument(
        "--label", metavar="CLASS", help="what is on the photo (default: its folder's name, else the answer itself)"
    )
    parser.add_argument(
        "--lr", metavar="X", type=float, help="learning rate of the step (default: one that lowers the loss by a tenth)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where pictures and page go (default: explain/ in the run's folder; runs/cats-dogs/ for cats-dogs)",
    )
    parser.add_argument("--full", action="store_true", help="every number, each gradient checked, and all pictures")
    parser.add_argument("--textbook", action="store_true", help="the textbooks' examples; takes --out alone")


def _explain(arguments: argparse.Namespace) -> int:
    from catdog.tools.explain.command import main as explain
    from catdog.tools.explain.command import textbook

    if arguments.textbook:
        for flag in ("inputs", "run", "label", "lr", "full"):
            if getattr(arguments, flag):
                what = "a photo" if flag == "inputs" else f"--{flag}"
                raise CatdogError(f"--textbook shows its own numbers; leave {what} out.")
        return textbook(arguments.out)
    return explain(arguments.inputs, arguments.run, arguments.label, arguments.out, arguments.lr, arguments.full)


def add_demo(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "demo",
        _demo,
        "train small networks that differ in one thing, and compare them: a table, a picture, a few sentences",
        "examples:\n  catdog demo permute                     all photos' pixels shuffled alike: does it matter?\n"
        "  catdog demo depth                       no hidden layer, one, three\n"
        "  catdog demo activation --seeds 5        relu, tanh, sigmoid, five times each\n"
        "  catdog demo loss --data photos --out .  softmax or SVM, on your own photos",
    )
    parser.add_argument("name", choices=("permute", "depth", "activation", "loss"), help="what the networks differ in")
    parser.add_argument("--data", metavar="DIR", help="folder of photos, some of which it takes (default: drawn ones)")
    parser.add_argument("--seeds", metavar="N", type=int, default=3, help="trainings of each network (default: 3)")
    parser.add_argument("--out", metavar="DIR", help="where demo-NAME.png goes (default: the current folder)")


def _demo(arguments: argparse.Namespace) -> int:
    from catdog.base.progress import working

    with working("loading torch"):
        from catdog.tools.demo.command import main as demo

    return demo(arguments.name, arguments.data, arguments.seeds, arguments.out)


def add_doctor(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "doctor",
        _doctor,
        "is it working? small experiments on the photos, the settings and the run, in less than a minute",
        "examples:\n  catdog doctor                            the newest run, else what `catdog train` would do\n"
        "  catdog doctor --data photos --learning-rate 0.1 --out rates.png\n"
        "  catdog doctor --run runs/mine\n\n"
        "exit status: 0 when nothing is ill, 1 when something is, 2 when it cannot be examined",
    )
    add_config(parser)
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="a run, whose configuration is taken (default: the newest in runs/, where neither --data nor --config is "
        "given)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE.png",
        dest="picture",
        help="draw the loss over the learning rate (default: learning_rates.png in the run's folder, if there is one)",
    )
    add_fields(parser, without=("out", "checkpoint_minutes", "early_stopping", "on_nan", "precision", "compile"))


def _doctor(arguments: argparse.Namespace) -> int:
    from catdog.base.progress import working

    given = given_fields(arguments)
    if arguments.run is None:
        load_config(arguments.config, given)  # a mistake is told before torch, which takes seconds

    with working("loading torch"):
        from catdog.tools.doctor.command import main as doctor

    return doctor(arguments.run, arguments.config, given, arguments.picture)


def add_export(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "export",
        _export,
        "write a network so that it answers without catdog: ONNX, a torch.export program, or a web page",
        "examples:\n  catdog export --format html --out cats-dogs.html   one file for a browser, or for a friend\n"
        "  catdog export --run runs/mine --format onnx        the whole of predict, for ONNX Runtime\n"
        "  catdog export --run runs/mine --format torch       the same for torch.export.load",
    )
    add_run(parser)
    parser.add_argument("--format", choices=("onnx", "torch", "html"), required=True, help="what is written")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where it goes (default: beside the model, named after its run; runs/cats-dogs/ for cats-dogs)",
    )
    add_doubts(parser, 'have html answer "not sure" where the likeliest class is less probable than P, from 0 to 1')


def _export(arguments: argparse.Namespace) -> int:
    from catdog.tools.export.command import main as export

    a = arguments
    return export(a.run, a.format, a.out, a.unsure_below, a.unfamiliar_below)


def add_push(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "push",
        _push,
        "send a run to the Hugging Face Hub: the network, its card, its settings and figures; no photos",
        "examples:\n  catdog push runs/mine me/cats-and-dogs --private\n"
        "  HF_TOKEN=hf_... catdog push runs/mine me/cats-and-dogs\n\n"
        "it says what goes where, and sends it; photos, and files that name them, stay here\n"
        "HF_TOKEN or `hf auth login` say who you are, HF_ENDPOINT names another Hub than huggingface.co",
    )
    parser.add_argument("run", metavar="RUN", help="folder of the run, or its name in runs/")
    parser.add_argument("repository", metavar="USER/NAME", type=_repository, help="where it goes; made if need be")
    parser.add_argument("--private", action="store_true", help="make a repository that nobody else can see")


def _push(arguments: argparse.Namespace) -> int:
    from catdog.tools.push import main as push

    return push(arguments.run, arguments.repository, arguments.private)


def _repository(text: str) -> str:
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text, re.ASCII):
        return text
    raise argparse.ArgumentTypeError(f"must be a user's name and the network's, such as me/cats, not {text!r}")

"""The command line: `catdog VERB`. What a verb does is in the package; here is how it is asked for."""

import argparse
import atexit
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import catdog
from catdog.base.cpus import usable_cpus
from catdog.base.output import prepare_streams
from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.cli.data import add_cache, add_data
from catdog.cli.flags import Parser, add_verb
from catdog.cli.predict import add_predict
from catdog.cli.serve import add_serve
from catdog.cli.tools import add_demo, add_doctor, add_evaluate, add_explain, add_export, add_push
from catdog.cli.train import add_train
from catdog.cli.tune import add_tune
from catdog.config.suggestions import did_you_mean
from catdog.errors import CatdogError


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="catdog",
        description=catdog.__doc__,
        epilog="examples:\n  catdog train --data photos\n  catdog predict photo.jpg\n  catdog evaluate",
    )
    parser.add_argument("--version", action="version", version=f"catdog {catdog.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    add_train(verbs)
    add_predict(verbs)
    add_evaluate(verbs)
    add_explain(verbs)
    add_serve(verbs)
    add_demo(verbs)
    add_doctor(verbs)
    add_tune(verbs)
    add_export(verbs)
    add_push(verbs)
    add_data(verbs)
    add_cache(verbs)
    _add_completion(verbs)
    return parser


def _add_completion(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "completion",
        _completion,
        "print the completion script of a shell",
        'example:\n  eval "$(catdog completion bash)"',
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def _completion(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(build_parser(), shell=arguments.shell))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. A CatdogError is one sentence on stderr and status 2."""
    prepare_streams()
    if "OMP_WAIT_POLICY" not in os.environ:  # or torch's threads spin long for one whose core another program has
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        try:
            return _run(argv)
        except Interrupted as stop:
            print(stop.advice, end="\n" if stop.advice else "")
            return 128 + stop.signal
        finally:
            sys.stdout.flush()  # a full disk is noticed here at the latest
    except CatdogError as error:
        print(f"catdog: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        from catdog.base.extras import what_is_left_out

        print(f"catdog: {what_is_left_out(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        return 1


def _run(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        raise CatdogError(_unknown_flag(parser, arguments, unknown[0]))
    # NumPy, not yet imported, would take every CPU of the machine; these compute in several threads of their own.
    threads = 1 if arguments.verb in ("predict", "serve") else usable_cpus()[0]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    with Signals(stop_at_once):
        status: int = arguments.handler(arguments)
    return status


def _unknown_flag(parser: argparse.ArgumentParser, arguments: argparse.Namespace, flag: str) -> str:
    words = ["catdog", arguments.verb, *([arguments.action] if "action" in arguments else [])]
    for word in words[1:]:
        (choices,) = (a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = choices[word]
    known = [option for action in parser._actions for option in action.option_strings]
    what = "flag" if flag.startswith("-") else "argument"
    see = f"see {' '.join(words)} --help."
    return f"{' '.join(words)} has no {what} {flag}{did_you_mean(flag, known, see)}"


def entry() -> NoReturn:
    """What the `catdog` command calls: `main`, and the end of the process, for which torch's parts are not freed."""
    status = main()
    sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(status)

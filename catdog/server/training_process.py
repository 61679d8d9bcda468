"""The process of a training that the page watches: the same `catdog train`, which tells the server what the page shows.

On standard output: a line for each thing told, its name and its value as JSON. On standard input: the task, as JSON,
then commands, a line each: pause, continue, stop. The end of the input, when the server has ended, means stop too.
"""

import atexit
import io
import json
import os
import signal
import sys
import threading
import traceback
from _thread import interrupt_main
from pathlib import Path
from typing import Any

from catdog.base.cpus import usable_cpus
from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.server.voice import Voice


def _obey(going: threading.Event) -> None:
    """Follow the server's commands: `going` is not set while the training is to pause."""
    for line in sys.stdin.buffer:
        if line == b"pause\n":
            going.clear()
        elif line == b"continue\n":
            going.set()
        else:
            break
    going.set()
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # wakes it, whatever it waits for
    else:
        interrupt_main(signal.SIGTERM)


class _NoTerminal(io.TextIOWrapper):
    """Standard error without progress bars, for which the terminal is that of the server."""

    def isatty(self) -> bool:
        return False


def main() -> None:
    """Be that process."""
    sys.stderr = _NoTerminal(io.FileIO(os.dup(2), "w"), write_through=True)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(usable_cpus()[0]))  # as for `catdog train`
    voice, going, task = Voice(), threading.Event(), json.loads(sys.stdin.buffer.readline())
    going.set()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # before the training, after it, and a second time
    end: dict[str, Any] = {"phase": "done"}
    try:
        with Signals(stop_at_once):
            threading.Thread(target=_obey, args=(going,), daemon=True).start()
            _train(task, voice, going)
    except Interrupted as stop:
        end = {"phase": "stopped", "saved": stop.saved or "resume" in task, "sentence": stop.advice}
    except CatdogError as error:
        end = {"phase": "failed", "sentence": str(error)}
    except Exception as error:  # no memory, for example
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        end = {"phase": "failed", "sentence": f"catdog could not go on ({why}); where catdog serve runs, it says more."}
    voice.tell("phase", end)
    atexit._run_exitfuncs()
    os._exit(0)  # torch's parts are not freed


def _train(task: dict[str, Any], voice: Voice, going: threading.Event) -> None:
    os.chdir(task["folder"])
    if run := task.get("resume"):
        voice.tell("run", Path(run).name)
        voice.tell("phase", {"phase": "preparing"})
        from catdog.server.watch import Watch
        from catdog.train import resume

        resume(Path(run), voice.log, [Watch(voice, going)])
        return
    from catdog.data.warm_up import WarmUp
    from catdog.runs.paths import new_run

    with new_run(load_config(None, task["settings"]), voice.log) as (config, folder):
        voice.tell("run", folder.path.name)
        voice.tell("phase", {"phase": "preparing"})
        with WarmUp(config).bar:  # while torch is imported
            from catdog.server.watch import Watch
            from catdog.train import train
        train(config, voice.log, [Watch(voice, going)], folder)

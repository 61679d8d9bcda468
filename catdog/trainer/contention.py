"""Takes more threads while other programs use the CPUs, where that changes no number.

A matrix product is cut into as many equal parts as there are threads. With two on two CPUs, the one whose CPU another
program uses too takes twice as long, and the other waits for it. Of eight, the system can move some to the other CPU.
"""

import os
import time
from pathlib import Path

import torch
from torch import Tensor

from catdog.base.cpus import usable_cpus
from catdog.base.threads import VARIABLES
from catdog.config.settings import Config
from catdog.data.batches import batches_in_order
from catdog.runtime.world import World
from catdog.trainer.events import Event, StepDone, TrainingStarted
from catdog.trainer.loop import Trainer
from catdog.trainer.targets import Targets, in_parts

_STAT = Path("/proc/stat")  # Linux has it
_MANY = 4  # threads a CPU beside other programs
_SECONDS = 1.0  # between two looks at what they use
_USED = 0.5  # CPUs that they use together, from which on more threads are taken


def adapted_threads(config: Config, device: torch.device, world: World, usual: int) -> list["AdaptedThreads"]:
    """A listener that adapts the number of threads; none where the user chose it, or where numbers may change.

    usual: the number without other programs, one a CPU.
    """
    run, training = config.run, config.training
    is_chosen = run.threads or usable_cpus()[1] or any(map(os.environ.get, (*VARIABLES, "OMP_WAIT_POLICY")))
    # What these add to the products of a step is not compared.
    may_differ = config.model.batch_norm or training.optimizer == "muon" or training.share_epochs or run.compile
    # Processes of this training's own would be taken for other programs.
    is_one_process = world.size == 1 and config.photos.cache != "none"
    can_adapt = is_one_process and config.architecture.is_mlp and device.type == "cpu" and _STAT.exists()
    return [AdaptedThreads(usual)] if can_adapt and not (is_chosen or may_differ) else []


class AdaptedThreads:
    """A listener that computes with `usual` threads, or with `many` while other programs use half a CPU or more.

    Before it takes `many` for the first time it compares what both compute, and stays with `usual` if a byte differs.
    """

    def __init__(self, usual: int, stat: Path = _STAT) -> None:
        self.usual, self.many, self.stat = usual, _MANY * usual, stat
        self.is_same: bool | None = None  # not known before it is asked for

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            self.trainer, self.looked = event.trainer, self._look()
        elif isinstance(event, StepDone) and self.is_same is not False and time.monotonic() > self.looked[0] + _SECONDS:
            now = self._look()
            by_others = (now[1] - self.looked[1]) / (now[0] - self.looked[0])
            is_crowded = by_others >= _USED
            if is_crowded and self.is_same is None:
                self.is_same = computes_the_same(self.trainer, self.usual, self.many)
            torch.set_num_threads(self.many if is_crowded and self.is_same else self.usual)
            self.looked = self._look()

    def _look(self) -> tuple[float, float]:
        """(this moment, CPU time of all other programs so far), in seconds."""
        user, nice, system, _, _, irq, soft_irq, *_ = map(int, self.stat.read_text().split("\n", 1)[0].split()[1:])
        own = os.times()
        of_all = (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), of_all - own.user - own.system


def computes_the_same(trainer: Trainer, *threads: int) -> bool:
    """Whether each of these numbers of threads gives the same bytes: of gradients, and of the validation's logits.

    That is for random images, in batches of all sizes that an epoch and its validation have: threads may change the
    order of the sums, whatever is summed.
    """
    network, photos, steps = trainer.network, len(trainer.train), trainer.steps_per_epoch
    of_steps = sorted({photos // steps, -(-photos // steps)})
    of_validation = sorted(set(map(len, batches_in_order(len(trainer.val), trainer.val.image_size))))
    expected: list[Tensor] = []
    for count in threads:
        torch.set_num_threads(count)
        torch.manual_seed(0)  # each step has a seed of its own
        found: list[Tensor] = []
        for size in of_steps:
            labels = torch.arange(size) % len(trainer.card.classes)
            images, targets = torch.rand(size, 3, *trainer.train.image_size), Targets(labels, labels, 1.0)
            for part, of_part in in_parts(images, targets, trainer.config.training.accumulate, trainer.least):
                loss = of_part.loss(trainer.loss, network(part))
                found += torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            found += [network(torch.rand(size, 3, *trainer.val.image_size)) for size in of_validation]
        expected = expected or found
        if not all(map(torch.equal, found, expected)):
            return False
    return True

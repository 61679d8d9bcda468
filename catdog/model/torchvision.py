"""Wraps torchvision's image classifiers, such as resnet18, for the same training and prediction as the MLP.

Their code and pretrained weights are torchvision's (https://docs.pytorch.org/vision/stable/models.html).
"""

import contextlib
import copy
import difflib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from catdog.architecture import Architecture
from catdog.base.threads import thread_count
from catdog.errors import CatdogError
from catdog.model.transfer import head_name
from catdog.numpy_net import Floats


class TorchvisionModel(nn.Module):
    """The classifier `name` of torchvision, for photos of `image_size` (height, width) and `classes` classes.

    With `pretrained` it starts from torchvision's weights, except for a new last layer. Raises CatdogError for an
    unknown name, for a size that the network does not take, and where the weights cannot be downloaded.
    """

    def __init__(self, name: str, image_size: tuple[int, int], classes: int, pretrained: bool = False) -> None:
        super().__init__()
        self.name, self.image_size = name, image_size
        if pretrained:
            self.network = _pretrained(name)
            _replace_head(self.network, classes)
        else:
            check_name(name)
            self.network = torchvision.models.get_model(name, num_classes=classes)
        self._check_size()

    def forward(self, images: Tensor) -> Tensor:
        """images: float, B x 3 x H x W, normalised -> logits: float, B x classes."""
        logits: Tensor = self.network(images)
        return logits

    def describe(self) -> str:
        """Format a table of the network's children, one a line: name, class and number of weights."""
        rows = [
            (name, type(part).__name__, sum(p.numel() for p in part.parameters()))
            for name, part in self.network.named_children()
        ]
        rows = [(name, kind, count) for name, kind, count in rows if count]
        rows.append(("", self.name, sum(p.numel() for p in self.network.parameters())))
        width, kinds = max(len(name) for name, _, _ in rows), max(len(kind) for _, kind, _ in rows)
        return "\n".join(f"{name:<{width}}  {kind:<{kinds}}  {count:>12,}" for name, kind, count in rows)

    def activation_numbers(self) -> int:
        """Count the numbers in the outputs of all layers for one photo, which are stored for the backward pass."""
        twin, found = copy.deepcopy(self.network).to("meta"), 0

        def count(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal found
            found += output.numel() if isinstance(output, Tensor) else 0

        for module in twin.modules():
            if not list(module.children()):
                module.register_forward_hook(count)
        twin.eval()(torch.empty(1, 3, *self.image_size, device="meta"))
        return found

    def _check_size(self) -> None:
        height, width = self.image_size
        twin = copy.deepcopy(self.network).to("meta").train()
        try:
            output = twin(torch.empty(2, 3, height, width, device="meta"))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = str(error).splitlines()[0][:120]
            raise CatdogError(
                f"{self.name} does not take photos of {height} x {width} pixels ({reason}); give another --image-size, "
                "such as 224 224."
            ) from None
        if not isinstance(output, Tensor):
            raise CatdogError(
                f"{self.name} has more than one output in training; give another --model, such as resnet18."
            )
        self.least_photos = 1
        """How many photos it must be given at once in training: 2 where a map that is normalised has a single place."""
        try:
            twin(torch.empty(1, 3, height, width, device="meta"))
        except ValueError:  # "expected more than 1 value per channel"
            self.least_photos = 2


def numpy_forward(shape: Architecture, classes: int, tensors: Mapping[str, Floats]) -> Callable[[Floats], Floats]:
    """The forward pass of a trained network, its arrays by name: float32, B x inputs, normalised -> B x classes."""
    torch.set_num_threads(thread_count()[0])
    model = TorchvisionModel(shape.model, shape.image_size, classes)
    own = model.state_dict()
    state = {name: torch.from_numpy(array) for name, array in tensors.items() if name in own}
    model.load_state_dict({**own, **state})
    model.eval()

    def forward(x: Floats) -> Floats:
        images = torch.from_numpy(np.ascontiguousarray(x)).view(len(x), 3, *shape.image_size)
        with torch.inference_mode():
            logits: Floats = model(images).numpy()
        return logits

    return forward


def state_shapes(name: str, image_size: tuple[int, int], classes: int) -> dict[str, tuple[int, ...]]:
    """Map name to shape of every array of such a network, without allocating them."""
    with torch.device("meta"):
        state = TorchvisionModel(name, image_size, classes).state_dict()
    return {key: tuple(t.shape) for key, t in state.items() if not key.endswith("num_batches_tracked")}


def check_name(name: str) -> None:
    """Raise CatdogError, naming similar classifiers, unless torchvision has a classifier of this name."""
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = difflib.get_close_matches(name, ["mlp", *known], n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(close)}" if close else "give mlp, or one such as resnet18"
        raise CatdogError(f"model (--model) {name!r} is neither mlp nor a classifier of torchvision; {meant}?")


def pretrained_mean_std(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel, in levels (0 to 255), for the pretrained weights of `name`."""
    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    mean, std = (tuple(255 * float(value) for value in values) for values in (transforms.mean, transforms.std))
    return mean, std  # type: ignore[return-value]


def _pretrained(name: str) -> nn.Module:
    check_name(name)
    try:
        with _folder_for_weights():
            network: nn.Module = torchvision.models.get_model(name, weights="DEFAULT")
    except (URLError, OSError, RuntimeError) as error:  # no connection, no such file there, or a wrong checksum
        raise CatdogError(
            f"the pretrained weights of {name} cannot be had ({' '.join(str(error).split())[:160]}); look at the "
            "connection and try again, or leave --pretrained out."
        ) from None
    return network


@contextlib.contextmanager
def _folder_for_weights() -> Iterator[None]:
    """A context in which torch.hub, where there is no home, keeps files in a temporary folder, and not in ./~ ."""
    if os.path.expanduser("~") != "~" or os.environ.get("TORCH_HOME") or os.environ.get("XDG_CACHE_HOME"):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCH_HOME"] = folder
        try:
            yield
        finally:
            del os.environ["TORCH_HOME"]


def _replace_head(network: nn.Module, classes: int) -> None:
    """Replace the last layer by a new one of `classes` outputs: a convolution in squeezenet, linear in all others."""
    path = head_name(network)
    head = network.get_submodule(path)
    parent = network.get_submodule(path.rpartition(".")[0])
    if isinstance(head, nn.Linear):
        setattr(parent, path.rpartition(".")[2], nn.Linear(head.in_features, classes))
    else:
        assert isinstance(head, nn.Conv2d)
        new = nn.Conv2d(head.in_channels, classes, head.kernel_size)  # type: ignore[arg-type]
        setattr(parent, path.rpartition(".")[2], new)

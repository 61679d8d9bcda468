"""The same work by Lightning: a LightningModule and a Trainer."""

import logging
import time
import warnings

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks.peers.common import arguments, mlp
from benchmarks.peers.lines import say
from benchmarks.peers.tutorial import folders


class Classifier(lightning.LightningModule):
    def __init__(self, image_size: int, hidden: list[int]) -> None:
        super().__init__()
        self.model = mlp(image_size, hidden)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.model(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        self.log("accuracy", (self.model(images).argmax(1) == labels).float().mean(), batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Report(lightning.Callback):
    """Says after each epoch how quick it was and how often it is right."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        loader = trainer.train_dataloader
        assert isinstance(loader, DataLoader)
        say(
            epoch=trainer.current_epoch + 1,
            photos_per_second=len(loader.dataset) / (self.ended - self.started),  # type: ignore[arg-type]
            accuracy=float(trainer.callback_metrics["accuracy"]),
        )


def main() -> None:
    args = arguments(__doc__)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    lightning.seed_everything(args.seed, workers=True, verbose=False)
    train_set, val_set = folders(args)
    module = Classifier(args.image_size, args.hidden)
    trainer = lightning.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Report()],
    )
    say(begin=1)
    trainer.fit(
        module,
        DataLoader(train_set, batch_size=args.batch_size, shuffle=True, num_workers=args.workers),
        DataLoader(val_set, batch_size=args.batch_size, num_workers=args.workers),
    )
    if args.out:
        torch.save(module.model.state_dict(), args.out)


if __name__ == "__main__":
    main()

"""A server of the usual kind: FastAPI, Pillow, torchvision's transforms and a network in torch."""

import argparse
import io
from typing import Annotated

import torch
import uvicorn
from fastapi import FastAPI, File
from PIL import Image
from torchvision import transforms

from benchmarks.peers.common import MEAN, STD, mlp


def make_app(weights: str, image_size: int, hidden: list[int]) -> FastAPI:
    app = FastAPI()
    model = mlp(image_size, hidden)
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    transform = transforms.Compose(
        [transforms.Resize((image_size, image_size)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )

    @app.post("/api/predict")
    def predict(photo: Annotated[bytes, File()]) -> dict[str, object]:
        image = transform(Image.open(io.BytesIO(photo)).convert("RGB"))
        with torch.no_grad():
            probabilities = model(image[None]).softmax(1)[0].tolist()
        return {"label": ("cat", "dog")[probabilities[1] > probabilities[0]], "probabilities": probabilities}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--hidden", type=int, nargs="+", default=[1024, 1024, 1024])
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    uvicorn.run(make_app(args.weights, args.image_size, args.hidden), port=args.port, log_level="error")


if __name__ == "__main__":
    main()

"""Chooses the floating-point type in which the network multiplies matrices."""

import contextlib
from dataclasses import dataclass

import torch

from catdog.errors import CatdogError

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """The type in which the forward pass multiplies matrices, on a kind of device; weights and sums are float32."""

    name: str
    device_type: str
    has_tf32: bool

    @property
    def dtype(self) -> torch.dtype:
        return _TYPES[self.name]

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which the forward pass is computed."""
        return contextlib.nullcontext() if self.name == "float32" else torch.autocast(self.device_type, self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """What keeps the small gradients of float16 from becoming 0; for other types it does nothing."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "float16")

    def set_matrix_products(self) -> None:
        """Let float32 matrices be multiplied as TF32, of 10 bits of mantissa, or not; it holds for the process."""
        torch.set_float32_matmul_precision("high" if self.has_tf32 else "highest")

    def in_words(self) -> str:
        tf32 = f", TF32 {'on' if self.has_tf32 else 'off'}" if self.device_type == "cuda" else ""
        if self.name == "float32":
            return f"float32{tf32}"
        scaled = ", gradients scaled" if self.name == "float16" else ""
        return f"{self.name} in the forward pass, by autocast{scaled}; weights and sums float32{tf32}"


FLOAT32 = Precision("float32", "cpu", has_tf32=False)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision called `name`; "auto" is bfloat16 on GPUs that have it, else float16, and float32 without one.

    TF32 is for what mixed precision leaves in float32, such as evaluation; where float32 was asked for, it is off.
    Raises CatdogError for what the device cannot compute in.
    """
    if device.type == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if name == "bfloat16" and not has_bfloat16:
            raise CatdogError(
                "this GPU has no bfloat16 (--precision), which came with NVIDIA's Ampere; give float16, or auto."
            )
        chosen = name if name != "auto" else "bfloat16" if has_bfloat16 else "float16"
        return Precision(chosen, "cuda", has_tf32=chosen != "float32")
    if device.type == "mps" and name not in ("auto", "float32"):
        raise CatdogError(f"{name} (--precision) is not tried on mps; give float32, or auto.")
    return Precision("float32" if name == "auto" else name, device.type, has_tf32=False)

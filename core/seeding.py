"""Random numbers and devices: the same seed gives the same run."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.config import DeviceName
from core.errors import UserError


def seed_everything(*entropy: int) -> None:
    """Seed torch from any number of integers, for example (seed, epoch).

    A training seeds at every epoch, so that a resumed run draws what the undisturbed one would have drawn,
    whatever was evaluated in between.
    """
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) % 2**63)


def set_up_numerics() -> None:
    """Ask torch for deterministic kernels, and the CPU to round numbers below 1e-38 to zero.

    Saturated gates make thousands of such numbers in the ConvLSTM's backward pass, and a CPU takes over a
    hundred times longer for each: rounding them made the backward pass of 16 clips 0.13 s instead of 1.9 s.
    Threads inherit the setting from the one that starts them, so call this before anything is computed.
    """
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def deterministic_attention() -> AbstractContextManager[None]:
    """Let torch's attention run by the kernel whose gradients are the same every time on a GPU too."""
    return sdpa_kernel(SDPBackend.MATH)


def choose_device(name: DeviceName) -> torch.device:
    """Choose the device that "auto", "cpu" or "cuda" means.

    Raises:
        UserError: "cuda" was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA GPU here; use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool | None:
    """Whether a device has instructions for bfloat16, which others emulate; None where torch can't say.

    A step of TSN took 14 times as long in bfloat16 as in float32 on a CPU that emulates it
    (docs/performance.md).
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    kinds = [found[name] for name in ("avx512_bf16", "amx_bf16") if name in found]
    return any(kinds) if kinds else None

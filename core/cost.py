"""What a training took: its device and the most memory it held."""

import platform
import resource
import sys
from typing import Any

import torch

# Linux counts kilobytes, macOS bytes.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def measure_cost(device: torch.device) -> dict[str, Any]:
    """Describe this process so far, for cost.json.

    Returns:
        device: its name; peak_memory_gib: the most memory this process held, not that of processes that load
        for it; peak_gpu_memory_gib: the most that tensors held on the GPU, None without one.
    """
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{platform.machine()} CPU"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
    return {
        "device": name if on_gpu else f"{name}, {torch.get_num_threads()} threads",
        "peak_memory_gib": round(peak / 2**30, 3),
        "peak_gpu_memory_gib": round(torch.cuda.max_memory_allocated(device) / 2**30, 3) if on_gpu else None,
    }

"""How much memory is free: of this machine, under the limits of a container, and of a GPU.

Imports nothing that takes time; torch is there already where a device is asked about.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIB = 2**30


def free_ram(root: Path = Path("/")) -> int:
    """Count the bytes that this process may still take without swapping: of the machine and of its cgroups.

    Args:
        root: Where proc/ and sys/ are; tests have their own.
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    machine = int(found[1]) * 1024 if found else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(0, min([machine, *_free_in_cgroups(root)]))


def free_on(device: "torch.device") -> int:
    """Count the bytes that are free on a device; of several ranks on the CPU, each gets an equal part."""
    if device.type != "cuda":
        return free_ram() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _free_in_cgroups(root: Path) -> Iterator[int]:
    """Yield what is left under each limit, of version 2 or 1, from this process's cgroup upwards."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, name = line.split(":", 2)
        if number == "0":
            base, limit, used, cache = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit, used = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        top = root / base
        # In a container the name may be the host's, and the limits lie at the top.
        folder = top / name.lstrip("/")
        for place in (folder, *(parent for parent in folder.parents if parent.is_relative_to(top))):
            bound, taken = _text(place / limit).strip(), _text(place / used).strip()
            if not (bound.isdecimal() and taken.isdecimal()):
                continue  # "max", or no such file
            dropped = re.search(rf"^{cache} (\d+)$", _text(place / "memory.stat"), re.MULTILINE)
            yield int(bound) - int(taken) + (int(dropped[1]) if dropped else 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

"""What of this machine decides how fast a backend is: processor, cores, accelerator, packages."""

import hashlib
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from retrieval.embedders.graphs import version

PACKAGES = ("torch", "openvino", "sentence-transformers")
WORTH_NAMING = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}


@dataclass(frozen=True)
class Machine:
    """`threads` is the setting (0: as many as cores); `accelerator` is empty where there is none."""

    processor: str
    features: tuple[str, ...]
    cores: int
    threads: int
    accelerator: str
    packages: tuple[tuple[str, str], ...]

    @property
    def fingerprint(self) -> str:
        """The same for machines on which the same backend is the fastest; 64 characters."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()

    def __str__(self) -> str:
        features = [name for flag, name in WORTH_NAMING.items() if flag in self.features]
        threads = f"{self.threads} threads" if self.threads else ""
        packages = [f"{name} {number}" for name, number in self.packages if number]
        parts = [self.processor, f"{self.cores} cores", threads, *features, self.accelerator, *packages]
        return ", ".join(part for part in parts if part)


def this_machine(threads: int = 0) -> Machine:
    """Reads what the kernel says; loads nothing."""
    cpuinfo = read(Path("/proc/cpuinfo"))
    return Machine(
        processor=field(cpuinfo, "model name") or platform.processor() or platform.machine(),
        features=tuple(sorted((field(cpuinfo, "flags") or field(cpuinfo, "Features")).split())),
        cores=cores(),
        threads=threads,
        accelerator=accelerator(),
        packages=tuple((package, version(package)) for package in PACKAGES),
    )


def cores() -> int:
    """Those that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def accelerator() -> str:
    """The graphics processors by name, "rocm" or "mps"; empty where torch could use none."""
    if version("torch").endswith("+cpu"):
        return ""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else ""
    names = [
        field(read(path), "Model") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    ]
    return ", ".join(filter(None, names)) or ("rocm" if Path("/dev/kfd").exists() else "")


def read(path: Path) -> Iterable[str]:
    """The lines of a file of the kernel's, none where it is missing."""
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def field(lines: Iterable[str], name: str) -> str:
    """The value of the first line `name : value`."""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""

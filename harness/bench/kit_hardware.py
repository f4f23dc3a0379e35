"""Which kind of hardware and software the bits of a result may depend on, in one line. Loads no TensorFlow.

oneDNN chooses its kernels by the instruction sets of the processor, and cuts products into blocks by the sizes of the caches;
both may change the order of a sum, and so the last bits. So the kind names vendor, family and model, the highest instruction
set that oneDNN uses, and the caches of a core. What can only be guessed is left to be another kind: an unknown one.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["instruction_set", "kind_of_hardware", "processor"]

# oneDNN's names, from the least to the most, with the flags of /proc/cpuinfo that each needs beside those before it in its row.
LEVELS = (
    ("sse41", ("sse4_1",)),
    ("avx", ("avx",)),
    ("avx2", ("avx2", "fma")),
    ("avx2_vnni", ("avx2", "avx_vnni")),
    ("avx512_core", ("avx512f", "avx512bw", "avx512vl", "avx512dq")),
    ("avx512_core_vnni", ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni")),
    ("avx512_core_bf16", ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16")),
    ("avx512_core_fp16", ("avx512_bf16", "avx512_fp16")),
    ("avx512_core_amx", ("avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")),
)
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
SOFTWARE = ("tensorflow", "keras", "numpy")


def instruction_set(flags: frozenset[str], limit: str | None = None) -> str:
    """Return the highest instruction set that oneDNN uses.

    Args:
      flags: of the processor, as in /proc/cpuinfo.
      limit: what `ONEDNN_MAX_CPU_ISA` says, if anything.

    >>> instruction_set(frozenset({"sse4_1", "avx", "avx2", "fma"}))
    'avx2'
    >>> instruction_set(frozenset({"sse4_1", "avx", "avx2", "fma"}), "AVX")
    'avx'
    """
    highest = "none"
    for name, needed in LEVELS:
        if flags.issuperset(needed):
            highest = name
        if limit and name == limit.lower():
            break
    return highest


def processor(cpuinfo: str, caches: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return the kind of a processor.

    Args:
      cpuinfo: what /proc/cpuinfo holds.
      caches: sizes of a core's caches, by name.
      environ: the environment, which may limit oneDNN.
    """
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    limit = next((environ[name] for name in LIMITS if environ.get(name)), None)
    words = [platform.machine(), fields.get("vendor_id") or fields.get("CPU implementer", "unknown vendor")]
    if "cpu family" in fields:
        words.append(f"family {fields['cpu family']} model {fields.get('model', '?')}")
    elif "CPU part" in fields:
        words.append(f"part {fields['CPU part']}")
    flags = frozenset((fields.get("flags") or fields.get("Features", "")).split())
    words.append(instruction_set(flags, limit) if platform.machine() == "x86_64" else "no oneDNN level known")
    words += [f"{name} {size}" for name, size in caches.items()]
    if environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        words.append("without oneDNN")
    return " ".join(words)


def kind_of_hardware(run: Mapping[str, Any]) -> str:
    """Return what the bits of a run's result may depend on: software, and the machine that this is called on.

    Args:
      run: its run.json, already parsed.
    """
    versions = run["environment"]
    software = ", ".join(f"{name} {versions[name]}" for name in SOFTWARE)
    ranks = run["attempts"][-1]["ranks"]
    hardware = processor(_read(Path("/proc/cpuinfo")), _caches(Path("/sys/devices/system/cpu/cpu0/cache")), os.environ)
    kind = f"{software}; {hardware}"
    if any("GPU" in device for rank in ranks for device in rank["devices"]):
        kind += "; on GPUs"
    if {rank["host"] for rank in ranks} - {platform.node()}:
        kind += "; also on other machines"
    return kind


def _caches(folder: Path) -> dict[str, str]:
    """Read the sizes of the caches that a core has to itself."""
    sizes = {}
    for index in sorted(folder.glob("index*")):
        level, kind = _read(index / "level").strip(), _read(index / "type").strip()
        if kind != "Instruction" and level in ("1", "2"):
            sizes[f"L{level}"] = _read(index / "size").strip()
    return sizes


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

"""Where and how something was measured: the machine, and the command, date and commit."""

import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import torch

from mmfasternet.cores import usable_cores

from .gpu import gpu_facts
from .private import without_secrets

__all__ = ['describe_machine', 'machine_id', 'provenance']

_CPUS, _BOARD = Path('/proc/cpuinfo'), Path('/proc/device-tree/model')
_PACKAGES = ('torch', 'torchvision', 'triton', 'numpy', 'timm')
# Each line is one package, by its names in the package sets.
_TWINS = (
    ('onedl-mmengine', 'mmengine'),
    ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'onedl-mmcv-lite'),
    ('onedl-mmdetection', 'mmdet'),
    ('onedl-mmsegmentation', 'mmsegmentation'),
    ('onedl-mmpretrain', 'mmpretrain'),
)
# Instructions of x86 and ARM CPUs that decide about precisions and their speed.
_INSTRUCTIONS = (
    *('avx2', 'avx512_f', 'avx_vnni', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16', 'amx_int8', 'amx_bf16', 'amx_fp16'),
    *('neon', 'dot', 'i8mm', 'fp16_arith', 'bf16', 'sve', 'sme'),
)
# Machines that agree in these fields are one. Its label, and what may change from run to run, are not among them.
_IDENTITY = (
    'device',
    'device_name',
    'cpu',
    'cores',
    'instructions',
    'system',
    'python',
    'packages',
    'cuda',
    'cudnn',
    'driver',
)


def describe_machine(device: str = 'cpu') -> dict:
    """What a reader must know about the machine to judge a latency.

    Args:
        device: Where the models run, such as 'cpu' or 'cuda:0'. Defaults to 'cpu'.

    Returns:
        The fields that docs/records.md lists under *Machine*. Equal machines have equal ids.

    Example:
        >>> describe_machine()['device']
        'cpu'
    """
    cpu = _cpu_name()
    name = torch.cuda.get_device_name(device) if device.startswith('cuda') else cpu
    machine = dict(
        label=name,
        device=device,
        device_name=name,
        cpu=cpu,
        cores=usable_cores(),
        instructions=_instructions(),
        memory_gb=round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        system=f'{platform.system()} {platform.machine()}',
        python=platform.python_version(),
        packages=_package_versions(),
    )
    if device.startswith('cuda'):
        machine |= gpu_facts(device)
    return dict(id=machine_id(machine), **machine)


def machine_id(machine: dict) -> str:
    """What tells machines apart: device, CPU, system, packages; not memory, which varies on a virtual machine."""
    known = {key: machine[key] for key in _IDENTITY if key in machine}
    return sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]


def provenance() -> dict:
    """When, from which commit (None outside a clone, with '+' if the code differs) and by which command.

    The environment variable ``MMFASTERNET_COMMIT`` names the commit of files that were sent without their history.
    """
    program = sys.argv[0]
    command = ' '.join([os.path.relpath(program) if program.startswith('/') else program, *sys.argv[1:]])
    return dict(
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        commit=_commit() or os.environ.get('MMFASTERNET_COMMIT'),
        command=without_secrets(command),
    )


def _cpu_name() -> str:
    try:
        lines = _CPUS.read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else _board_name() or platform.machine()


def _board_name() -> str | None:
    """What a board calls itself, whose CPUs have no name: such as 'Raspberry Pi 5 Model B Rev 1.0'."""
    try:
        # The firmware's text ends in a zero.
        return _BOARD.read_text(errors='replace').rstrip('\0').strip()[:200] or None
    except OSError:
        return None


def _instructions() -> list[str]:
    """What the CPU says of itself, since its name may say nothing; torch 2.1 knows a level only."""
    find = getattr(torch.cpu, 'get_capabilities', None)
    if find is None:
        return [torch.backends.cpu.get_cpu_capability().lower()]
    return [name for name in _INSTRUCTIONS if find().get(name)]


def _package_versions() -> dict[str, str]:
    versions = {}
    for names in [*((name,) for name in _PACKAGES), *_TWINS]:
        for name in names:
            try:
                versions[name] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return versions


def _commit() -> str | None:
    def git(*words: str) -> str:
        command = ['git', '-C', str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # A plain install is in no clone, or in that of another project.
        if not git('ls-files', Path(__file__).name):
            return None
        # Records and figures that the command itself writes don't change the code.
        changed = git('status', '--porcelain', '--untracked-files=no', '--', ':/mmfasternet', ':/configs', ':/tools')
        return git('rev-parse', '--short=10', 'HEAD') + ('+' if changed else '')
    except (OSError, subprocess.CalledProcessError):
        return None

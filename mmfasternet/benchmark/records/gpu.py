"""What an NVIDIA GPU is, and the state that it is in, as its driver says."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ['DISTURBING', 'gpu_facts', 'gpu_state']

# Reasons for a lower clock, by the bits of NVML. At its power limit, a card is as fast as it is meant to be.
_POWER_LIMIT = 'power limit'
_REASONS = {
    0x004: _POWER_LIMIT,
    0x008: 'hardware slowdown',
    0x020: 'software thermal slowdown',
    0x040: 'hardware thermal slowdown',
    0x080: 'hardware power brake',
}
# What it is that disturbs a measurement.
DISTURBING = frozenset(_REASONS.values()) - {_POWER_LIMIT}


def gpu_facts(device: str) -> dict[str, Any]:
    """What a reader must know about a GPU.

    Args:
        device: Such as 'cuda:0'.

    Returns:
        ``gpu_memory_gb`` (2³⁰ bytes), ``multiprocessors``, ``capability``, ``cuda`` and ``cudnn``; ``driver`` and
        ``power_limit_w`` too where the driver can be asked, see :func:`gpu_state`.
    """
    properties = torch.cuda.get_device_properties(device)
    facts = dict(
        gpu_memory_gb=round(properties.total_memory / 2**30, 1),
        multiprocessors=properties.multi_processor_count,
        capability=f'{properties.major}.{properties.minor}',
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
    )
    return facts | _ask(
        device,
        lambda nvml, handle: dict(
            driver=str(nvml.nvmlSystemGetDriverVersion()),
            power_limit_w=round(nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000),
        ),
    )


def gpu_state(device: str) -> dict[str, Any]:
    """The state of a GPU right after some work: its clock, power and temperature, and why its clock is held back.

    Args:
        device: Such as 'cuda:0'.

    Returns:
        ``clock_mhz``, ``power_w``, ``temperature_c`` and ``throttled``, a list of reasons; nothing where the driver
        can't be asked, since the package nvidia-ml-py is missing or the driver refuses.
    """

    def state(nvml: Any, handle: Any) -> dict[str, Any]:
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        return dict(
            clock_mhz=float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            power_w=round(nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            temperature_c=nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            throttled=[name for bit, name in _REASONS.items() if reasons & bit],
        )

    return _ask(device, state)


def _ask(device: str, question: Callable[[Any, Any], dict[str, Any]]) -> dict[str, Any]:
    """Ask the driver, by NVML; torch knows which of its GPUs the device is."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        return question(pynvml, torch.cuda._get_pynvml_handler(device))
    except (RuntimeError, pynvml.NVMLError):
        return {}

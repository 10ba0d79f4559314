"""A process of its own that opens a file and runs it once: how long that takes, and its memory.

Nothing in this file imports torch.
"""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE

from mmfasternet.datasets.images import read_image
from mmfasternet.engine.processes import started
from mmfasternet.errors import UserError, exit_on_user_error

from .runtimes import open_detector

__all__ = ['main', 'start_once']

# The package's __init__ would load torch, which exported files do without, and which a checkpoint's time includes.
_CODE = (
    'from mmfasternet_light import leave_out_torch; leave_out_torch(); '
    'from mmfasternet.benchmark.artifacts.start import main; main()'
)


def start_once(
    runtime: str, path: str | Path, config: str | Path, threads: int, images: Sequence[Path], trust: bool
) -> dict[str, float | None]:
    """Open a file in a process of its own, and run it.

    Args:
        runtime: One of ``RUNTIMES``.
        path: The file.
        config: Its config.
        threads: Threads on the CPU.
        images: The first one is timed.
        trust: Whether a checkpoint is trusted.

    Returns:
        ``seconds``, from loading the runtime to the objects in the first image; and ``peak_mib``, the most memory that
        the process held until the last image, None where the system doesn't say it.

    Raises:
        UserError: If the process fails.
    """
    given = dict(runtime=runtime, path=str(path), config=str(config), threads=threads, trust=trust)
    # The child finds the package where this process has it.
    folders = [str(Path(__file__).resolve().parents[3]), *filter(None, [os.environ.get('PYTHONPATH')])]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(folders)}
    words = [sys.executable, '-c', _CODE, json.dumps(given | dict(images=[str(image) for image in images]))]
    with started(words, env=environment, stdout=PIPE, stderr=PIPE, text=True) as process:
        printed, said = process.communicate()
    if process.returncode:
        reason = (said.strip().splitlines() or [f'status {process.returncode}'])[-1]
        raise UserError(f'{path} does not start in a process of its own: {reason}')
    return json.loads(printed.splitlines()[-1])


def main() -> None:
    """What the process does: open the file that the argument names, run it, and print a line of JSON."""
    given = json.loads(sys.argv[1])
    images = [read_image(path) for path in given['images']]
    start = time.perf_counter()
    if given['runtime'] == 'pytorch':
        _load_torch(given['threads'], given['trust'])
    with exit_on_user_error():
        detector = open_detector(given['runtime'], given['path'], given['config'], given['threads'])
        detector(images[0])
        seconds = time.perf_counter() - start
        for image in images[1:]:
            detector(image)
    print(json.dumps(dict(seconds=round(seconds, 4), peak_mib=_peak_mib())))


def _load_torch(threads: int, trust: bool) -> None:
    """Load torch and what the package's __init__ registers."""
    package = sys.modules['mmfasternet']
    package.__spec__.loader.exec_module(package)
    import torch

    from mmfasternet.weights.reader import trust_checkpoints

    torch.set_num_threads(threads)
    trust_checkpoints(trust)


def _peak_mib() -> float | None:
    """The most memory that this process held; unlike getrusage, without what its parent held."""
    try:
        found = re.search(r'^VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text(), re.MULTILINE)
    except OSError:
        return None
    return round(int(found[1]) / 1024, 1) if found else None

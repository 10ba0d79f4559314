"""A program: the run on a GPU, all stages, on a CPU that the laboratory takes for a GPU.

    TRITON_INTERPRET=1 python pretend_gpu.py OUT_DIR

Tensors stay on the CPU, so graphs are not captured and times mean nothing. The rest runs as on a GPU: half precision,
both clocks, memory, the fused block in Triton's interpreter, its tiles, records and page. Left out are torch.compile
and detectors, which the short run rehearses, and the demo, which asks torch for a GPU. Fails if anything failed.
"""

import sys
import time
from contextlib import nullcontext
from dataclasses import replace

import torch

from mmfasternet.benchmark.engines import training
from mmfasternet.benchmark.gpu import stages, tune, ways
from mmfasternet.benchmark.gpu.measured import Cell
from mmfasternet.benchmark.gpu.report import write_gpu
from mmfasternet.benchmark.gpu.triton_block import Tile
from mmfasternet.benchmark.measure import backends, gpu, latency, memory, precision, scopes, turns
from mmfasternet.benchmark.paper.operators import measure as operators
from mmfasternet.benchmark.records import Records
from mmfasternet.engine.ops import provide_ops

CELL = Cell('t0', (33, 35), 1, 'fp16', 'cast')
PLAN = replace(
    stages.QUICK,
    cells=(CELL,),
    others=(replace(CELL, weights='autocast'),),
    odd=((1, 33, 35),),
    trained=(('fp32', 'channels_last'), ('bf16', 'channels_last')),
    operator_precisions=('fp16',),
    rows=('resnet50',),
)
STAGES = [name for name in stages.STAGES if name not in ('smoke', 'compile', 'detector', 'demo')]


class Event:
    """A moment on the only clock that there is."""

    def __init__(self, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None: ...

    def elapsed_time(self, other: 'Event') -> float:
        return 1000 * (other.at - self.at)


class NoPool:
    """A pool of the processes that compile tiles, in this one."""

    def __init__(self, count: int, context: object) -> None: ...

    def __enter__(self) -> 'NoPool':
        return self

    def __exit__(self, *error: object) -> None: ...

    def map(self, function, *arguments: tuple) -> list:
        return [function(*next(zip(*arguments, strict=True)))]


def pretend() -> None:
    for module in (backends, gpu, latency, memory, turns, training, stages, ways, operators):
        module.is_gpu = lambda device: True
    # A CPU may only emulate half precision; Triton's interpreter has no bfloat16.
    precision.check_precision = lambda precision, device: None
    stages.PRECISIONS = ('fp32', 'fp16')
    memory._GPU_PEAK_SIZE = 64
    # A CPU without half precision takes minutes for the box head of 1000 proposals.
    scopes.FIXED_PROPOSALS = scopes.FIXED_ROIS = 4
    tune._TILES = (Tile(16, 32, 4, 1), Tile(32, 32, 4, 1))
    tune.ProcessPoolExecutor = NoPool
    tiny = tune.tune_blocks
    tune.tune_blocks = lambda arch, device: tiny(arch, device, batch=1, pixels=8)
    for name in ('synchronize', 'reset_peak_memory_stats', 'empty_cache'):
        setattr(torch.cuda, name, lambda device=None: None)
    torch.cuda.Event, torch.cuda.device = Event, lambda device: nullcontext()
    torch.cuda.memory_allocated, torch.cuda.max_memory_allocated = lambda device: 0, lambda device: 2**20
    # What a turn takes, since nothing is measured.
    turns.Clock.__init__.__defaults__ = ('cpu', 0.0, 0.0, 1, 0, 0.0)


def main() -> None:
    provide_ops()
    pretend()
    failed = stages.run_stages(PLAN, STAGES, 'cpu', sys.argv[1], budget=10_000)
    write_gpu(Records.read(f'{sys.argv[1]}/records.json'), sys.argv[1])
    sys.exit(f'failed: {failed}' if failed else 0)


if __name__ == '__main__':
    main()

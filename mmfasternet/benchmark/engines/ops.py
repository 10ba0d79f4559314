"""mmcv's compiled operators beside torchvision's: alone, in a training step, in inference, and in AP."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmfasternet.benchmark.measure.detector import fixed_boxes
from mmfasternet.benchmark.measure.memory import keep_memory
from mmfasternet.benchmark.measure.turns import Clock, Contender, is_tie, time_in_turns
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import bullets, escape_records, latency, origin, table
from mmfasternet.engine.build import build_model, load_model
from mmfasternet.engine.config import project_root
from mmfasternet.engine.testing import evaluate
from mmfasternet.engine.torchvision_ops import TorchvisionOps
from mmfasternet.errors import UserError
from mmfasternet.files import write_file

__all__ = ['DEMO', 'measure_ops', 'write_ops']

DEMO = 'mask_rcnn_fasternet_t0_shapes'
_SOURCES = ('mmcv', 'torchvision')
_PAGE = """# mmcv's operators: compiled, or torchvision's

{origin}.

Drawn by `tools/benchmark/ops.py` from records.json. Two threads; medians in ms, in turns in one run. **Bold**: faster,
where it isn't a tie.

{latencies}

AP of the demo's checkpoint on its validation images:

{ap}

{flags}
"""


def measure_ops(checkpoint: str | Path, records: Records, rounds: int = 5, threads: int = 2) -> None:
    """Time the operators, and a training step and inference of the demo's detector with each; test its checkpoint.

    Args:
        checkpoint: Of the demo, whose data must be in ``data/shapes`` of the current folder.
        records: Where the measurements are, and go.
        rounds: Turns of each. Defaults to 5.
        threads: Threads of torch. Defaults to 2.

    Raises:
        UserError: If mmcv has no compiled operators here, or there is no such checkpoint or data.
        CheckpointError: If the checkpoint can't be read or does not fit the demo's detector.
    """
    sources = dict(zip(_SOURCES, (_compiled(), TorchvisionOps('mmcv._ext')), strict=True))
    cfg, model = build_model(project_root() / f'configs/demo/{DEMO}.py')
    load_model(model, checkpoint)
    for name, (run, context) in _tasks(cfg, model).items():
        if all(records.find('ops', name, contender=source, threads=threads) for source in sources):
            continue
        contenders = {
            source: Contender(source, run, context=partial(_using, ext, context)) for source, ext in sources.items()
        }
        with keep_memory():
            found = time_in_turns(contenders, Clock(turn_s=1), rounds, threads)
        for source, figures in found.items():
            records.add(dict(kind='ops', row=name, label=name, contender=source, threads=threads, **figures))
    for source, ext in sources.items():
        if not records.find('ap', DEMO, contender=source):
            with _using(ext, nullcontext):
                metrics = evaluate(Config(dict(cfg, work_dir=str(records.path.parent / source))), str(checkpoint))
            aps = dict(box_ap=metrics['coco/bbox_mAP'], mask_ap=metrics['coco/segm_mAP'])
            aps = {name: round(100 * value, 2) for name, value in aps.items()}
            records.add(dict(kind='ap', row=DEMO, label=DEMO, contender=source, dataset='shapes', **aps))


def _compiled() -> ModuleType:
    ext = import_module('mmcv._ext')
    if isinstance(ext, TorchvisionOps):
        raise UserError('mmcv has no compiled operators here, so there is nothing to compare: run `make ops` first')
    return ext


@contextmanager
def _using(ext: ModuleType, context: Callable[[], Any]) -> Iterator[None]:
    """Let mmcv.ops call these operators."""
    users = [module for name, module in sys.modules.items() if name.startswith('mmcv.ops.')]
    users = [module for module in users if hasattr(module, 'ext_module')]
    before = [module.ext_module for module in users]
    for module in users:
        module.ext_module = ext
    try:
        with context():
            yield
    finally:
        for module, old in zip(users, before, strict=True):
            module.ext_module = old


def _tasks(cfg: Config, model: nn.Module) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Name → what is timed, and its context: operators in sizes of an 800 × 1280 image, and the demo's detector."""
    # Imported here, since mmcv.ops needs the operators to be provided.
    from mmcv.ops import nms, roi_align

    torch.manual_seed(0)
    maps = torch.rand(1, 256, 50, 80, requires_grad=True)
    rois = nn.functional.pad(fixed_boxes(128, 800, 1280), (1, 0))
    boxes, scores = fixed_boxes(2000, 800, 1280), torch.rand(2000)
    train, test = (next(iter(Runner.build_dataloader(cfg[f'{split}_dataloader']))) for split in ('train', 'test'))
    return {
        'RoIAlign, 128 boxes, 14 × 14, forward and backward': (
            lambda: roi_align(maps, rois, (14, 14), 1 / 16, 0).sum().backward(),
            nullcontext,
        ),
        'NMS, 2000 boxes': (lambda: nms(boxes, scores, 0.7), torch.inference_mode),
        f'training step, batch {len(train["inputs"])}': (partial(_step, model, train), nullcontext),
        f'inference, batch {len(test["inputs"])}': (
            lambda: model.eval().test_step(test),
            torch.inference_mode,
        ),
    }


def _step(model: nn.Module, batch: dict) -> None:
    """A forward and a backward pass."""
    model.train().zero_grad()
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    model.parse_losses(losses)[0].backward()


def write_ops(records: Records, out_dir: str | Path) -> dict[str, Path]:
    """Write the page.

    Args:
        records: From :func:`measure_ops`.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of ops.md.

    Raises:
        UserError: If the file can't be written.
    """
    records = escape_records(records)
    timed: dict[str, dict[str, dict]] = {}
    for record in records.of_kind('ops'):
        timed.setdefault(record['row'], {})[record['contender']] = record
    aps = [(record['contender'], record) for record in records.of_kind('ap')]
    page = _PAGE.format(
        origin=origin(records),
        latencies=table(['', *_SOURCES], [[name, *_cells(found)] for name, found in timed.items()]),
        ap=table(
            ['', 'box AP', 'mask AP'], [[name, f'{row["box_ap"]:.2f}', f'{row["mask_ap"]:.2f}'] for name, row in aps]
        ),
        flags=bullets(
            f'\\* {name}, {source}: {"; ".join(record["flags"])}'
            for name, found in timed.items()
            for source, record in found.items()
            if record['flags']
        ),
    )
    return {'ops.md': write_file(Path(out_dir, 'ops.md'), page.encode())}


def _cells(found: dict[str, dict]) -> list[str]:
    """Both latencies, the shorter one in bold."""
    ours, theirs = (found[source] for source in _SOURCES)
    fastest = None if is_tie(ours, theirs) else min(_SOURCES, key=lambda source: found[source]['median_ms'])
    return [f'**{latency(found[source])}**' if source == fastest else latency(found[source]) for source in _SOURCES]

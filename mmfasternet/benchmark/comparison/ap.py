"""Box AP and mask AP of a row: from the JSON of an earlier test, or by testing a checkpoint now."""

import shlex
from pathlib import Path

from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.records import read_json
from mmfasternet.engine.launch import Launcher
from mmfasternet.engine.processes import started
from mmfasternet.engine.testing import newest_metrics
from mmfasternet.errors import UserError

__all__ = ['ap_record', 'run_test']

# As mmdet's CocoMetric calls them → as records do.
_METRICS = {
    f'coco/{kind}_mAP{suffix}': f'{name}_ap{suffix.strip("_")}'
    for kind, name in (('bbox', 'box'), ('segm', 'mask'))
    for suffix in ('', '_50', '_75')
}


def ap_record(row: Row, metrics_file: str | Path, checkpoint: str | None = None, dataset: str | None = None) -> dict:
    """The AP record of a row, from the JSON that ``tools/test.py`` leaves in its work_dir."""
    metrics = read_json(metrics_file)
    if not isinstance(metrics, dict):
        raise UserError(f'{metrics_file} must hold an object of metrics, but holds {type(metrics).__name__}')
    figures = {}
    for theirs, ours in _METRICS.items():
        value = metrics.get(theirs)
        if value is None and ours not in ('box_ap', 'mask_ap'):
            continue
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise UserError(f'{metrics_file}: {theirs} must be a number from 0 to 1, but is {value!r}')
        figures[ours] = round(100 * value, 2)
    return dict(kind='ap', **row.identity, **figures, dataset=dataset, checkpoint=checkpoint, source=str(metrics_file))


def run_test(row: Row, checkpoint: str | Path, work_dir: str | Path, trust_checkpoint: bool = False) -> Path:
    """Test a checkpoint with ``tools/test.py``, on the data that the row's config names."""
    options = ['--trust-checkpoint'] if trust_checkpoint else []
    command = Launcher().test(row.config_path, checkpoint, work_dir, options)
    with started(command) as process:
        process.wait()
    if process.returncode:
        raise UserError(f'the test of {row.label} failed, see above; the command was: {shlex.join(command)}')
    return newest_metrics(work_dir)

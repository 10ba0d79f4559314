"""Box AP and mask AP of a row: from the JSON of an earlier test, or by testing a checkpoint now."""

import subprocess
from pathlib import Path

from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.records.records import provenance, read_json
from mmfasternet.engine.launch import Launcher
from mmfasternet.errors import UserError

__all__ = ['ap_record', 'newest_metrics', 'run_test']

# As mmdet's CocoMetric calls them → as records do.
METRICS = {
    f'coco/{kind}_mAP{suffix}': f'{name}_ap{suffix.strip("_")}'
    for kind, name in (('bbox', 'box'), ('segm', 'mask'))
    for suffix in ('', '_50', '_75')
}


def ap_record(row: Row, metrics_file: str | Path, checkpoint: str | None = None, dataset: str | None = None) -> dict:
    """The AP record of a row, from the JSON that ``tools/test.py`` leaves in its work_dir.

    Args:
        row: The row that was tested.
        metrics_file: The JSON file, with ``coco/bbox_mAP`` and ``coco/segm_mAP`` from 0 to 1.
        checkpoint: What was tested, if it is known. Defaults to None.
        dataset: Annotations that it was tested on, if they are known. Defaults to None.

    Returns:
        The record, see docs/records.md.

    Raises:
        UserError: If the file can't be read, or an AP is missing or impossible.

    Example:
        >>> from mmfasternet.benchmark.records.records import write_json
        >>> from mmfasternet.benchmark.published.rows import find_row
        >>> write_json('metrics.json', {'coco/bbox_mAP': 0.399, 'coco/segm_mAP': 0.369})
        >>> ap_record(find_row('fasternet_s'), 'metrics.json')['box_ap']
        39.9
    """
    metrics = read_json(metrics_file)
    if not isinstance(metrics, dict):
        raise UserError(f'{metrics_file} should hold an object of metrics, but holds {type(metrics).__name__}')
    figures = {}
    for theirs, ours in METRICS.items():
        value = metrics.get(theirs)
        if value is None and ours not in ('box_ap', 'mask_ap'):
            continue
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise UserError(f'{metrics_file}: {theirs} should be a number from 0 to 1, but is {value!r}')
        figures[ours] = round(100 * value, 2)
    return dict(
        kind='ap',
        **row.identity,
        **figures,
        dataset=dataset,
        checkpoint=checkpoint,
        source=str(metrics_file),
        **provenance(),
    )


def run_test(row: Row, checkpoint: str | Path, work_dir: str | Path) -> Path:
    """Test a checkpoint with ``tools/test.py``, on the data that the row's config names.

    Args:
        row: The row.
        checkpoint: Its weights.
        work_dir: Folder for the test's logs and metrics.

    Returns:
        The JSON of its metrics.

    Raises:
        UserError: If the test fails; its own words stand above.
    """
    command = Launcher().test(row.config_path, checkpoint, work_dir, [])
    if subprocess.run(command).returncode:
        raise UserError(f'the test of {row.label} failed, see above; this was run: {" ".join(command)}')
    return newest_metrics(work_dir)


def newest_metrics(work_dir: str | Path) -> Path:
    """The metrics that the latest test left in a work_dir.

    Args:
        work_dir: Its folder; mmengine makes one in it for each test, named after the time.

    Returns:
        The JSON file.

    Raises:
        UserError: If there is none.
    """
    found = sorted(Path(work_dir).glob('*/*.json'))
    if not found:
        raise UserError(f'no metrics in {work_dir}: a test should leave TIME/TIME.json there')
    return found[-1]

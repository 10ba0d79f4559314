"""What ``tools/test.py`` does."""

import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.registry import RUNNERS

from mmfasternet.errors import UserError

from . import runner  # noqa: F401, registers the runner that configs name
from .saving import SavedMaps, SavedScores

__all__ = ['evaluate', 'newest_metrics']


def evaluate(
    cfg: Config,
    checkpoint: str,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2,
    tta: bool = False,
) -> dict[str, float]:
    """Test a checkpoint on the test data of its config.

    Args:
        cfg: The config, see :func:`~mmfasternet.engine.config.load_config`; it is changed in place.
        checkpoint: The weights, a path or URL.
        out: A pickle file for a detector's predictions, a folder for a segmentor's semantic maps, or a JSON file for a
            classifier's scores. Defaults to None.
        show: Whether to show the predictions in a window. Defaults to False.
        show_dir: Folder for drawn predictions. A detector's is created in ``work_dir/<timestamp>``; a segmentor draws
            into its ``vis_data/vis_image``. Defaults to None.
        wait_time: Seconds for which each image is shown. Defaults to 2.
        tta: Whether to test every image as it is and flipped. Defaults to False.

    Returns:
        The metrics, name → value.

    Raises:
        UserError: If an argument does not suit the model's task, the config says nothing of a test, or the data doesn't
            fit it.
        CheckpointError: If the checkpoint can't be read or does not fit the model.
    """
    scope = cfg.get('default_scope')
    segments = scope == 'mmseg'
    if scope == 'mmpretrain' and (show or show_dir or tta):
        raise UserError(
            '--show, --show-dir and --tta are not for classifiers; to draw predictions set --cfg-options '
            'default_hooks.visualization.enable=True default_hooks.visualization.out_dir=FOLDER'
        )
    missing = [name for name in ('test_dataloader', 'test_cfg', 'test_evaluator') if cfg.get(name) is None]
    if missing:
        raise UserError(f'the config has no {" and no ".join(missing)}, so there is nothing to test on')
    cfg.load_from = checkpoint
    cfg.resume = False
    if out:
        _check_out(out, scope)
    if show or show_dir:
        _draw(cfg, segments, show, wait_time, show_dir)
    if tta:
        _flip(cfg, segments)
    tester = RUNNERS.build(cfg)
    if out:
        tester.test_evaluator.metrics.append(_saving(out, scope, tester.test_dataloader.dataset))
    return tester.test()


def newest_metrics(work_dir: str | Path) -> Path:
    """The metrics of the latest test in a work dir.

    Args:
        work_dir: The work dir of tests; mmengine creates a folder in it for each test, named after the time. The JSON
            that was written last counts, since an hour comes twice when summer time ends.

    Returns:
        The JSON file.

    Raises:
        UserError: If there is none.

    Example:
        >>> from mmfasternet.files import write_json
        >>> for time in ('20260101_120000', '20260102_120000'):
        ...     path = write_json(f'tests/{time}/{time}.json', {'coco/bbox_mAP': 0.4})
        >>> newest_metrics('tests').name
        '20260102_120000.json'
    """
    found = [path for path in Path(work_dir).glob('*/*.json') if path.stem == path.parent.name]
    if not found:
        raise UserError(f'no metrics in {work_dir}: a test leaves them there as TIME/TIME.json')
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _check_out(out: str, scope: str | None) -> None:
    """Make sure that ``out`` is what the task writes: a pickle file, a folder, or a JSON file."""
    pickle = out.endswith(('.pkl', '.pickle'))
    if scope == 'mmseg':
        if pickle or os.path.isfile(out):
            raise UserError(f"--out must be a folder for a segmentor's semantic maps, but got {out}")
    elif scope == 'mmpretrain':
        if not out.endswith('.json'):
            raise UserError(f"--out must end in .json for a classifier's scores, but got {out}")
    elif not pickle:
        raise UserError(f"--out must end in .pkl or .pickle for a detector's predictions, but got {out}")


def _saving(out: str, scope: str | None, dataset: Any) -> BaseMetric:
    """What writes the predictions."""
    images = getattr(dataset, 'data_prefix', {}).get('img_path')
    if scope == 'mmseg':
        return SavedMaps(out, images)
    if scope == 'mmpretrain':
        return SavedScores(out, dataset.metainfo.get('classes') or (), images)
    # Imported here, since only detectors need mmdet.
    from mmdet.evaluation import DumpDetResults

    return DumpDetResults(out_file_path=out)


def _draw(cfg: Config, segments: bool, show: bool, wait_time: float, show_dir: str | None) -> None:
    """Draw the predictions, as the tools/test.py of mmdet or of mmseg does."""
    if 'visualization' not in cfg.get('default_hooks', {}):
        raise UserError('--show and --show-dir need default_hooks.visualization, which the config lacks')
    cfg.default_hooks.visualization.update(draw=True, show=show, wait_time=wait_time)
    if not segments:
        cfg.default_hooks.visualization.test_out_dir = show_dir
        return
    cfg.default_hooks.visualization.interval = 1  # in mmseg 1.2.2 it holds for tests too
    if show_dir:
        cfg.visualizer.save_dir = show_dir


def _flip(cfg: Config, segments: bool) -> None:
    """Test every image as it is and flipped, unless the config has a ``tta_model`` of its own."""
    if cfg.model.get('roi_head', {}).get('mask_head'):
        raise UserError('--tta works for detectors without masks, since mmdet merges boxes alone; test without it')
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if segments:
        model = dict(type='SegTTAModel')
        pack = dict(type='PackSegInputs')
    else:
        model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
        meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
        pack = dict(type='PackDetInputs', meta_keys=meta_keys)
    cfg.setdefault('tta_model', model)
    # The image as it is comes first, since the merged prediction is compared with its annotations.
    flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
    cfg.setdefault('tta_pipeline', [*dataset.pipeline[:-1], dict(type='TestTimeAug', transforms=[flips, [pack]])])
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline

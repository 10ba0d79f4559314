"""Checks of the data that a config names, made before training starts rather than in the middle of it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from .annotations import Annotations, DataError, check_annotations, repaired_copy
from .folders import check_folders
from .selection import check_classes, check_files, check_selection

__all__ = ['DataError', 'check_data', 'check_dataset_config', 'explain_empty', 'use_copies']


def check_data(datasets: Iterable[dict], evaluators: Any, folder: str | Path) -> tuple[dict[str, str], list[str]]:
    """Check all data sets of a training or test together, and the annotations that they are measured by.

    Args:
        datasets: The configs of the data sets, which may wrap others.
        evaluators: The configs of the evaluators, or None.
        folder: Where copies of annotation files are written that need a repair, see
            :func:`~mmfasternet.datasets.annotations.repaired_copy`.

    Returns:
        The files that are to be read in place of others, path → path, and what a user should know.

    Raises:
        DataError: If something is wrong; one message has what is wrong with each data set.

    Example:
        >>> check_data([dict(type='RepeatDataset', dataset=dict(type='CocoDataset'))], None, 'annotations')
        ({}, [])
    """
    leaves = [leaf for dataset in datasets for leaf in _leaves(dataset)]
    metrics = [metric for metric in _dicts(evaluators) if _type(metric).endswith('CocoMetric')]
    metrics = [metric for metric in metrics if _is_local_json(metric)]
    files: dict[str, Annotations] = {}
    faults, notes = [], []
    for leaf in leaves:
        segm = any('segm' in (metric.get('metric') or ()) for metric in metrics) and leaf.get('test_mode', False)
        try:
            found = _check_leaf(leaf, segm, folder)
        except DataError as error:
            faults.append(str(error))
            continue
        if found is not None:
            files[str(_path(leaf))] = found[0]
            notes += found[1]
    for metric in metrics:
        try:
            files.setdefault(str(_path(metric)), _check_measured(metric['ann_file'], leaves, folder))
        except DataError as error:
            faults.append(str(error))
    try:
        _check_classifiers(leaves)
    except DataError as error:
        faults.append(str(error))
    if faults:
        raise DataError('\n'.join(dict.fromkeys(faults)))
    copies = {}
    for path, found in files.items():
        if found.repairs:
            copies[path] = str(repaired_copy(path, folder))
            notes.append(f'{path} is read from a repaired copy, {copies[path]}: {"; ".join(found.repairs)}')
        if found.notes:
            notes.append(found.notes.text(path, 'annotations to look at'))
    return copies, list(dict.fromkeys(notes))


def use_copies(configs: Any, copies: dict[str, str]) -> None:
    """Let data sets and evaluators read other files of annotations.

    Args:
        configs: Their configs, or a list of configs, which are changed in place.
        copies: Path → path, from :func:`check_data`.

    Example:
        >>> config = dict(dataset=dict(data_root='data', ann_file='a.json'))
        >>> use_copies(config, {'data/a.json': '/runs/annotations/a_1.json'})
        >>> config['dataset']['ann_file']
        '/runs/annotations/a_1.json'
    """
    for config in _dicts(configs):
        if isinstance(config.get('ann_file'), str):
            config['ann_file'] = copies.get(str(_path(config)), config['ann_file'])


def check_dataset_config(cfg: dict) -> None:
    """Make sure that the files and folders of a data set exist, and that it can be trained or tested on.

    Args:
        cfg: The data set's config, which may wrap others (``dataset`` or ``datasets``).

    Raises:
        DataError: If something is wrong, see :func:`check_data`.

    Example:
        >>> check_dataset_config(dict(type='RepeatDataset', dataset=dict(type='CocoDataset')))
    """
    for leaf in _leaves(cfg):
        _check_leaf(leaf)


def _check_leaf(
    leaf: dict, segm: bool = False, folder: str | Path | None = None
) -> tuple[Annotations, list[str]] | None:
    """Check one data set; gives its annotations, if they are COCO's, and what a user should know."""
    root = leaf.get('data_root') or ''
    prefix = leaf.get('data_prefix') or {}
    # mmpretrain's data sets name one folder, or a split that has the name of its folder.
    prefix = dict(img=prefix or leaf.get('split')) if isinstance(prefix, str) or not prefix else prefix
    named = [leaf.get('ann_file'), *(prefix.get(key) for key in ('img', 'img_path', 'seg_map_path'))]
    wanted = [name for name in named if isinstance(name, str) and name]
    _check_pipeline(leaf)
    if leaf.get('backend_args') or any('://' in str(path) for path in (root, *wanted)):
        return None  # mmengine reads cloud storage
    missing = [name for name in wanted if not Path(root, name).exists()]
    if missing:
        raise DataError(
            f'no data at {Path(root).absolute()}: it must hold {" and ".join(wanted)}, and lacks '
            f'{" and ".join(missing)}. If the data is elsewhere, set --cfg-options data_root=FOLDER or, for '
            'detectors, MMDET_DATASETS=FOLDER. The demo (`mmfasternet demo`, or `make demo` in a '
            'clone) generates its data and needs no download.'
        )
    if not _is_local_json(leaf):
        return None
    path, is_coco = _path(leaf), _is_coco(leaf)
    found = check_annotations(path, is_coco, folder)
    if found is None or not is_coco:
        return None
    if isinstance(prefix.get('img'), str):
        check_files(path, found.file_names, Path(root, prefix['img']))
    classes, steps = _classes(leaf), [step for step in _dicts(leaf.get('pipeline')) if _type(step)]
    if not classes or any(_type(step) == 'LoadEmptyAnnotations' for step in steps):
        return found, []  # images without labels, of a semi-supervised training
    check_classes(path, found, classes)
    trains = not leaf.get('test_mode')
    masks = [step for step in steps if _type(step).endswith('LoadAnnotations') and step.get('with_mask')]
    notes = check_selection(
        path,
        found,
        classes,
        trains=trains,
        filter_cfg=leaf.get('filter_cfg') if trains else None,
        with_masks=segm or bool(masks),
        only_polygons=trains and any(step.get('poly2mask') is False for step in masks),
    )
    return found, notes


def _check_pipeline(leaf: dict) -> None:
    for step in _dicts(leaf.get('pipeline')):
        scale = step.get('scale')
        one = isinstance(scale, (list, tuple)) and all(isinstance(side, int) for side in scale)
        if _type(step) == 'RandomResize' and one and not step.get('ratio_range'):
            small = tuple(round(side * 0.8) for side in scale)
            raise DataError(
                f'RandomResize draws a scale from two, but the config has scale={tuple(scale)}: write '
                f'scale=[{small}, {tuple(scale)}], or ratio_range=(0.8, 1.0) beside it'
            )


def _check_measured(path: str, leaves: list[dict], folder: str | Path) -> Annotations:
    """Check the annotations that an evaluator compares predictions with."""
    if not Path(path).is_file():
        raise DataError(f'the evaluator compares with {path}, which does not exist; set its ann_file (val_evaluator)')
    found = check_annotations(path, folder=folder)
    tested = [leaf for leaf in leaves if leaf.get('test_mode') and _is_coco(leaf) and _is_local_json(leaf)]
    for leaf in tested:
        own = _path(leaf)
        if own.resolve() == Path(path).resolve():
            continue
        images = check_annotations(own).images
        if not images.keys() <= found.images.keys():
            raise DataError(
                f'the evaluator compares with {path}, which lacks {len(images.keys() - found.images.keys())} of the '
                f'{len(images)} image ids of {own}, which it is to measure; set ann_file of the evaluator to that file'
            )
        check_classes(path, found, _classes(leaf))
    return found


def _check_classifiers(leaves: list[dict]) -> None:
    """Check the folders of classes of all data sets together."""
    folders, classes = {}, None
    for leaf in leaves:
        if (
            not _bases(leaf).keys() & {'CustomDataset', 'ImageNet'}
            or leaf.get('ann_file')
            or not leaf.get('with_label', True)
        ):
            continue
        prefix = leaf.get('data_prefix') or leaf.get('split') or ''
        prefix = prefix.get('img_path', '') if isinstance(prefix, dict) else prefix
        folder = Path(leaf.get('data_root') or '', prefix)
        if folder.is_dir() and not leaf.get('backend_args'):
            folders[folder] = None
            classes = classes or leaf.get('classes') or (leaf.get('metainfo') or {}).get('classes')
    check_folders(list(folders), None if isinstance(classes, str) else classes)


def explain_empty(cfg: dict) -> None:
    """Explain why mmengine could not serialize a data set, if the reason is that a folder has no image.

    Args:
        cfg: The data set's config, which may wrap others.

    Raises:
        DataError: If it has none.

    Example:
        >>> explain_empty(dict(type='ADE20KDataset'))
    """
    for leaf in _leaves(cfg):
        _check_folder(leaf)


def _check_folder(leaf: dict) -> None:
    """Without an ``ann_file``, mmseg takes the files that it finds in a folder."""
    prefix = leaf.get('data_prefix')
    if not isinstance(prefix, dict) or 'img_path' not in prefix or leaf.get('ann_file'):
        return
    folder, suffix = Path(leaf.get('data_root') or '', prefix['img_path']), leaf.get('img_suffix', '')
    if not any(path.name.endswith(suffix) for path in folder.rglob('*') if path.is_file()):
        raise DataError(
            f'{folder} has no image{suffix and f" whose name ends in {suffix}"}; set data_prefix and img_suffix of '
            'the data set to the folder and the ending of its images'
        )


def _type(config: dict) -> str:
    """The name of what a config is built into; configs in mmengine's new style name the class itself."""
    kind = config.get('type')
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')


def _class(leaf: dict) -> type | None:
    kind = leaf.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(leaf.get('_scope_')) as registry:
            kind = registry.get(kind)
    return kind if isinstance(kind, type) else None


def _bases(leaf: dict) -> dict[str, type]:
    return {base.__name__: base for base in reversed(getattr(_class(leaf), '__mro__', ()))}


def _is_coco(leaf: dict) -> bool:
    """Whether mmdet's CocoDataset reads its annotations; other data sets have JSON files of other formats."""
    kind, coco = _class(leaf), _bases(leaf).get('CocoDataset')
    if kind is None:
        return _type(leaf).endswith('CocoDataset')
    return coco is not None and (kind.load_data_list, kind.COCOAPI) == (coco.load_data_list, coco.COCOAPI)


def _classes(leaf: dict) -> tuple[str, ...]:
    """The names of the classes: the config's, in place of the data set's own."""
    classes = (leaf.get('metainfo') or {}).get('classes')
    if classes is None:
        classes = getattr(_class(leaf), 'METAINFO', {}).get('classes')
    if isinstance(classes, str):
        # mmengine reads the lines of a file, and takes any other text for the name of one class.
        return tuple(Path(classes).read_text().splitlines()) if Path(classes).is_file() else (classes,)
    return tuple(classes or ())


def _path(config: dict) -> Path:
    return Path(config.get('data_root') or '', config['ann_file'])


def _is_local_json(config: dict) -> bool:
    file = config.get('ann_file')
    return isinstance(file, str) and file.endswith('.json') and '://' not in file and not config.get('backend_args')


def _dicts(config: Any) -> Iterator[dict]:
    """All dicts in a config."""
    if isinstance(config, dict):
        yield config
    for item in config.values() if isinstance(config, dict) else config if isinstance(config, (list, tuple)) else ():
        yield from _dicts(item)


def _leaves(cfg: dict) -> Iterator[dict]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset."""
    inner = [cfg['dataset']] if 'dataset' in cfg else cfg.get('datasets', [])
    if not inner:
        yield cfg
    for item in inner:
        yield from _leaves(item)

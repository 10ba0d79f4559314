"""From a config file and command-line options to the config that a tool runs."""

import difflib
import inspect
import os
from importlib.util import find_spec
from pathlib import Path
from traceback import walk_tb
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from mmfasternet.errors import UserError

from .ops import provide_ops
from .options import check_options, check_values

__all__ = [
    'class_names',
    'dataset_meta',
    'find_config',
    'load_config',
    'move_data_root',
    'project_root',
    'dataset_tested_on',
]

_MAIN_CONFIG = 'configs/mask_rcnn_fasternet_s.py'

# Scope → its package, as the two package sets name it.
_DISTRIBUTIONS = dict(
    mmdet='onedl-mmdetection (or mmdet)',
    mmseg='onedl-mmsegmentation (or mmsegmentation)',
    mmpretrain='onedl-mmpretrain (or mmpretrain)',
)


def find_config(name: str | Path) -> Path:
    """Find a config by its path, or by its name if it is one of the project's.

    Args:
        name: Path of a config file, or the name of a file in the project's ``configs/``, with or without '.py'. Bases,
            which start with an underscore or are in a folder that does, have no name. A file in the current folder
            comes first.

    Returns:
        Path of the file.

    Raises:
        UserError: If there is no such file, or there are several of this name.

    Example:
        >>> find_config('mask_rcnn_fasternet_s').relative_to(project_root()).as_posix()
        'configs/mask_rcnn_fasternet_s.py'
    """
    path = Path(name)
    if path.is_file():
        return path
    configs = project_root() / 'configs'
    files = [file for file in configs.rglob('*.py') if not _is_base(file.relative_to(configs))]
    stem = path.name.removesuffix('.py')
    found = sorted(file for file in files if file.stem == stem)
    if len(found) > 1:
        raise UserError(f'config {name} names several files, give the path of one: {", ".join(map(str, found))}')
    if found and path.name == str(name):
        return found[0]
    near = difflib.get_close_matches(stem, sorted({file.stem for file in files}), n=5)
    hint = f'; names like it: {", ".join(near)}' if near else ''
    raise UserError(f'config {name} does not exist; give the path of a file, or the name of one in {configs}{hint}')


def class_names(dataset: dict) -> list[str]:
    """The names of the classes that the config of a data set has.

    Args:
        dataset: The config; its class is looked up in the current scope.

    Returns:
        The names: mmpretrain's ``classes``, ``metainfo``'s, or else those of the class. Empty if there are none.

    Example:
        >>> class_names(dict(type='CocoDataset', metainfo=dict(classes=('cat', 'dog'))))
        ['cat', 'dog']
    """
    return list(dataset_meta(dataset).get('classes') or [])


def dataset_meta(dataset: dict) -> dict[str, Any]:
    """What the config of a data set says of its classes.

    Args:
        dataset: The config; its class is looked up in the current scope.

    Returns:
        ``classes`` and ``palette``, as far as there are any: mmpretrain's ``classes``, ``metainfo``'s, or else those of
        the class.

    Example:
        >>> dataset_meta(dict(type='CocoDataset', metainfo=dict(palette=[(0, 0, 9)]), classes=['cat']))
        {'palette': [(0, 0, 9)], 'classes': ['cat']}
    """
    # The root registry does not know mmdet's data sets.
    with DATASETS.switch_scope_and_registry(None) as registry:
        kind = dataset.get('type', '')
        kind = registry.get(kind) if isinstance(kind, str) else kind
    own = dict(classes=dataset['classes']) if dataset.get('classes') else {}
    return {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {}), **own}


def dataset_tested_on(cfg: Config, split: str = 'test') -> dict:
    """The data set that a config tests on, without what wraps it.

    Args:
        cfg: The config.
        split: 'test', or 'val' for what it validates on. Defaults to 'test'.

    Returns:
        Its config; empty if there is none.

    Example:
        >>> dataset_tested_on(Config(dict(test_dataloader=dict(dataset=dict(dataset=dict(type='A')))))).type
        'A'
    """
    dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def _is_base(path: Path) -> bool:
    """Whether a config is one that others inherit, and no model of its own."""
    return any(part.startswith('_') for part in path.parts)


def load_config(path: str | Path, cfg_options: dict | None = None, work_dir: str | None = None) -> Config:
    """Load a config for this project's tools.

    Options override the file. Every path below the file's ``data_root`` moves to the new ``data_root`` of the options
    or, in a config of mmdet's scope, of the environment variable ``MMDET_DATASETS``. The runner is
    :class:`StrictRunner` unless the file names another one.

    Args:
        path: The config file, or the name of one of the project's, see :func:`find_config`.
        cfg_options: Dotted key → value, as ``--cfg-options`` gives them. Defaults to None.
        work_dir: Where logs and checkpoints go. None means the file's, or else ``work_dirs/<its name>``. Defaults to
            None.

    Returns:
        The resolved config.

    Raises:
        UserError: If there is no such file, it or one of its bases can't be read, one of its imports fails, the package
            of its scope is not installed, or an option sets nothing that is read, see
            :func:`~mmfasternet.engine.options.check_options`.

    Example:
        >>> cfg = load_config('configs/mask_rcnn_fasternet_s.py', dict(data_root='/data/coco'))
        >>> cfg.val_evaluator.ann_file
        '/data/coco/annotations/instances_val2017.json'
    """
    path = find_config(path)
    # A config may import parts of mmdet.
    provide_ops()
    cfg = _read(path)
    if cfg.get('default_scope') is None:
        cfg.default_scope = _scope_of(cfg.model.get('type'))
    scope = cfg.default_scope
    if scope in _DISTRIBUTIONS and find_spec(scope) is None:
        raise UserError(f'{path} needs {scope}, which is not installed: pip install {_DISTRIBUTIONS[scope]}')
    old_root = cfg.get('data_root')
    if cfg_options:
        check_options(cfg.to_dict(), cfg_options)
        cfg.merge_from_dict(cfg_options)
    check_values(cfg)
    new_root = (cfg_options or {}).get('data_root')
    if not new_root and scope == 'mmdet':
        new_root = os.environ.get('MMDET_DATASETS')
    if old_root and new_root:
        cfg.merge_from_dict(move_data_root(cfg.to_dict(), old_root, new_root))
    cfg.work_dir = work_dir or cfg.get('work_dir') or os.path.join('work_dirs', Path(path).stem)
    cfg.setdefault('runner_type', 'StrictRunner')
    return cfg


def _read(path: Path) -> Config:
    """Execute a config file and those that it inherits; a failure is one message that names file and line."""
    if path.suffix not in ('.py', '.yaml', '.yml', '.json'):
        raise UserError(f'{path} is not a config: it must be a .py, .yaml or .json file')
    try:
        cfg = Config.fromfile(path)
    except ImportError as error:
        # mmengine wraps the error of a custom import in two of its own.
        reason = error
        while reason.__cause__ or reason.__context__:
            reason = reason.__cause__ or reason.__context__
        raise UserError(f'{path} cannot be loaded, because one of its imports failed: {reason}') from error
    except Exception as error:
        # A config is code, which may raise anything.
        reason = (str(error).splitlines() or [''])[0]
        raise UserError(f'{path} cannot be loaded{_place(error)} ({type(error).__name__}: {reason})') from error
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'{path} is not a config: it has no model with a backbone, set model=dict(type=…)')
    return cfg


def _scope_of(kind: Any) -> str:
    """The scope that a config leaves out, as mmengine's new style may: the package of its model."""
    package = getattr(kind, '__module__', '').partition('.')[0]
    return package if package in _DISTRIBUTIONS else 'mmdet'


def _place(error: Exception) -> str:
    """The file, of a config and those that it inherits, that raised an error, and its line if there is one."""
    file, line = '', getattr(error, 'lineno', None)
    for frame, at in walk_tb(error.__traceback__):
        code = frame.f_code
        # mmengine looks at the syntax of a file before it executes it.
        if code.co_filename == inspect.getfile(Config) and 'filename' in frame.f_locals:
            file = str(frame.f_locals['filename'])
        elif code.co_name == '<module>' and code.co_filename in ('', file):
            line = at
    return f': line {line} of {file}' if line else f': {file}' if file else ''


def move_data_root(value: Any, old_root: str, new_root: str) -> Any:
    """Copy a config, with every path at or below ``old_root`` moved below ``new_root``.

    Args:
        value: Any part of a config.
        old_root: Folder that paths start with.
        new_root: Folder that takes its place.

    Returns:
        The copy.

    Example:
        >>> move_data_root(dict(ann_file='data/coco/annotations/a.json', other='data/coco2'), 'data/coco/', '/d')
        {'ann_file': '/d/annotations/a.json', 'other': 'data/coco2'}
    """
    if isinstance(value, dict):
        return {key: move_data_root(item, old_root, new_root) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(move_data_root(item, old_root, new_root) for item in value)
    old = old_root.rstrip('/')
    if isinstance(value, str) and (value.rstrip('/') == old or value.startswith(f'{old}/')):
        return new_root.rstrip('/') + value[len(old) :]
    return value


def project_root() -> Path:
    """The folder that holds ``configs/`` and ``tools/``: the clone, or the ``.mim`` of an installed package.

    Returns:
        The folder.

    Raises:
        UserError: If neither exists.

    Example:
        >>> (project_root() / 'configs/mask_rcnn_fasternet_s.py').is_file()
        True
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package.parent, package / '.mim'):
        if (root / _MAIN_CONFIG).is_file():
            return root
    raise UserError(f'no configs beside {package} or in its .mim: install mmfasternet with `pip install`, or clone it')

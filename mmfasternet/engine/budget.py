"""What a training is started with, kept in its work dir, so that no other training takes its checkpoints."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmfasternet.datasets.shapes import MANIFEST
from mmfasternet.errors import UserError
from mmfasternet.files import file_digest, write_json

from .config import move_data_root

__all__ = ['claim_work_dir']

_FILE = 'budget.json'
_SHOWN = 5  # differences


def claim_work_dir(work_dir: str | Path, config: Config) -> None:
    """Write into a work dir what is trained there: the config, and digests of the data that it names.

    Where the data lies does not count, and neither does the work dir.

    Args:
        work_dir: The work dir, created if it is missing.
        config: The complete config, see :func:`~mmfasternet.engine.config.load_config`.

    Raises:
        UserError: If something else was trained there, or nothing says what was; the message names what differs.

    Example:
        >>> claim_work_dir('claimed', Config(dict(train_cfg=dict(max_epochs=2))))
        >>> try:
        ...     claim_work_dir('claimed', Config(dict(train_cfg=dict(max_epochs=3))))
        ... except UserError as error:
        ...     print(str(error).partition(':')[0])
        claimed has a training of other settings (config.train_cfg.max_epochs was 2 and is now 3)
    """
    path, budget = Path(work_dir, _FILE), _budget(config)
    if path.exists():
        differences = list(_differences(_read(path), budget))
        if differences:
            raise UserError(
                f'{work_dir} has a training of other settings ({"; ".join(differences[:_SHOWN])}'
                f'{", …" * (len(differences) > _SHOWN)}): remove that folder, or train in another one'
            )
        return
    if checkpoints := sorted(path.parent.glob('*.pth')):
        raise UserError(
            f'{checkpoints[-1]} was trained with unknown settings, since there is no {path}: remove that folder, or '
            'train in another one'
        )
    write_json(path, budget)


def _budget(config: Config) -> dict[str, Any]:
    settings = config.to_dict()
    settings.pop('work_dir', None)
    root = settings.get('data_root')
    if root:
        settings = move_data_root(settings, root, 'DATA_ROOT')
    # Through JSON, so that it compares equal to what is read.
    return json.loads(json.dumps(dict(config=settings, data=_digests(config)), default=str))


def _digests(config: Config) -> dict[str, str]:
    """SHA-256 of the training's annotations, and of the manifest of generated data, as far as there are such files."""
    dataset = config.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    root = Path(dataset.get('data_root') or config.get('data_root') or '')
    names = [name for name in (dataset.get('ann_file'), MANIFEST) if isinstance(name, str) and name]
    return {name: file_digest(root / name) for name in names if (root / name).is_file()}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} cannot be read ({error}): remove its folder, or train in another one') from error


def _differences(before: Any, now: Any, name: str = '') -> Iterator[str]:
    """Each setting that differs, by its dotted name."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from _differences(before.get(key), now.get(key), f'{name}.{key}' if name else key)
    elif before != now:
        yield f'{name} was {_shown(before)} and is now {_shown(now)}'


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:60]}…'

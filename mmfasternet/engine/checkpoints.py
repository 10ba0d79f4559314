"""The checkpoints of a run: which one it resumes, which of them it keeps, and that none is lost."""

import logging
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmfasternet.errors import UserError
from mmfasternet.weights.reader import CheckpointError, UntrustedCheckpointError, read_checkpoint, read_metadata

from .validations import VALIDATIONS

__all__ = ['SafeCheckpointHook', 'latest_checkpoint', 'set_aside']

_RESUMABLE = r'(epoch|iter|stopped_iter)_(\d+)\.pth'
_BEST = r'best_.+_(epoch|iter)_\d+\.pth'
_NOTES = ('last_checkpoint',)


def latest_checkpoint(work_dir: str | Path, *elsewhere: str | Path) -> str | None:
    """The checkpoint of a run that is the furthest in its training, by the iteration that each file names.

    Files that can't be read are left out, and named in a message. ``last_checkpoint`` counts only as the name of one
    more file, since a kill may leave it empty or stale.

    Args:
        work_dir: The run's folder.
        elsewhere: Other folders that it saves to.

    Returns:
        The path, or None if there is no checkpoint.

    Raises:
        UserError: If there are checkpoints, and none of them can be read.

    Example:
        >>> latest_checkpoint('work_dirs/never_run') is None
        True
    """
    candidates, damaged = [], []
    for path in _candidates(Path(work_dir), *map(Path, elsewhere)):
        try:
            candidates.append((_iteration(path), path.stat().st_mtime, path))
        except CheckpointError as error:
            damaged.append(str(error))
    for _, _, path in sorted(candidates, reverse=True):
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            print_log(f'Left out, the checkpoint before it is used: {message}', logger='current', level=logging.WARNING)
        return str(path)
    if damaged:
        raise UserError(
            f'no checkpoint in {work_dir} can be read; to train from the beginning, remove them: {"; ".join(damaged)}'
        )
    return None


def set_aside(work_dir: str | Path, beyond: int, name: str) -> None:
    """Move the checkpoints of another training out of the way of one that begins in the same folder.

    They would be overwritten one by one, and a resumed training would take one of them for its own.

    Args:
        work_dir: The folder.
        beyond: Those behind this iteration are moved; the best ones only if it is negative: with a training that
            resumes in its own folder, they belong to it.
        name: Of the folder in it that takes them, created if it is needed.

    Example:
        >>> import torch
        >>> Path('run').mkdir()
        >>> torch.save(dict(meta=dict(epoch=2, iter=20)), 'run/epoch_2.pth')
        >>> set_aside('run', beyond=-1, name='before_20260101')
        >>> [path.as_posix() for path in Path('run').rglob('*.pth')]
        ['run/before_20260101/epoch_2.pth']
    """
    work_dir = Path(work_dir)
    former = []
    for path in work_dir.glob('*.pth'):
        if re.fullmatch(_RESUMABLE, path.name):
            try:
                if _iteration(path) > beyond:
                    former.append(path)
            except CheckpointError:
                former.append(path)
        elif beyond < 0 and re.fullmatch(_BEST, path.name):
            former.append(path)
    if not former:
        return
    (work_dir / name).mkdir(exist_ok=True)
    # A training that resumes in its own folder has the validations up to its own iteration.
    notes = [*_NOTES, *([VALIDATIONS] if beyond < 0 else [])]
    for path in [*former, *(work_dir / note for note in notes if (work_dir / note).is_file())]:
        path.rename(work_dir / name / path.name)
    print_log(
        f'{len(former)} checkpoints of another training lay in {work_dir}: they are in {work_dir / name} now '
        f'({", ".join(sorted(path.name for path in former))})',
        logger='current',
        level=logging.WARNING,
    )


def _candidates(work_dir: Path, *elsewhere: Path) -> Iterator[Path]:
    """The files in a run's folders that may be checkpoints, and the one that ``last_checkpoint`` names."""
    paths = (path for folder in (work_dir, *elsewhere) for path in folder.glob('*.pth'))
    found = [path for path in paths if re.fullmatch(_RESUMABLE, path.name) and path.is_file()]
    yield from found
    try:
        # A hook with an out_dir saves elsewhere, and one with a filename_tmpl under another name.
        named = Path((work_dir / 'last_checkpoint').read_text().strip())
        if named.suffix == '.pth' and named.absolute() not in [path.absolute() for path in found] and named.is_file():
            yield named
    except (OSError, ValueError):  # missing, no UTF-8, a name that no file can have
        pass


def _iteration(path: Path) -> int:
    """The iteration that a checkpoint was saved after, as the file says, or else the number in its name."""
    try:
        meta = read_metadata(path).get('meta')
    except UntrustedCheckpointError:
        meta = read_checkpoint(path).get('meta')  # where checkpoints are trusted
    iteration = meta.get('iter') if isinstance(meta, dict) else None
    number = re.search(r'_(\d+)\.pth$', path.name)
    return iteration if type(iteration) is int else int(number[1]) if number else 0


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """``CheckpointHook`` that removes nothing before something better is safe, and nothing that is not the run's own.

    An outdated checkpoint is removed only when the training has gone on from the new one with a finite loss, and a
    former best one only after the new one is saved. What a checkpoint says about files counts only where the training
    resumes in the folder that it was saved to.

    Its options are those of mmengine's ``CheckpointHook``.
    """

    def folder(self, runner: Runner) -> Path:
        """Where it saves: in ``out_dir``, mmengine adds the name of the work dir.

        Args:
            runner: The runner.

        Returns:
            The folder.
        """
        if self.out_dir in (None, runner.work_dir):
            return Path(runner.work_dir)
        return Path(self.out_dir, Path(runner.work_dir).name)

    def best_paths(self) -> dict[str, str | None]:
        """The best checkpoints so far.

        Returns:
            Metric → path, or None before the first one.
        """
        if not self.save_best:
            return {}
        # mmengine stores one metric and several in different attributes.
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def before_train(self, runner: Runner) -> None:
        self._forget_others(runner)
        most, self.max_keep_ckpts = self.max_keep_ckpts, -1  # mmengine would remove those beyond it now
        super().before_train(runner)
        self.max_keep_ckpts = most
        self._has_saved = True  # what lies there may be more than is kept
        self.keep_ckpt_ids = deque(runner.message_hub.runtime_info.get('keep_ckpt_ids', ()))

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        # The loss of this iteration, which a hook of higher priority has checked, is that of the saved weights.
        self._remove_outdated(runner)
        super().after_train_iter(runner, *args, **kwargs)

    def after_train(self, runner: Runner) -> None:
        self._remove_outdated(runner)
        super().after_train(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        most, self.max_keep_ckpts = self.max_keep_ckpts, -1  # mmengine would remove one before it saves
        if most > 0 and step not in self.keep_ckpt_ids:
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
            self._has_saved = True
        finally:
            self.max_keep_ckpts = most

    def _remove_outdated(self, runner: Runner) -> None:
        if not self._has_saved:
            return
        self._has_saved = False
        if outdated := list(self._outdated(runner)):
            # On a GPU, the loss would be looked at later.
            runner.confirm_losses()
        for path in outdated:
            self._remove(path)

    def _outdated(self, runner: Runner) -> Iterator[str]:
        """The checkpoints beyond ``max_keep_ckpts``, and those of requests to stop that are older than the rest."""
        while 0 < self.max_keep_ckpts < len(self.keep_ckpt_ids):
            step = self.keep_ckpt_ids.popleft()
            yield self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        if self.last_ckpt is not None and is_main_process():
            # A loop of the user's own does not say what is saved.
            saved = getattr(runner.train_loop, 'saved', 0)
            for path in Path(runner.work_dir).glob('stopped_iter_*.pth'):
                if (found := re.fullmatch(_RESUMABLE, path.name)) and int(found[2]) <= saved:
                    yield str(path)

    def _forget_others(self, runner: Runner) -> None:
        """Drop what a checkpoint from another folder, or a made-up one, says about files to remove."""
        info, folder = runner.message_hub.runtime_info, self.folder(runner)
        for key in [key for key in info if key == 'best_ckpt' or key.startswith('best_ckpt_')]:
            path = Path(str(info[key]))
            if path.parent.absolute() != folder.absolute() or not re.fullmatch(_BEST, path.name):
                del info[key]
        steps = info.get('keep_ckpt_ids')
        own = runner.resumed_from is not None and Path(runner.resumed_from).parent.resolve() == folder.resolve()
        if not own or not isinstance(steps, list) or not all(type(step) is int and step >= 0 for step in steps):
            info.pop('keep_ckpt_ids', None)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        # mmengine removes the former best before it saves, unless it does not know its path.
        former = self.best_paths()
        self._set_best_paths(dict.fromkeys(former))
        super()._save_best_checkpoint(runner, metrics)
        new = self.best_paths()
        self._set_best_paths({indicator: path or former.get(indicator) for indicator, path in new.items()})
        for indicator, path in former.items():
            if path and new.get(indicator) not in (None, path):
                self._remove(path)

    def _set_best_paths(self, paths: dict[str, str | None]) -> None:
        if len(paths) == 1:
            (self.best_ckpt_path,) = paths.values()
        elif paths:
            self.best_ckpt_path_dict = dict(paths)

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)

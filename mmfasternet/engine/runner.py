"""mmengine's runner, with safe and strict loading, saves that survive a kill, and several processes on CPUs."""

import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import is_distributed, is_main_process, master_only
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS, RUNNERS, DefaultScope
from mmengine.runner import BaseLoop, CheckpointLoader, Runner
from torch import nn

from mmfasternet.datasets.check import DataError, check_dataset_config, check_images, explain_empty
from mmfasternet.errors import UserError
from mmfasternet.files import replacing
from mmfasternet.weights.reader import use_safe_reader
from mmfasternet.weights.state_dict import check_whole_model, unwrap

from . import compile_hook  # noqa: F401, registers its hook
from .model import to_channels_last, widen_rois
from .ops import provide_ops

__all__ = ['SafeCheckpointHook', 'SafeLoggerHook', 'StrictRunner', 'latest_checkpoint']


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """The newest complete checkpoint of a run.

    After a kill, ``last_checkpoint`` may be empty, name a file that is gone, or name an older one than the newest.

    Args:
        work_dir: The run's folder.

    Returns:
        The path, or None if there is no complete checkpoint.

    Example:
        >>> latest_checkpoint('work_dirs/never_run') is None
        True
    """
    work_dir = Path(work_dir)
    candidates = {path for path in work_dir.glob('*.pth') if re.fullmatch(r'(epoch|iter)_\d+\.pth', path.name)}
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file() and (named := pointer.read_text().strip()):
        candidates.add(Path(named))
    # A zip file's directory is at its end: a truncated file has none.
    complete = [path for path in candidates if path.is_file() and zipfile.is_zipfile(path)]
    return str(max(complete, key=lambda path: path.stat().st_mtime)) if complete else None


def _check_writable(work_dir: str | Path) -> None:
    """Make sure that a run can write its logs and checkpoints, before anything is built."""
    try:
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir):
            pass
    except OSError as error:
        raise UserError(f'cannot write to work_dir {work_dir} ({error}); choose another with --work-dir') from error


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """``CheckpointHook`` that removes an outdated or former best checkpoint only after the new one is saved.

    Its options are those of mmengine's ``CheckpointHook``.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = None
        if 0 < self.max_keep_ckpts == len(self.keep_ckpt_ids) and self.keep_ckpt_ids[-1] != step:
            # mmengine then finds room in its list, and removes nothing before it saves.
            outdated = self.keep_ckpt_ids.popleft()
        super()._save_checkpoint_with_step(runner, step, meta)
        if outdated is not None:
            self._remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated)))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        # mmengine removes the former best before it saves, unless it does not know its path.
        former = self._best_paths()
        self._set_best_paths(dict.fromkeys(former))
        super()._save_best_checkpoint(runner, metrics)
        new = self._best_paths()
        self._set_best_paths({indicator: path or former.get(indicator) for indicator, path in new.items()})
        for indicator, path in former.items():
            if path and new.get(indicator) not in (None, path):
                self._remove(path)

    def _best_paths(self) -> dict[str, str | None]:
        """Metric → best checkpoint so far; mmengine stores one metric and several in different attributes."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best_paths(self, paths: dict[str, str | None]) -> None:
        if len(paths) == 1:
            (self.best_ckpt_path,) = paths.values()
        elif paths:
            self.best_ckpt_path_dict = dict(paths)

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)


@HOOKS.register_module()
class SafeLoggerHook(LoggerHook):
    """``LoggerHook`` that writes the metrics of a test in the main process alone.

    mmengine's hook writes the same file from every process at once, which may leave it unreadable. Its options are
    those of mmengine's ``LoggerHook``.
    """

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        super().after_test_epoch(runner, metrics)


@RUNNERS.register_module()
class StrictRunner(Runner):
    """mmengine's ``Runner`` without silent surprises.

    - Checkpoints are read without running code in them, see :func:`~mmfasternet.weights.reader.use_safe_reader`.
    - ``load_from`` and tests fail if the checkpoint lacks an entry of the model. In training, heads for another number
      of classes start afresh, and are listed.
    - Checkpoints are written under a temporary name and renamed, and ``resume`` finds the newest complete one.
    - ``channels_last=True`` in the config keeps the model in that memory format.
    - In mixed precision, features of RoIs are pooled in float32, see :func:`~mmfasternet.engine.model.widen_rois`.
    - With several processes, the main one alone writes the metrics of a test.
    - Several processes work without a GPU (gloo, ``launcher='pytorch'``).
    - Data that is missing, or whose annotations don't match its images, is one error before training starts.

    Its arguments are those of ``Runner``; a config asks for it by ``runner_type='StrictRunner'``.

    Raises:
        UserError: If ``work_dir`` can't be written.
    """

    def __init__(self, model: nn.Module | dict, work_dir: str, *args: Any, **kwargs: Any) -> None:
        provide_ops()
        use_safe_reader()
        _check_writable(work_dir)
        super().__init__(model, work_dir, *args, **kwargs)
        if is_main_process():
            # What a kill during a save has left.
            for part in Path(work_dir).glob('.*.pth.*.part'):
                part.unlink()

    def setup_env(self, env_cfg: dict) -> None:
        if self.distributed and not is_distributed() and get_device() == 'cpu':
            if self._launcher != 'pytorch':
                raise UserError(
                    f'launcher={self._launcher!r} needs GPUs, and this machine has none; '
                    "on CPUs, start the processes with torchrun and launcher='pytorch' (tools/dist_train.sh)"
                )
            # mmengine would call torch.cuda.set_device.
            torch.distributed.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        model = super().build_model(model)
        widen_rois(model)
        return model

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if self.cfg.get('channels_last'):
            # Before DDP, which takes over the layout of the weights for the gradients.
            model = to_channels_last(model)
        if self.distributed and get_device() == 'cpu':
            if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
                raise UserError(
                    "SyncBN works on GPUs only, and this run is on CPUs: set norm_cfg=dict(type='BN') wherever the "
                    "model has norm_cfg=dict(type='SyncBN')"
                )
            options = dict(
                type='MMDistributedDataParallel',
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            )
            # device_ids must be None for a module on the CPU.
            model_wrapper_cfg = {**options, **(model_wrapper_cfg or {}), 'device_ids': None}
        return super().wrap_model(model_wrapper_cfg, model)

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        hooks = dict(hooks or {})
        plain = dict(checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook'))
        for name, default in plain.items():
            hook = hooks.get(name, default)
            if isinstance(hook, dict) and hook.get('type') == default['type']:
                hooks[name] = dict(hook, type=f'Safe{default["type"]}')
        super().register_default_hooks(hooks)

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        is_config = isinstance(dataloader, dict) and isinstance(dataloader.get('dataset'), dict)
        if is_config:
            check_dataset_config(dataloader['dataset'])
        try:
            built = Runner.build_dataloader(dataloader, *args, **kwargs)
        except ValueError:
            # mmengine fails to concatenate the images of a data set that has none.
            if is_config:
                explain_empty(dataloader['dataset'])
            raise
        except (AssertionError, RuntimeError) as error:
            # This is how mmpretrain says that the folders don't match the classes.
            if is_config and DefaultScope.get_current_instance().scope_name == 'mmpretrain':
                raise DataError(f'{error} (data_root is {dataloader["dataset"].get("data_root")})') from error
            raise
        check_images(built.dataset)
        return built

    def load_or_resume(self) -> None:
        if self._resume and self._load_from is None and not self._has_loaded:
            self._load_from = latest_checkpoint(self.work_dir)
            if self._load_from is None:
                self.logger.info(f'Nothing to resume in {self.work_dir}: training starts from the beginning.')
                self._resume = False
        super().load_or_resume()

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = 'cpu',
        strict: bool = False,
        revise_keys: list[tuple[str, str]] = [(r'^module\.', '')],  # noqa: B006, never modified
    ) -> dict:
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location, self.logger)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        state_dict = unwrap(checkpoint, filename)
        for pattern, replacement in revise_keys:
            state_dict = {re.sub(pattern, replacement, key): value for key, value in state_dict.items()}
        model = self.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        # The training loop is a config until training starts.
        training = isinstance(self._train_loop, BaseLoop) and not self._resume
        taken, other_classes = check_whole_model(model, state_dict, filename, heads_may_differ=training)
        model.load_state_dict(taken, strict=False)
        if other_classes:
            print_log(
                f'{filename}: {len(other_classes)} entries are of heads for another number of classes, '
                f'which start afresh: {", ".join(other_classes)}',
                logger='current',
            )
        self._has_loaded = True
        unused = len(state_dict) - len(taken) - len(other_classes)
        self.logger.info(f'Load checkpoint from {filename}: {len(taken)} entries taken, {unused} not part of the model')
        return checkpoint

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        if '://' in out_dir:
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        with replacing(Path(out_dir, filename)) as part:
            super().save_checkpoint(str(part.parent), part.name, *args, **kwargs)

"""mmengine's runner, with safe and strict loading, saves that survive a kill, and several processes on CPUs."""

import contextlib
import os
import platform
import re
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.device import get_device
from mmengine.dist import all_gather_object, broadcast_object_list, is_distributed, is_main_process, master_only
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS, LOOPS, RUNNERS, DefaultScope
from mmengine.runner import BaseLoop, CheckpointLoader, EpochBasedTrainLoop, IterBasedTrainLoop, Priority, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmfasternet.datasets.annotations import repaired_copy
from mmfasternet.datasets.check import DataError, check_data, check_dataset_config, explain_empty, use_copies
from mmfasternet.datasets.pixels import check_images
from mmfasternet.errors import UserError, printable
from mmfasternet.files import file_digest, replacing
from mmfasternet.locks import exclusive
from mmfasternet.weights.reader import CheckpointError, use_safe_reader
from mmfasternet.weights.state_dict import check_whole_model, unwrap

from . import compile_hook  # noqa: F401, registers its hook
from .checkpoints import SafeCheckpointHook, latest_checkpoint, set_aside
from .finite import FiniteLossHook, check_finite_weights
from .heads import check_heads
from .loops import ResumableEpochLoop, ResumableIterLoop
from .model import to_channels_last, widen_rois
from .ops import provide_ops
from .options import build_hook
from .sizes import explain_sizes
from .stop import end_workers, keep_workers
from .terminal import ProgressHook, in_terminal, quiet

__all__ = ['SafeLoggerHook', 'StrictRunner']

_Result = TypeVar('_Result')

# What errors say that come from the connection to another process.
_LOST = ('gloo', 'NCCL', 'onnection', 'TCPStore')

# What the parts of a training raise when they are given a state that is not theirs.
_IMPOSSIBLE = (AssertionError, AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError)

# mmengine's loop → the one that takes its place.
_LOOPS = {EpochBasedTrainLoop: ResumableEpochLoop, IterBasedTrainLoop: ResumableIterLoop}

# mmengine's hooks whose place a safe one takes.
_HOOKS = ('CheckpointHook', 'LoggerHook')


def _is_config(dataloader: Any) -> bool:
    return isinstance(dataloader, dict) and isinstance(dataloader.get('dataset'), dict)


def _check_writable(work_dir: str | Path) -> None:
    """Make sure that a run can write its logs and checkpoints, before anything is built."""
    try:
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir):
            pass
    except OSError as error:
        raise UserError(f'cannot write to work_dir {work_dir} ({error}); choose another with --work-dir') from error


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
    - Checkpoints are written under a temporary name and renamed. ``resume='auto'`` resumes from the one in the work dir
      that is the furthest, and otherwise starts as the config says, from ``load_from`` or the beginning.
    - A training stops on a signal and resumes in the middle of an epoch, see :mod:`~mmfasternet.engine.loops`. It ends
      if its loss is not finite, see :class:`~mmfasternet.engine.finite.FiniteLossHook`.
    - One training at a time writes to a work dir. Checkpoints of another one that lie there are moved into a folder.
    - In a terminal, a training shows one progress bar, and its log goes to the file alone.
    - ``channels_last=True`` in the config keeps the model in that memory format.
    - In mixed precision, features of RoIs are pooled in float32, see :func:`~mmfasternet.engine.model.widen_rois`.
    - With several processes, the main one decides what is loaded and alone writes the metrics of a test.
    - Several processes work without a GPU (gloo, ``launcher='pytorch'``).
    - Data that is missing, or doesn't fit its images or the config, is one error before any is loaded. Annotations that
      need a repair are read from a copy in the work dir, see :func:`~mmfasternet.datasets.check.check_data`.

    Its arguments are those of ``Runner``; a config asks for it by ``runner_type='StrictRunner'``.

    Raises:
        UserError: If ``work_dir`` can't be written, a hook has no such option, or another training holds the work dir.
    """

    #: The checkpoint that the training was resumed from.
    resumed_from: str | None = None

    def __init__(self, model: nn.Module | dict, work_dir: str, *args: Any, **kwargs: Any) -> None:
        provide_ops()
        use_safe_reader()
        _check_writable(work_dir)
        # mmengine logs the machine and the complete config.
        with contextlib.ExitStack() as self._building:
            super().__init__(model, work_dir, *args, **kwargs)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        if in_terminal():
            self._building.enter_context(quiet(logger))
        return logger

    @explain_sizes()
    def train(self) -> nn.Module:
        with contextlib.ExitStack() as held:
            self._on_main(lambda: self._hold_work_dir(held))
            held.callback(self._end_workers)
            if in_terminal() and is_main_process():
                progress = ProgressHook(self.logger)
                held.callback(progress.close)
                self.register_hook(progress)
            self._write_config(self.work_dir)
            self._check_data('train', *(['val'] if self._val_loop is not None else []))
            try:
                return super().train()
            except ValueError as error:
                if 'more than 1 value per channel' not in str(error):
                    raise
                raise UserError(
                    f'BN has no statistics of a single value ({error}): the batch was one image of less than 64 pixels '
                    'a side. Set train_dataloader.batch_size to 2 or more and train_dataloader.drop_last=True, enlarge '
                    'the images (scale of Resize), or keep the trained statistics (model.backbone.norm_eval=True)'
                ) from error
            except RuntimeError as error:
                if 'DataLoader worker (pid' in str(error):
                    raise UserError(
                        f'a process that loads data was ended from outside ({error}), often because memory ran out: '
                        'fewer workers (train_dataloader.num_workers) take less. Started again with --resume, the '
                        'training continues'
                    ) from error
                if is_distributed() and any(words in str(error) for words in _LOST):
                    raise UserError(
                        f'contact with another process was lost ({error}); its own log says why, unless its machine or '
                        'the network is down. Started again with --resume, the training continues'
                    ) from error
                raise

    @explain_sizes()
    def val(self) -> dict:
        self._write_config(self.log_dir)
        self._check_data('val')
        try:
            return super().val()
        finally:
            self._end_workers()

    @explain_sizes()
    def test(self) -> dict:
        self._write_config(self.log_dir)
        self._check_data('test')
        try:
            return super().test()
        finally:
            self._end_workers()

    def _check_data(self, *splits: str) -> None:
        """Check the data of all splits before any is loaded; what needs a repair is read from a repaired copy."""
        loaders = [getattr(self, f'_{split}_dataloader') for split in splits]
        datasets = [loader['dataset'] for loader in loaders if _is_config(loader)]
        evaluators = [getattr(self, f'_{split}_evaluator') for split in splits if split != 'train']
        folder = Path(self.work_dir, 'annotations')
        copies, notes = self._on_main(lambda: check_data(datasets, evaluators, folder))
        for path, copy in copies.items():
            # On a machine that does not share the work dir.
            if not Path(copy).is_file():
                repaired_copy(path, folder)
        use_copies([datasets, evaluators], copies)
        for note in notes:
            self.logger.warning(printable(note))

    def _end_workers(self) -> None:
        for loop in (self._train_loop, self._val_loop, self._test_loop):
            # A loop is a config until it starts.
            if isinstance(loop, BaseLoop) and isinstance(loop.dataloader, DataLoader):
                end_workers(loop.dataloader)

    def setup_env(self, env_cfg: dict) -> None:
        if self.distributed and not is_distributed() and get_device() == 'cpu':
            if self._launcher != 'pytorch':
                raise UserError(
                    f'launcher={self._launcher!r} needs GPUs, and this machine has none; '
                    "on CPUs, start the processes with torchrun and launcher='pytorch' (tools/dist_train.sh)"
                )
            # mmengine would call torch.cuda.set_device.
            seconds = env_cfg.get('dist_cfg', {}).get('timeout')
            timeout = {} if seconds is None else dict(timeout=timedelta(seconds=seconds))
            torch.distributed.init_process_group('gloo', **timeout)
        super().setup_env(env_cfg)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        try:
            model = super().build_model(model)
        except (AssertionError, KeyError, TypeError) as error:
            # A registry puts the name of the class before what its constructor says.
            raise UserError(f'the model of the config cannot be built: {error}') from error
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
        super().register_default_hooks(hooks)
        self.register_hook(FiniteLossHook())

    def register_hook(self, hook: Hook | dict, priority: str | int | Priority | None = None) -> None:
        if isinstance(hook, dict):
            hook = dict(hook)
            # A config in mmengine's new style names the class itself.
            kind = getattr(hook.get('type'), '__name__', hook.get('type'))
            if kind in _HOOKS:
                hook['type'] = f'Safe{kind}'
            priority = hook.pop('priority', None) if priority is None else priority
            hook = build_hook(hook, f'hook {hook.get("type")}')
        super().register_hook(hook, priority)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        try:
            return super().build_optim_wrapper(optim_wrapper)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f'the optim_wrapper of the config cannot be built: {error}') from error

    def build_param_scheduler(self, scheduler: Any) -> Any:
        try:
            return super().build_param_scheduler(scheduler)
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f'the param_scheduler of the config cannot be built for {self.max_epochs} epochs of '
                f'{len(self.train_dataloader)} iterations: {error}'
            ) from error

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        if isinstance(loop, dict) and ('type' in loop) != ('by_epoch' in loop):
            kind = loop.get('type') or ('EpochBasedTrainLoop' if loop['by_epoch'] else 'IterBasedTrainLoop')
            kind = LOOPS.get(kind) if isinstance(kind, str) else kind
            loop = {key: value for key, value in loop.items() if key not in ('type', 'by_epoch')}
            loop['type'] = _LOOPS.get(kind, kind)
        built = super().build_train_loop(loop)
        check_heads(self.model, built.dataloader.dataset)
        return built

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_val_loop(loop)
        check_heads(self.model, built.dataloader.dataset)
        return built

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_test_loop(loop)
        check_heads(self.model, built.dataloader.dataset)
        return built

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        is_config = _is_config(dataloader)
        if is_config:
            check_dataset_config(dataloader['dataset'])
            if not dataloader.get('num_workers'):
                # torch refuses them without workers.
                workers = ('persistent_workers', 'prefetch_factor')
                dataloader = {key: value for key, value in dataloader.items() if key not in workers}
        try:
            built = Runner.build_dataloader(dataloader, *args, **kwargs)
        except ValueError:
            # mmengine fails to concatenate the images of a data set that has none.
            if is_config:
                explain_empty(dataloader['dataset'])
            raise
        except (KeyError, TypeError) as error:
            raise UserError(f'a data loader of the config cannot be built: {error}') from error
        except (AssertionError, RuntimeError) as error:
            # This is how mmpretrain says that the folders don't match the classes.
            if is_config and DefaultScope.get_current_instance().scope_name == 'mmpretrain':
                raise DataError(f'{error} (data_root is {dataloader["dataset"].get("data_root")})') from error
            raise
        check_images(built.dataset)
        keep_workers(built)
        return built

    def load_or_resume(self) -> None:
        if self._has_loaded:
            return
        places = {hook.folder(self) for hook in self.hooks if isinstance(hook, SafeCheckpointHook)}
        places = [Path(self.work_dir), *sorted(places - {Path(self.work_dir)})]
        if self._resume == 'auto' or (self._resume and self._load_from is None):
            found = self._on_main(lambda: latest_checkpoint(*places))
            if found is None:
                start = self._load_from or 'the beginning'
                self.logger.info(f'Nothing to resume in {self.work_dir}: training starts from {start}.')
            self._resume, self._load_from = found is not None, found or self._load_from
        if self._load_from is not None:
            self._check_that_all_read_the_same(self._load_from)
        super().load_or_resume()
        if isinstance(self._train_loop, BaseLoop):
            # Afterwards, since load_from may be one of them.
            folder = None if self.resumed_from is None else Path(self.resumed_from).parent.resolve()
            own = folder in [place.resolve() for place in places]
            beyond, name = self.iter if own else -1, f'before_{self.timestamp}'
            self._on_main(lambda: [set_aside(place, beyond, name) for place in places])

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume a training: its weights, optimizer, schedules, place in the data, and random seed.

        Args:
            filename: The checkpoint.
            args: As in mmengine's ``Runner``.
            kwargs: As in mmengine's ``Runner``.

        Raises:
            CheckpointError: If it can't be read, is of no training of this config, or holds weights alone.
        """
        self.resumed_from = str(filename)
        try:
            super().resume(filename, *args, **kwargs)
            if isinstance(self.train_loop, (ResumableEpochLoop, ResumableIterLoop)):
                self.train_loop.restore(self._progress)
        except UserError:
            raise
        except _IMPOSSIBLE as error:
            raise CheckpointError(
                f'{filename} cannot be resumed with this config ({type(error).__name__}: {error}): it was saved by a '
                'training with another optimizer, schedule or model. To start a new training from its weights, set '
                '--cfg-options load_from=… and leave --resume out'
            ) from error

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = 'cpu',
        strict: bool = False,
        revise_keys: list[tuple[str, str]] = [(r'^module\.', '')],  # noqa: B006, never modified
    ) -> dict:
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location, self.logger)
        if self._resume:
            self._progress = _check_resumable(checkpoint, filename, self.param_schedulers)
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

    def confirm_losses(self) -> None:
        """Make sure that the losses so far are finite.

        Raises:
            UserError: If one is not.
        """
        for hook in self.hooks:
            if isinstance(hook, FiniteLossHook):
                hook.confirm(self)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, meta: dict | None = None, **kwargs: Any) -> None:
        self.confirm_losses()
        check_finite_weights(self.model, self)
        if isinstance(self._train_loop, (ResumableEpochLoop, ResumableIterLoop)):
            meta = dict(meta or {}, progress=self._train_loop.progress())
            if kwargs.get('save_optimizer', True):
                self._train_loop.saved = meta.get('iter', self.iter)
        if not is_main_process():
            return
        if '://' in out_dir:
            super().save_checkpoint(out_dir, filename, *args, meta=meta, **kwargs)
            return
        with replacing(Path(out_dir, filename)) as part:
            super().save_checkpoint(str(part.parent), part.name, *args, meta=meta, **kwargs)

    def dump_config(self) -> None:
        """Nothing: a training writes its config to its work dir, a test to its own folder, when they start."""

    @master_only
    def _write_config(self, folder: str) -> None:
        name = Path(self.cfg.filename).name if self.cfg.filename else f'{self.timestamp}.py'
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.cfg.dump(str(Path(folder, name)))

    def _on_main(self, call: Callable[[], _Result]) -> _Result:
        """Run something in the main process alone, and give all processes its result, or the user's mistake."""
        outcome: list[Any] = [None, None]
        if is_main_process():
            try:
                outcome[0] = call()
            except (OSError, UserError) as error:
                outcome[1] = str(error)
        broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise UserError(outcome[1])
        return outcome[0]

    def _hold_work_dir(self, held: contextlib.ExitStack) -> None:
        """Take the lock of the work dir, and remove what a kill during a save has left."""
        lock = held.enter_context(exclusive(Path(self.work_dir, '.lock'), f'trains in {self.work_dir}'))
        # Data workers may outlive a killed training for seconds.
        os.register_at_fork(after_in_child=lock.close)
        for part in Path(self.work_dir).glob('.*.pth.*.part'):
            part.unlink()

    def _check_that_all_read_the_same(self, checkpoint: str) -> None:
        """Different weights would be trained on as if they were one model, until something fails to match."""
        path = Path(checkpoint).expanduser()
        digest = [file_digest(path) if is_main_process() and path.is_file() else None]
        broadcast_object_list(digest)
        if digest[0] is None:
            return  # a URL, or an error that every process meets
        problem = None
        if not path.is_file():
            problem = 'has no such file'
        elif not is_main_process() and file_digest(path) != digest[0]:
            problem = 'has another file of that name'
        problems = [
            f'process {rank} on {host} {problem}'
            for rank, (host, problem) in enumerate(all_gather_object((platform.node(), problem)))
            if problem
        ]
        if problems:
            raise UserError(
                f'the main process starts from {checkpoint}, but {"; ".join(problems)}. Put it on a file system that '
                'all machines share, or copy it to each of them'
            )


def _check_resumable(checkpoint: Any, filename: str, schedulers: Any) -> dict | None:
    """Make sure that a checkpoint was saved by a training; gives what it says about the place in the data."""
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    counts = [meta.get(key) if isinstance(meta, dict) else None for key in ('epoch', 'iter')]
    complete = (
        isinstance(checkpoint, dict)
        and isinstance(checkpoint.get('message_hub'), dict)
        # The best checkpoints have neither, and mmengine would begin both anew.
        and 'optimizer' in checkpoint
        and ('param_schedulers' in checkpoint or schedulers is None)
    )
    if not complete or not all(type(count) is int and count >= 0 for count in counts):
        raise CheckpointError(
            f'{filename} cannot be resumed: it holds weights, but not the state of a training that mmengine saves. To '
            'start a new training from them, set --cfg-options load_from=… and leave --resume out'
        )
    # mmengine would run it as a config file.
    meta.pop('config', None)
    return meta.get('progress')

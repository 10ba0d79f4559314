"""Training loops that can stop after any iteration, and resume there as if they had never stopped."""

from collections.abc import Iterator
from typing import Any

from mmengine.dist import barrier, broadcast_object_list, get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmfasternet.errors import UserError

from .draws import NumberedBatches, number_draws, seed_draws, seed_iteration
from .outcome import OutcomeHook
from .stop import StopRequest
from .validations import Validation, finite_metrics, read_validations, write_validations

__all__ = ['ResumableEpochLoop', 'ResumableIterLoop']

_NO_BATCH = (
    'train_dataloader has fewer images than a batch, and leaves incomplete batches out (drop_last): lower its '
    'batch_size, or set drop_last=False'
)


class _Stopped(Exception):
    """All processes have agreed to stop; carries the number of the signal."""


class _Resumable:
    """What both loops share: seeds, requests to stop, and validations that a stop has interrupted.

    - Data and model are seeded by their place in the training, see :mod:`~mmfasternet.engine.draws`.
    - On a signal that asks it to stop, see :class:`~mmfasternet.engine.stop.StopRequest`, it saves a checkpoint,
      ``stopped_iter_N.pth``, and ends with exit status 128 + the signal's number.
    - A resumed training repeats a validation that was due and has not ended.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **options: Any) -> None:
        super().__init__(runner, number_draws(dataloader, runner.seed), **options)
        seed_draws(self.dataloader)
        self._numbered = isinstance(self.dataloader.batch_sampler, NumberedBatches)
        self._batches = 0  # of the current epoch that are done
        #: Whether the training began in an earlier run.
        self.resumed = False
        self._request = StopRequest(runner.cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout'))
        #: Iteration of the newest checkpoint.
        self.saved = 0
        #: The validations that have ended.
        self.validations: list[Validation] = []

    def run(self) -> Any:
        """Train, until the end or a request to stop."""
        validations = _Validations(self, self._request)
        self.runner.register_hook(validations)
        self.runner.register_hook(OutcomeHook())
        with self._request:
            try:
                return super().run()
            except _Stopped as stop:
                status = 128 + stop.args[0]
            validations.leave()
            self._save()
        raise SystemExit(status)

    def run_iter(self, *batch: Any) -> None:
        """Run an iteration with its own seed, then stop if that is asked for."""
        # Counted first, since hooks of the iteration may save.
        self._batches += 1
        seed_iteration(self.runner.seed, self._iter)
        super().run_iter(*batch)
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Leave the training if all processes have agreed to."""
        number = self._request.agreed()
        # Gradients that are still accumulated are in no checkpoint.
        if number and self._iter % getattr(self.runner.optim_wrapper, '_accumulative_counts', 1) == 0:
            raise _Stopped(number)

    def progress(self) -> dict[str, int | None]:
        """What a checkpoint needs beside its epoch and iteration, so that :meth:`restore` finds the place again."""
        return dict(
            batches=self._batches,
            epoch_length=len(self.dataloader),
            processes=get_world_size(),
            sampler_seed=self._sampler_seed,
        )

    def restore(self, progress: dict[str, int | None] | None) -> None:
        """Resume at the place in the data that a checkpoint names; epoch and iteration are restored already.

        Args:
            progress: What :meth:`progress` gave. None if the file is of a run without it: it then begins an epoch.
        """
        self.resumed = True
        length = len(self.dataloader)
        progress = progress or dict(batches=0, epoch_length=length, processes=get_world_size(), sampler_seed=None)
        numbers = [progress[key] for key in ('batches', 'epoch_length', 'processes')]
        numbers.append(0 if progress['sampler_seed'] is None else progress['sampler_seed'])
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError(f'its place in the data is {numbers}')
        same = progress['epoch_length'] == length and progress['processes'] == get_world_size()
        if not same or not self._numbered:
            print_log(
                'The data is not loaded as before (another number of images, batch size or processes, or a data loader '
                'of your own): what is left of the epoch is as long as it would have been, in another order.',
                logger='current',
            )
        self._batches = progress['batches'] * length // max(1, progress['epoch_length'])
        if progress['sampler_seed'] is not None and self._sampler_seed is not None:
            self.dataloader.batch_sampler.sampler.seed = progress['sampler_seed']
        if self._numbered:
            self.dataloader.batch_sampler.seed = self.runner.seed

    @property
    def _sampler_seed(self) -> int | None:
        return getattr(getattr(self.dataloader.batch_sampler, 'sampler', None), 'seed', None)

    def lacks_validation(self) -> bool:
        """Whether a resumed training has a validation to repeat, as far as the loop knows."""
        if not self.resumed or self.runner.val_loop is None:
            return False
        self._decide_current_val_interval()
        return self._validates_now()

    def _save(self) -> None:
        """Save a checkpoint of this very state, unless there is one."""
        runner = self.runner
        name = f'stopped_iter_{self._iter}.pth'
        if self.saved != self._iter:
            meta = dict(epoch=self._epoch, iter=self._iter)
            runner.save_checkpoint(runner.work_dir, name, meta=meta, by_epoch=False)
        # torchrun ends all processes as soon as one has ended.
        barrier()
        runner.logger.info(f'Stopped after iteration {self._iter}; {runner.work_dir} has its state, for --resume')


@LOOPS.register_module()
class ResumableEpochLoop(_Resumable, EpochBasedTrainLoop):
    """``EpochBasedTrainLoop`` that can stop and resume after any iteration of an epoch.

    Its arguments are those of mmengine's ``EpochBasedTrainLoop``.

    Raises:
        UserError: If there is no batch.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **options: Any) -> None:
        super().__init__(runner, dataloader, **options)
        if not len(self.dataloader):
            raise UserError(_NO_BATCH)

    def run_epoch(self) -> None:
        """Run an epoch, or what is left of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if self._numbered:
            self.dataloader.batch_sampler.start = self._batches
        for index, batch in enumerate(self.dataloader, self._batches):
            self.run_iter(index, batch)
        self._batches = 0
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _validates_now(self) -> bool:
        ended = self._batches == 0 and self._epoch > 0
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        return ended and self._epoch >= self.val_begin and due


@LOOPS.register_module()
class ResumableIterLoop(_Resumable, IterBasedTrainLoop):
    """``IterBasedTrainLoop`` that can stop and resume after any iteration.

    Its arguments are those of mmengine's ``IterBasedTrainLoop``.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **options: Any) -> None:
        super().__init__(runner, dataloader, **options)
        if self._numbered:
            self.dataloader_iterator = _Endless(self.dataloader)

    def restore(self, progress: dict[str, int | None] | None) -> None:
        """Resume at the place in the data that a checkpoint names, without loading what lies before it."""
        super().restore(progress)
        if self._numbered:
            before = (progress or {}).get('processes') or get_world_size()
            self.dataloader.batch_sampler.start = self._iter * before // get_world_size()
            # With this option of newer versions, mmengine does not ask for what lies behind.
            behind = 0 if getattr(self, 'fast_forward_on_resume', False) else self._iter
            self.dataloader_iterator = _Endless(self.dataloader, behind)

    def _validates_now(self) -> bool:
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self._iter > 0 and self._iter >= self.val_begin and due


class _Endless:
    """The batches of a data loader without end, as mmengine's loop asks for them.

    Args:
        dataloader: Of numbered batches.
        behind: How many batches lie behind a resumed training: the loop asks for them too, and none is loaded.
    """

    def __init__(self, dataloader: DataLoader, behind: int = 0) -> None:
        self._dataloader = dataloader
        self._behind = behind
        self._batches = self._load()

    def __next__(self) -> Any:
        if self._behind:
            self._behind -= 1
            return None
        return next(self._batches)

    def skip_iter(self, number: int) -> None:
        """How newer versions of mmengine ask for all batches that lie behind."""
        self._behind -= number

    def _load(self) -> Iterator[Any]:
        epoch = 0
        while True:
            yield from self._dataloader
            if not len(self._dataloader):
                raise UserError(_NO_BATCH)
            epoch += 1
            if hasattr(self._dataloader.batch_sampler.sampler, 'set_epoch'):
                self._dataloader.batch_sampler.sampler.set_epoch(epoch)


class _Validations(Hook):
    """Stops a training that is asked to in the middle of a validation, and repeats that one when it is resumed.

    Args:
        loop: The training loop.
        request: Its request to stop.
    """

    priority = 'LOWEST'

    def __init__(self, loop: _Resumable, request: StopRequest) -> None:
        self._loop = loop
        self._request = request
        self._rounds: int | None = None  # of a validation that runs

    def before_train(self, runner: Runner) -> None:
        """Repeat a validation, once everything else is prepared."""
        if self._loop.resumed:
            ended = [read_validations(runner.work_dir) if is_main_process() else None]
            broadcast_object_list(ended)
            self._loop.validations = [entry for entry in ended[0] if entry.iteration <= runner.iter]
        last = self._loop.validations[-1].iteration if self._loop.validations else None
        if self._loop.lacks_validation() and last != runner.iter:
            runner.logger.info('The validation that was due here has not ended: it is done again.')
            runner.val_loop.run()

    def before_val_epoch(self, runner: Runner) -> None:
        self._rounds = self._request.rounds(len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if batch_idx < self._rounds:
            self._loop.stop_if_asked()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._rounds = None
        self._loop.validations.append(Validation(runner.iter, runner.epoch, finite_metrics(metrics or {})))
        if is_main_process():
            write_validations(runner.work_dir, self._loop.validations)

    def leave(self) -> None:
        """Put the weights back that a validation which is left had replaced by their moving average."""
        if self._rounds is not None:
            for hook in self._loop.runner.hooks:
                # mmpretrain's hook may have left them.
                if isinstance(hook, EMAHook) and getattr(hook, 'evaluate_on_ema', True):
                    EMAHook.after_val_epoch(hook, self._loop.runner)

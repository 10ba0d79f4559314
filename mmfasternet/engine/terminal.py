"""A training in a terminal: one progress bar, a line for each validation, and all else in the log."""

import contextlib
import io
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .validations import Validation, main_metrics

__all__ = ['ProgressHook', 'in_terminal', 'quiet']

_WINDOW = 50  # iterations whose mean loss is shown
_REFRESH = 0.5  # seconds


def in_terminal() -> bool:
    """Whether a person sees what is printed."""
    return sys.stdout.isatty()


@contextlib.contextmanager
def quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep what a logger says from the terminal, but for its warnings; its file has all of it.

    Args:
        logger: The logger, which does not write to a terminal otherwise than by its own handlers.

    Example:
        >>> with quiet(logging.getLogger('example')):
        ...     logging.getLogger('example').info('in the file alone')
    """
    # Files are handlers of a subclass.
    shown = [(handler, handler.level) for handler in logger.handlers if type(handler) is logging.StreamHandler]
    for handler, level in shown:
        handler.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for handler, level in shown:
            handler.setLevel(level)


class ProgressHook(Hook):
    """Shows how far a training is: epoch, mean loss, the metrics so far and the time left.

    While a training is built or validates, what is printed goes to the log: pycocotools prints a dozen lines each time.
    What is printed between them appears above the bar.

    Args:
        logger: The log.

    Example:
        >>> hook = ProgressHook(logging.getLogger('example'))
        >>> hook.close()
    """

    # After the hooks that compute what it shows.
    priority = 'LOWEST'

    def __init__(self, logger: logging.Logger) -> None:
        self._bar = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(bar_width=24),
            TextColumn('{task.completed}/{task.total}'),
            TimeElapsedColumn(),
            TextColumn('left'),
            TimeRemainingColumn(),
            console=Console(file=sys.stdout, highlight=False, markup=False),
            refresh_per_second=1 / _REFRESH,
            redirect_stderr=False,
        )
        self._log = _Log(logger)
        self._open = contextlib.ExitStack()
        self._open.enter_context(quiet(logger))
        self._printing_to_log = self._open.enter_context(contextlib.ExitStack())
        self._printing_to_log.enter_context(contextlib.redirect_stdout(self._log))
        self._shown = 0.0
        self._text = self._metrics = ''

    def close(self) -> None:
        """Leave the bar, and print as before; it may be called twice."""
        # Before the bar, which would put its own stream back.
        self._printing_to_log.close()
        self._open.close()

    def before_train(self, runner: Runner) -> None:
        self._printing_to_log.close()
        self._open.enter_context(self._bar)
        self._task = self._bar.add_task('train', total=runner.max_iters, completed=runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        now = time.monotonic()
        if now - self._shown < _REFRESH and runner.iter + 1 < runner.max_iters:
            return
        self._shown = now
        scalars = runner.message_hub.log_scalars
        loss = f'  loss {scalars["train/loss"].mean(_WINDOW):.4g}' if 'train/loss' in scalars else ''
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        place = f'epoch {runner.epoch + 1}/{runner.max_epochs}' if by_epoch else 'train'
        self._text = f'{place}{loss}'
        self._bar.update(self._task, completed=runner.iter + 1, description=self._text + self._metrics)

    def before_val_epoch(self, runner: Runner) -> None:
        self._printing_to_log.enter_context(contextlib.redirect_stdout(self._log))
        self._bar.update(self._task, description=f'validation on {len(runner.val_dataloader.dataset)} images')

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._printing_to_log.close()
        found = [f'{name} {value:.3f}' for name, value in main_metrics(metrics or {}).items()]
        self._metrics = ''.join(f'  {text}' for text in found)
        self._bar.update(self._task, description=self._text + self._metrics)
        if found:
            by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
            place = Validation(runner.iter, runner.epoch if by_epoch else 0, {}).place
            self._bar.console.print(f'{place}: {", ".join(found)}')


class _Log(io.TextIOBase):
    """A stream whose lines go to a log."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            self._logger.info(line)
        return len(text)

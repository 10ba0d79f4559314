"""What a training leaves for its reader: curves, the best checkpoint, and why a metric is near zero."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmfasternet.errors import UserError
from mmfasternet.reports.curves import draw_curves

from .checkpoints import SafeCheckpointHook, latest_checkpoint
from .launch import tool_command
from .validations import MAIN_METRICS, Validation, main_metrics

__all__ = ['CURVES', 'OutcomeHook', 'describe_outcome']

#: The figure in a work dir.
CURVES = 'curves.png'

_NEAR_ZERO = 0.01  # AP
_SURE = 0.3  # score that is drawn


class OutcomeHook(Hook):
    """Draws losses and metrics into ``curves.png`` of the work dir, and notes the highest score of a validation."""

    # The loop has noted a validation before it is drawn.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.highest_score: float | None = None

    def before_val_epoch(self, runner: Runner) -> None:
        self.highest_score = 0.0

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        for sample in outputs or ():
            scores = getattr(getattr(sample, 'pred_instances', None), 'scores', ())
            if len(scores):
                self.highest_score = max(self.highest_score, float(scores.max()))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._draw(runner)

    def after_train(self, runner: Runner) -> None:
        self._draw(runner)

    @master_only
    def _draw(self, runner: Runner) -> None:
        scalars = runner.message_hub.log_scalars
        losses = {
            key.removeprefix('train/'): scalars[key].data[0]
            for key in scalars
            if key.startswith('train/') and 'loss' in key and len(scalars[key].data[0])
        }
        if not losses:
            return
        loop = runner.train_loop
        metrics: dict[str, list[tuple[float, float]]] = {}
        for entry in loop.validations:
            for name, value in main_metrics(entry.metrics).items():
                metrics.setdefault(name, []).append((entry.iteration, value))
        length = len(runner.train_dataloader) if isinstance(loop, EpochBasedTrainLoop) else None
        try:
            draw_curves(Path(runner.work_dir, CURVES), losses, metrics, runner.iter, length)
        except UserError as error:
            # No reason to end a training.
            runner.logger.warning(str(error))


def describe_outcome(runner: Runner, config: str) -> list[str]:
    """What to tell at the end of a training.

    Args:
        runner: Its runner.
        config: Path of the config.

    Returns:
        Lines: the best checkpoint with its metrics, why they are near zero if they are, where all lies, and the next
        commands.
    """
    validations = getattr(runner.train_loop, 'validations', [])
    best = next((path for hook in _checkpoints(runner) for path in hook.best_paths().values() if path), None)
    checkpoint = best or latest_checkpoint(runner.work_dir)
    lines = [f'{"best" if best else "newest"} checkpoint: {checkpoint}'] if checkpoint else []
    if validations:
        entry = _best(validations)
        values = ', '.join(f'{name} {value:.3f}' for name, value in main_metrics(entry.metrics).items())
        if values:
            lines.append(f'best validation: {values}, after {entry.place}')
        lines += _near_zero(runner, validations[-1])
    log = Path(runner.log_dir, f'{runner.timestamp}.log').relative_to(runner.work_dir)
    lines.append(f'work dir: {runner.work_dir} (log: {log}; losses and metrics: {CURVES})')
    if checkpoint:
        # With the options of the command, if there were any.
        complete = str(Path(runner.work_dir, Path(config).name))
        lines += ['next:', *(f'  {line}' for line in _next_commands(complete, checkpoint))]
    return lines


def _checkpoints(runner: Runner) -> Iterator[SafeCheckpointHook]:
    return (hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))


def _best(validations: Sequence[Validation]) -> Validation:
    """The validation with the highest metric of the first kind that they have; the last one if they have none."""
    for key, _ in MAIN_METRICS.values():
        if found := [entry for entry in validations if key in entry.metrics]:
            return max(found, key=lambda entry: entry.metrics[key])
    return validations[-1]


def _near_zero(runner: Runner, entry: Validation) -> list[str]:
    """Why a detector's AP is near zero, as far as its scores say it."""
    metrics = main_metrics(entry.metrics)
    hook = next((hook for hook in runner.hooks if isinstance(hook, OutcomeHook)), None)
    # A training that has ended before validates no more.
    if hook is None or hook.highest_score is None or metrics.get('box AP', 1) > _NEAR_ZERO:
        return []
    longer = 'train longer (train_cfg.max_epochs), and see in the curves whether the loss still falls'
    if not hook.highest_score:
        return [f'box AP is near zero because nothing was predicted at all: {longer}']
    if hook.highest_score <= _SURE:
        return [f'box AP is near zero: no score was above {_SURE}, the highest was {hook.highest_score:.2f}; {longer}']
    return [
        f'box AP is near zero although scores reach {hook.highest_score:.2f}: {longer}; then draw some predictions '
        '(test --show-dir FOLDER), and compare their boxes and classes with the annotations'
    ]


def _next_commands(config: str, checkpoint: str) -> Iterator[str]:
    yield tool_command('test', [config, checkpoint])
    yield tool_command('image_demo', ['IMAGES', config, checkpoint, '--out-dir', 'outputs'])
    yield tool_command('export', [config, '--checkpoint', checkpoint, '--out', 'model.onnx'])

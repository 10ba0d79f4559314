"""From a data set and its config to a trained, tested, explained and exported model, in steps that resume."""

import json
import math
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config

from mmfasternet.datasets.recipe import DETECTORS, Recipe, plan_training
from mmfasternet.datasets.recipe_config import write_config
from mmfasternet.errors import UserError, printable
from mmfasternet.locks import exclusive

from .budget import claim_work_dir
from .checkpoints import latest_checkpoint
from .config import class_names, load_config, project_root
from .launch import Launcher, tool_command
from .released import fetch_weights
from .speed import FEWEST, Speed, count_batches, count_images, measure_speed, threads
from .steps import Step, Steps, duration
from .testing import newest_metrics
from .validations import main_metrics

__all__ = ['KEPT', 'Trained', 'parse_duration', 'prepare_config', 'train_own_data']

#: What to say of a config that is not written anew.
KEPT = 'is there already, and no option changes it; remove it to have it written anew'

_UNITS = dict(s=1, m=60, h=3600)
# Of images too large for a budget, a size is sought at which twice the fewest iterations fit, within these limits.
_LESS, _SMALLEST, _STRIDE = 2, 256, 32
# Seconds on some machine to start a step, and for each of its units, with images of 320 × 240 pixels; only their ratios
# count.
_SECONDS = dict(train=(10, 0.25), test=(10, 0.3), explain=(10, 0.02), export=(40, 0))
# Written by the test, as the config says.
_PREDICTIONS = ('predictions.bbox.json', 'predictions.segm.json')
# What the test writes of a segmentor and of a classifier.
_OF_LABELS = dict(mmseg='predicted_maps', mmpretrain='predicted_scores.json')
# What is easier to reach than AP, and often enough.
_AP50 = {'box AP50': 'coco/bbox_mAP_50', 'mask AP50': 'coco/segm_mAP_50'}


@dataclass(frozen=True)
class Trained:
    """What a training on your own data leaves.

    Args:
        metrics: Name → value from 0 to 1, on the validation images.
        seconds: Step → how long it took.
        files: What it is → path.
        classes: Names of the classes.
        commands: What runs the model on images.
    """

    metrics: dict[str, float]
    seconds: dict[str, float]
    files: dict[str, Path]
    classes: tuple[str, ...]
    commands: list[str]

    def lines(self) -> list[str]:
        """All of it for a reader."""
        lines = [f'{name}: {value:.3f}' for name, value in self.metrics.items()]
        lines += [f'{name}: {path}' for name, path in self.files.items()]
        lines.append(f'time: {", ".join(f"{name} {duration(seconds)}" for name, seconds in self.seconds.items())}')
        return [*lines, f'classes: {", ".join(self.classes)}', *(f'next: {command}' for command in self.commands)]


def parse_duration(text: str) -> float:
    """A time as a person gives it.

    Args:
        text: A number of minutes, or a number with s, m or h.

    Returns:
        Seconds.

    Raises:
        UserError: If it is none.

    Example:
        >>> parse_duration('20'), parse_duration('20m'), parse_duration('1.5h')
        (1200.0, 1200.0, 5400.0)
    """
    found = re.fullmatch(r'(\d+(?:\.\d+)?)([smh]?)', text)
    if not found or not float(found[1]):
        raise UserError(f'a time is a number with s, m or h, such as 20m, but got {text!r}')
    return float(found[1]) * _UNITS[found[2] or 'm']


def prepare_config(
    out: str | Path,
    source: str | Path,
    detector: str = 'auto',
    start: str = 'scratch',
    arch: str | None = None,
    budget: float | None = None,
) -> tuple[Path, Recipe, str]:
    """Write ``OUT/config.py`` for the data in ``OUT/annotations``, unless it is there.

    Args:
        out: Folder of the data set.
        source: Folder at which the files' names start.
        detector: 'auto', or one of ``DETECTORS`` of :mod:`mmfasternet.datasets.recipe`. Defaults to 'auto'.
        start: One of its ``STARTS``. Defaults to 'scratch'.
        arch: Variant of FasterNet. None means 't0' from random weights, and 's' from the released ones. Defaults to
            None.
        budget: Seconds that the training, the test and the rest may take on this machine: a few iterations are trained
            to see how many epochs fit. None means as many as the data asks for. Defaults to None.

    Returns:
        The path, what the data asks for, and what to say of the config.

    Raises:
        UserError: If the data does not suit the detector, the weights can't be fetched, or the budget is too short.
    """
    config = Path(out, 'config.py')
    recipe = plan_training(Path(out, 'annotations'), detector, start)
    if config.exists():
        cfg = load_config(config)
        said = {key: cfg[key] for key in ('max_epochs', 'image_size', 'max_per_img') if cfg.get(key)}
        recipe = replace(recipe, **said)
        return config, recipe, KEPT
    arch = arch or ('t0' if start == 'scratch' else 's')

    def write(path: Path) -> Path:
        return write_config(path, recipe, project_root() / 'configs', out, source, arch)

    notes = []
    if budget:
        began = time.monotonic()
        speed = measure_speed(write, out)
        if speed.iterations_within(budget) < FEWEST and (smaller := _smaller(recipe, speed, budget)):
            notes.append(f'images of {recipe.image_size[0]} pixels would take too long for the budget')
            recipe = smaller
            speed = measure_speed(write, out)
        recipe = replace(recipe, max_epochs=speed.epochs_within(budget - (time.monotonic() - began)))
        notes.append(str(speed))
    write(config)
    weights = 'random weights' if start == 'scratch' else "the authors' weights"
    name, size = DETECTORS[recipe.detector][0], ' × '.join(map(str, recipe.image_size))
    what = f'trains {name} with FasterNet-{arch.upper()} from {weights}, {recipe.max_epochs} epochs of images of {size}'
    return config, recipe, '; '.join([what, *notes])


def _smaller(recipe: Recipe, speed: Speed, budget: float) -> Recipe | None:
    """The same with smaller images, which take less time by their area, if the limits allow."""
    longer = recipe.image_size[0]
    scale = math.sqrt(speed.iterations_within(budget) / (_LESS * FEWEST))
    side = max(_SMALLEST, int(longer * scale) // _STRIDE * _STRIDE)
    return recipe.resized(side) if recipe.start == 'scratch' and side < longer else None


def train_own_data(config: str | Path, out: str | Path) -> Trained:
    """Train, test, explain and export the model of a config; what an earlier run has left is resumed.

    Args:
        config: The config.
        out: Folder for the work dir, the predictions, the report of the result and the exported file.

    Returns:
        What it leaves.

    Raises:
        UserError: If a step fails, with its message or the end of its log, or another process trains there.
    """
    cfg, out = load_config(config), Path(out)
    _check_form(cfg)
    fetch_weights(cfg)
    work_dir, model = out / 'training', out / 'model.onnx'
    steps, environment = _plan(cfg, out), threads()
    started = latest_checkpoint(work_dir)
    steps.console.print(
        f'train: with {environment["OMP_NUM_THREADS"]} threads, in {work_dir}'
        + (f'; resumes from {Path(started).name}' if started else '')
        + '\nThen it tests, explains and exports; interrupt it at any time, the next run resumes.'
        + f'\nThe log is {steps.log}.'
    )
    files = {'config': Path(config), 'losses and metrics': work_dir / 'curves.png'}
    with steps, exclusive(out / '.own_data.lock', f'trains in {out}'):
        claim_work_dir(work_dir, cfg)
        with steps.step('train'):
            steps.run(Launcher().train(config, work_dir, []), environment)
        files['checkpoint'] = checkpoint = _best(work_dir)
        for path in (*_PREDICTIONS, 'result.html', 'result.json'):
            (out / path).unlink(missing_ok=True)  # of an earlier run
        with steps.step('test'):
            steps.run(Launcher().test(config, checkpoint, out / 'test', _saved(cfg, out)), environment)
        found = json.loads(newest_metrics(out / 'test').read_text())
        if predictions := _predictions(cfg, out):
            with steps.step('explain'):
                # mmengine measures the time of a batch, reading included.
                milliseconds = 1000 * found['time'] / cfg.test_dataloader.batch_size
                words = [*_explained(cfg, out, predictions), '--milliseconds', milliseconds]
                steps.run([sys.executable, project_root() / 'tools/explain.py', *words], environment)
            files['report of the result'] = out / 'result.html'
        else:
            steps.console.print('explain: left out, since nothing was predicted')
        try:
            with steps.step('export'):
                words = [config, '--checkpoint', checkpoint, '--out', model]
                steps.run([sys.executable, project_root() / 'tools/export.py', *words], environment)
            files['exported file'] = model
        except UserError as error:
            # No reason to lose the rest.
            steps.console.print(f'not exported: {printable(str(error))}')
    seconds = dict(steps.seconds)
    if started:
        del seconds['train']  # of its last part alone
    metrics = main_metrics(found) | {name: found[key] for name, key in _AP50.items() if key in found}
    return Trained(metrics, seconds, files, tuple(class_names(cfg.train_dataloader.dataset)), _commands(cfg, files))


def _plan(cfg: Config, out: Path) -> Steps:
    """The steps, and how long they are."""
    units = dict(
        train=cfg.train_cfg.get('max_iters') or cfg.train_cfg.max_epochs * count_batches(cfg.train_dataloader),
        test=count_batches(cfg.test_dataloader, with_objects=False),
        explain=count_images(cfg.test_dataloader, with_objects=False),
        export=1,
    )
    area = math.prod(cfg.image_size) / (320 * 240) if 'image_size' in cfg else 1
    seconds = {name: (start, each * area) for name, (start, each) in _SECONDS.items()}
    return Steps([Step(name, number, *seconds[name]) for name, number in units.items()], 'train', out / 'own_data.log')


def _commands(cfg: Config, files: dict[str, Path]) -> list[str]:
    """What runs the checkpoint and the exported model."""
    arguments = ['IMAGES', files['config'], files['checkpoint'], '--out-dir', 'outputs']
    commands = [tool_command('image_demo', arguments)]
    if 'exported file' in files:
        commands.append(tool_command('predict_onnx', [files['exported file'], 'IMAGES', '--out-dir', 'outputs_onnx']))
    return commands


def _detects(cfg: Config) -> bool:
    return cfg.default_scope == 'mmdet'


def _saved(cfg: Config, out: Path) -> list:
    """Options of the test that save predictions; a detector's config says so itself."""
    return [] if _detects(cfg) else ['--out', out / _OF_LABELS[cfg.default_scope]]


def _predictions(cfg: Config, out: Path) -> list[Path]:
    """What the test has predicted; of a detector, the files that are not empty."""
    if not _detects(cfg):
        return [out / _OF_LABELS[cfg.default_scope]]
    paths = [out / name for name in _PREDICTIONS]
    return [path for path in paths if path.is_file() and path.read_bytes().strip() != b'[]']


def _explained(cfg: Config, out: Path, predictions: list[Path]) -> list:
    """Arguments of tools/explain.py."""
    dataset = cfg.test_dataloader.dataset
    if not _detects(cfg):
        prefix = dataset.data_prefix
        images = Path(dataset.data_root, prefix if isinstance(prefix, str) else prefix.img_path)
        return [Path(dataset.data_root, dataset.ann_file), *predictions, '--images', images, '--out', out]
    size = ['--image-size', *cfg.image_size] if 'image_size' in cfg else []
    images = Path(dataset.data_root, dataset.data_prefix.img)
    return [cfg.test_evaluator.ann_file, *predictions, '--images', images, '--out', out, *size]


def _check_form(cfg: Config) -> None:
    """Make sure that the config has still the form that this module has written."""
    datasets = [cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test')]
    evaluator = isinstance(cfg.test_evaluator, dict) and (not _detects(cfg) or 'ann_file' in cfg.test_evaluator)
    if not evaluator or not all('ann_file' in dataset and 'data_root' in dataset for dataset in datasets):
        raise UserError(
            f'{cfg.filename} has wrapped data sets or several evaluators, which --train is not for: train it by '
            f'{tool_command("train", [cfg.filename])}'
        )


def _best(work_dir: Path) -> Path:
    """The checkpoint with the highest metric, or else the last one."""
    best = sorted(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    return best[-1] if best else Path(latest_checkpoint(work_dir))

"""What FasterNet's choices are worth: partial ratio, norm and activation (Table 5), in cost, latency and AP."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.comparison.runs import (
    Run,
    TrainingPlan,
    generate_data,
    run_record,
    train_in_turn,
    training_lock,
)
from mmfasternet.benchmark.measure.complexity import count_forward
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.measure.paths import randomize_norms
from mmfasternet.benchmark.measure.turns import Clock, Contender, progress_bar, time_in_turns, use_threads
from mmfasternet.benchmark.paper.experiment import Experiment
from mmfasternet.benchmark.paper.width import width_for
from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.records import Records
from mmfasternet.deploy import optimize_for_inference
from mmfasternet.deploy.fold import check_same
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError
from mmfasternet.models import FasterNet

__all__ = ['PATHS', 'VARIANTS', 'Plan', 'Variant', 'equal_width', 'measure_ablation']

PATHS = ('reference', 'optimized')


@dataclass(frozen=True)
class Variant:
    """A row of Table 5; a partial ratio other than 1/4 has the width that keeps the base's FLOPs."""

    name: str
    label: str
    printed: str
    base: str
    partial_ratio: float = 1 / 4
    norm: str = 'BN'
    act: str = 'GELU'
    is_trained: bool = True

    def arch(self) -> dict[str, Any]:
        """What FasterNet takes as its ``arch``."""
        settings = FasterNet.arch_settings[self.base]
        channels = settings['embed_dims']
        if self.partial_ratio != 1 / 4:
            channels = equal_width(self.partial_ratio)
        return dict(
            embed_dims=channels,
            depths=list(settings['depths']),
            partial_ratio=_feasible_ratio(channels, self.partial_ratio),
            act_cfg=dict(type=self.act),
        )

    def build(self) -> FasterNet:
        """The backbone, with random weights."""
        return _backbone(self.arch(), self.norm)

    def options(self) -> dict[str, Any]:
        """Settings that put it into a detector's config, from random weights."""
        arch, prefix = self.arch(), 'model.backbone'
        return {
            f'{prefix}.arch._delete_': True,
            **{f'{prefix}.arch.{key}': value for key, value in arch.items() if key != 'act_cfg'},
            f'{prefix}.arch.act_cfg.type': self.act,
            f'{prefix}.init_cfg._delete_': True,
            f'{prefix}.init_cfg.type': 'Kaiming',
            f'{prefix}.init_cfg.layer': 'Conv2d',
            'model.neck.in_channels': [arch['embed_dims'] * 2**stage for stage in range(4)],
        }


VARIANTS = (
    Variant('t0', 'T0', 'T0 r=1/4', 't0'),
    Variant('t0_half', 'T0, ratio 1/2', 'T0* r=1/2 (width changed to match FLOPs)', 't0', partial_ratio=1 / 2),
    Variant('t0_eighth', 'T0, ratio 1/8', 'T0* r=1/8 (width changed to match FLOPs)', 't0', partial_ratio=1 / 8),
    Variant('t0_ln', 'T0, LN', 'T0 LN', 't0', norm='LN', is_trained=False),
    Variant('t0_relu', 'T0, ReLU', 'T0 ReLU', 't0', act='ReLU'),
    Variant('t2', 'T2', 'T2 ReLU', 't2', act='ReLU'),
    Variant('t2_gelu', 'T2, GELU', 'T2 GELU', 't2'),
)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        variants: Rows of Table 5. Defaults to all that can be built.
        pixels: Height and width of the image for FLOPs and latencies. Defaults to 224.
        device: Where latencies are measured, 'cpu' or a GPU such as 'cuda:0'. Defaults to 'cpu'.
        threads: Threads of torch on the CPU. None means as many as torch uses by default. Defaults to None.
        rounds: Turns of each variant on each path. Defaults to 10.
        seeds: Each trains every variant once; () trains none. Defaults to (0,).
        config: Detector with a FasterNet, trained with each variant in its place, from random weights. Defaults to that
            of compare-trained on generated images.
        options: Settings that override the config's, dotted key → value. Defaults to {}.
        shapes: Parameters of the generated data that override the config's. Defaults to {}.
    """

    variants: tuple[Variant, ...] = VARIANTS
    pixels: int = 224
    device: str = 'cpu'
    threads: int | None = None
    rounds: int = 10
    seeds: tuple[int, ...] = (0,)
    config: str = 'configs/demo/trained_fasternet_t0.py'
    options: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)

    def runs(self, out_dir: Path) -> list[Run]:
        """All trainings: every variant with the first seed, then with the next."""
        return [
            Run(TrainingPlan((row,), (seed,), out_dir, self.options | variant.options(), self.shapes), row, seed)
            for seed in self.seeds
            for variant in self.variants
            if variant.is_trained
            for row in [Row(variant.name, variant.label, 'FasterNet', self.config)]
        ]


@lru_cache
def equal_width(partial_ratio: float) -> int:
    """The even number of channels at which the multiply-adds at 224 × 224 are nearest to those of T0."""
    settings = FasterNet.arch_settings['t0']

    def flops(channels: int, partial_ratio: float = partial_ratio) -> int:
        arch = {**settings, 'embed_dims': channels, 'partial_ratio': _feasible_ratio(channels, partial_ratio)}
        # Where nothing is computed, building and counting take milliseconds.
        with torch.device('meta'):
            model = _backbone(arch)
        return count_forward(model, 224, 224)['flops_full']

    return width_for(flops(settings['embed_dims'], 1 / 4), flops, step=2)


def _feasible_ratio(channels: int, partial_ratio: float) -> float:
    """The nearest ratio that is an integer number of a stage's channels, at least one: 5/42 for 1/8 of 42."""
    return max(1, round(channels * partial_ratio)) / channels


def _backbone(arch: dict[str, Any], norm: str = 'BN') -> FasterNet:
    """A FasterNet as a classifier has it: one feature map, without a norm of the output."""
    return FasterNet(arch, out_indices=(3,), out_norm=False, norm_cfg=dict(type=norm))


def measure_ablation(plan: Plan, path: str | Path) -> Records:
    """Count and time every variant, then train and test each, and save after every part.

    What is recorded is kept, so that the same call resumes where it was interrupted; trainings resume from their last
    checkpoint.

    Args:
        plan: What to measure.
        path: File of records, see docs/records.md; trainings go to ``seed_N/<variant>`` beside it.

    Returns:
        The records. Those with the setting part 'cost' have ``params``, ``flops`` (multiply-adds per image) and
        ``channels`` of stage 1; those with part 'latency' the latencies of
        :func:`~mmfasternet.benchmark.measure.turns.summarize`; those with part 'ap' ``box_ap`` and ``mask_ap`` in
        percent points, and ``curves``.

    Raises:
        UserError: If a training fails, the detector has no FasterNet, or the records are of another machine, number of
            threads or budget.

    Example:
        >>> records = measure_ablation(Plan(VARIANTS[:1], pixels=64, rounds=1, seeds=()), 'ablation.json')
        >>> [record['settings']['part'] for record in records.records]
        ['cost', 'latency', 'latency']
    """
    protocol = Protocol(device=plan.device, threads=plan.threads, rounds=plan.rounds)
    _check_config(plan)
    experiment = Experiment('ablation', Records.open(path, plan.device))
    experiment.require(dict(threads=protocol.torch_threads))
    folder = Path(path).parent
    runs = plan.runs(folder)
    todo = _check_budget(runs, experiment)
    _count_variants(plan, experiment)
    _time_variants(plan, protocol, experiment)
    if runs:
        with training_lock(folder) as lock:
            _train_variants(runs, todo, lock, experiment)
    return experiment.records


def _check_config(plan: Plan) -> None:
    """Before anything takes its time: whether the variants fit into the detector."""
    config = load_config(Row('', '', '', plan.config).config_path, plan.options)
    found = config.get('model', {}).get('backbone', {}).get('type')
    if found != 'FasterNet':
        raise UserError(
            f'{plan.config} has the backbone {found}, but the ablation needs a FasterNet: choose another config'
        )


def _check_budget(runs: list[Run], experiment: Experiment) -> list[Run]:
    """The runs without an AP yet; the records, and the folders of trainings beside them, are for one budget."""
    for run in runs:
        settings = _ap_settings(run)
        for record in experiment.records.of_kind('paper', row=run.row.name):
            found = record['settings']
            if found.get('seed') == run.seed and found != settings:
                raise UserError(
                    f'{experiment.records.path} has {run.name} of another budget ({found}, now it is {settings}): '
                    'choose another folder with --out-dir'
                )
    todo = [run for run in runs if not experiment.find(run.row.name, _ap_settings(run))]
    for run in todo[:1]:
        generate_data(run.plan)
    for run in todo:
        run.claim()
    return todo


def _count_variants(plan: Plan, experiment: Experiment) -> None:
    settings = dict(part='cost', height=plan.pixels, width=plan.pixels)
    for variant in plan.variants:
        if not experiment.find(variant.name, settings):
            count = count_forward(variant.build(), plan.pixels, plan.pixels)
            figures = dict(params=count['params'], flops=count['flops_full'], channels=variant.arch()['embed_dims'])
            experiment.add(variant.name, variant.label, settings, figures)


def _time_variants(plan: Plan, protocol: Protocol, experiment: Experiment) -> None:
    """All variants on both paths in turns."""
    settings = {
        path: dict(
            part='latency', path=path, height=plan.pixels, width=plan.pixels, batch=1, threads=protocol.torch_threads
        )
        for path in PATHS
    }
    if all(experiment.find(variant.name, settings[path]) for variant in plan.variants for path in PATHS):
        return
    threads = protocol.torch_threads
    # How weights are packed may depend on the number of threads.
    with use_threads(threads), progress_bar() as progress:
        contenders = dict(_both_paths(plan))
        task = progress.add_task('latencies of all variants in turns', total=plan.rounds)
        clock = Clock(plan.device)
        timed = time_in_turns(contenders, clock, plan.rounds, threads, lambda: progress.advance(task))
    for (name, path), figures in timed.items():
        experiment.add(name, contenders[name, path].label, settings[path], figures)


def _both_paths(plan: Plan) -> Iterator[tuple[tuple[str, str], Contender]]:
    image = torch.rand(1, 3, plan.pixels, plan.pixels, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def forward(model: nn.Module) -> list[Tensor]:
        return list(model(image))

    for variant in plan.variants:
        torch.manual_seed(0)
        model = variant.build().eval().requires_grad_(False)
        randomize_norms(model)
        optimized = optimize_for_inference(model)
        check_same(model, optimized, forward, f'{variant.label} optimized')
        for path, network in zip(PATHS, (model, optimized), strict=True):
            run = partial(network.to(plan.device), image.to(plan.device))
            yield (variant.name, path), Contender(variant.label, run)


def _train_variants(runs: list[Run], todo: list[Run], lock: TextIO, experiment: Experiment) -> None:
    """Train and test what has no AP yet."""
    for run in train_in_turn(runs, todo, lock):
        record = run_record(run)
        kept = [key for key in record if key.startswith(('box_ap', 'mask_ap'))] + ['curves', 'checkpoint']
        experiment.add(run.row.name, run.row.label, _ap_settings(run), {key: record[key] for key in kept})


def _ap_settings(run: Run) -> dict[str, Any]:
    return dict(part='ap', config=run.row.config, **run.budget())

"""What FasterNet's choices are worth: partial ratio, norm and activation (Table 5), in cost, latency and AP."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmfasternet.benchmark.comparison.trained import (
    Run,
    Study,
    carry_out,
    generate,
    only_one,
    record_of,
    training_progress,
)
from mmfasternet.benchmark.measure.complexity import count_operators, count_params
from mmfasternet.benchmark.measure.latency import progress_bar, use_threads
from mmfasternet.benchmark.measure.paths import randomize_norms
from mmfasternet.benchmark.measure.timing import Contender, time_in_turns
from mmfasternet.benchmark.paper.operators.costs import width_for
from mmfasternet.benchmark.paper.records import StudyFile
from mmfasternet.benchmark.published.rows import Row
from mmfasternet.deploy import optimize_for_inference
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError
from mmfasternet.models import FasterNet

__all__ = ['VARIANTS', 'Plan', 'Variant', 'equal_width', 'measure_ablation']

CONFIG = 'configs/demo/trained_fasternet_t0.py'
FORMS = ('eager', 'deployed')


@dataclass(frozen=True)
class Variant:
    """A row of Table 5.

    Args:
        name: What records call it.
        label: What tables and plots call it.
        printed: What Table 5 calls it.
        base: The variant of FasterNet that it changes.
        partial_ratio: Share of the channels that PConv convolves, to the nearest whole channel; widths are searched
            that keep the base's FLOPs. Defaults to 1/4.
        norm: Norm layers. Defaults to 'BN'.
        act: Activation. Defaults to 'GELU'.
        is_trained: Whether AP is measured too. Defaults to True.
    """

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
            channels = equal_width(self.partial_ratio, self.base)
        return dict(
            embed_dims=channels,
            depths=list(settings['depths']),
            partial_ratio=whole_ratio(channels, self.partial_ratio),
            act_cfg=dict(type=self.act),
        )

    def build(self) -> FasterNet:
        """The backbone, with random weights."""
        return backbone(self.arch(), self.norm)


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
    """What is measured.

    Args:
        variants: Rows of Table 5. Defaults to all that can be rebuilt.
        pixels: Height and width of the picture for FLOPs and latencies. Defaults to 224.
        device: Where latencies are taken, 'cpu' or a GPU such as 'cuda:0'. Defaults to 'cpu'.
        threads: Threads of torch on the CPU. None means as many as torch takes. Defaults to None.
        rounds: Turns of each form of each variant. Defaults to 10.
        seeds: Each trains every variant once; () trains none. Defaults to (0,).
        config: Detector with a FasterNet, which is trained with each variant in its place, from random weights.
            Defaults to the study's on generated pictures.
        options: Settings that override the config's, dotted key → value. Defaults to {}.
        shapes: Parameters of the generated data that override the config's. Defaults to {}.
    """

    variants: tuple[Variant, ...] = VARIANTS
    pixels: int = 224
    device: str = 'cpu'
    threads: int | None = None
    rounds: int = 10
    seeds: tuple[int, ...] = (0,)
    config: str = CONFIG
    options: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)

    def runs(self, out_dir: Path) -> list[Run]:
        """All trainings: every variant with the first seed, then with the next."""
        trained = [variant for variant in self.variants if variant.is_trained]
        return [
            Run(self.study(variant, out_dir), self.row(variant), seed) for seed in self.seeds for variant in trained
        ]

    def study(self, variant: Variant, out_dir: Path) -> Study:
        """A study of one variant."""
        options = {**self.options, **backbone_options(variant)}
        return Study((self.row(variant),), self.seeds, out_dir, options, self.shapes)

    def row(self, variant: Variant) -> Row:
        return Row(variant.name, variant.label, 'FasterNet', self.config, schedule='from scratch')


@lru_cache
def equal_width(partial_ratio: float, base: str = 't0') -> int:
    """The channels of stage 1 at which a FasterNet's multiply-adds at 224 × 224 are nearest to a variant's.

    Args:
        partial_ratio: Share of the channels that PConv convolves.
        base: The variant. Defaults to 't0'.

    Returns:
        An even number of channels.

    Example:
        >>> equal_width(1 / 4), equal_width(1 / 2), equal_width(1 / 8)
        (40, 34, 42)
    """
    settings = FasterNet.arch_settings[base]

    def flops(channels: int, partial_ratio: float = partial_ratio) -> int:
        arch = {**settings, 'embed_dims': channels, 'partial_ratio': whole_ratio(channels, partial_ratio)}
        with torch.device('meta'):
            return flops_of(backbone(arch), 224)

    return width_for(flops(settings['embed_dims'], 1 / 4), flops, step=2)


def whole_ratio(channels: int, partial_ratio: float) -> float:
    """The ratio nearest to one that is a whole number of a stage's channels, at least one: 5/42 for 1/8 of 42."""
    return max(1, round(channels * partial_ratio)) / channels


def backbone(arch: dict[str, Any], norm: str = 'BN') -> FasterNet:
    """A FasterNet as a classifier has it: one map, without a norm of the output."""
    return FasterNet(arch, out_indices=(3,), out_norm=False, norm_cfg=dict(type=norm))


def flops_of(model: nn.Module, pixels: int) -> int:
    """Multiply-adds of a picture, norms counted as in the paper's Table 3."""
    return count_operators(model.to('meta').eval(), torch.empty(1, 3, pixels, pixels, device='meta'))['flops_full']


def backbone_options(variant: Variant) -> dict[str, Any]:
    """Settings that put a variant into a detector's config, from random weights."""
    arch, prefix = variant.arch(), 'model.backbone'
    return {
        f'{prefix}.arch._delete_': True,
        **{f'{prefix}.arch.{key}': value for key, value in arch.items() if key != 'act_cfg'},
        f'{prefix}.arch.act_cfg.type': variant.act,
        f'{prefix}.init_cfg._delete_': True,
        f'{prefix}.init_cfg.type': 'Kaiming',
        f'{prefix}.init_cfg.layer': 'Conv2d',
        'model.neck.in_channels': [arch['embed_dims'] * 2**stage for stage in range(4)],
    }


def measure_ablation(plan: Plan, out: str | Path) -> dict:
    """Count and time every variant, then train and test each, and save after every part.

    What the file has already is kept, so that the same call goes on where it was stopped; trainings go on from their
    last checkpoint.

    Args:
        plan: What to measure.
        out: File of records, see docs/records.md; trainings go to ``seed_N/<variant>`` beside it.

    Returns:
        The document. Records of ``settings`` with part 'cost' have ``params``, ``flops`` (multiply-adds of a picture)
        and ``channels`` of stage 1; those with part 'latency' the latencies of
        :func:`~mmfasternet.benchmark.measure.timing.time_in_turns`; those with part 'ap' ``box_ap`` and ``mask_ap`` in percent
        points, and ``curves``.

    Raises:
        UserError: If a training fails, the detector has no FasterNet, or the file is of another machine or budget.

    Example:
        >>> document = measure_ablation(Plan(VARIANTS[:1], pixels=64, rounds=1, seeds=()), 'ablation.json')
        >>> [record['settings']['part'] for record in document['records']]
        ['cost', 'latency', 'latency']
    """
    check_config(plan)
    file = StudyFile(out, 'ablation', plan.device, plan.threads)
    runs = plan.runs(file.path.parent)
    check_budget(runs, file)
    threads = plan.threads or torch.get_num_threads()
    with use_threads(threads):
        count_variants(plan, file)
        time_variants(plan, threads, file)
    if runs:
        with only_one(file.path.parent) as lock:
            train_variants(runs, lock, file)
    return file.document


def check_config(plan: Plan) -> None:
    """Before anything takes its time: whether the detector is one that variants fit into."""
    config = load_config(plan.row(plan.variants[0]).config_path, plan.options)
    found = config.get('model', {}).get('backbone', {}).get('type')
    if found != 'FasterNet':
        raise UserError(
            f'{plan.config} has the backbone {found}, and the ablation changes a FasterNet: name a config with one'
        )


def check_budget(runs: list[Run], file: StudyFile) -> None:
    """A file, and the folders of trainings beside it, are for one budget."""
    for run in runs:
        settings = ap_settings(run)
        for record in file.document['records']:
            found = record['settings']
            if (record['row'], found.get('seed')) == (run.row.name, run.seed) and found != settings:
                raise UserError(
                    f'{file.path} has {run.name} of another budget ({found}, now it is {settings}); name another '
                    '--out-dir'
                )


def count_variants(plan: Plan, file: StudyFile) -> None:
    settings = dict(part='cost', height=plan.pixels, width=plan.pixels)
    for variant in plan.variants:
        if not file.find(variant.name, settings):
            model = variant.build()
            params = count_params(model)['params']
            figures = dict(params=params, flops=flops_of(model, plan.pixels), channels=variant.arch()['embed_dims'])
            file.add(variant.name, variant.label, settings, figures)


def time_variants(plan: Plan, threads: int, file: StudyFile) -> None:
    """Both forms of all variants in turns."""
    settings = {form: dict(part='latency', form=form, height=plan.pixels, width=plan.pixels, batch=1) for form in FORMS}
    if all(file.find(variant.name, settings[form]) for variant in plan.variants for form in FORMS):
        return
    contenders = dict(both_forms(plan))
    with progress_bar() as progress:
        task = progress.add_task('latencies of all variants in turns', total=1)
        found = time_in_turns(contenders, plan.device, threads, plan.rounds)
        progress.advance(task)
    for (name, form), figures in found.items():
        file.add(name, contenders[name, form].label, settings[form], figures)


def both_forms(plan: Plan) -> Iterator[tuple[tuple[str, str], Contender]]:
    image = torch.rand(1, 3, plan.pixels, plan.pixels, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for variant in plan.variants:
        torch.manual_seed(0)
        model = variant.build().eval().requires_grad_(False)
        randomize_norms(model)
        for form, network in zip(FORMS, (model, optimize_for_inference(model)), strict=True):
            yield (variant.name, form), Contender(variant.label, network.to(plan.device), image.to(plan.device))


def train_variants(runs: list[Run], lock: int, file: StudyFile) -> None:
    """Train and test what has no AP yet."""
    todo = [run for run in runs if not file.find(run.row.name, ap_settings(run))]
    for run in todo[:1]:
        generate(run.study)
    with training_progress(speed_estimate_period=600) as progress:
        task = progress.add_task('', total=len(runs), completed=len(runs) - len(todo))
        for done, run in enumerate(todo, len(runs) - len(todo)):
            for share in carry_out(run, lock):
                progress.update(task, description=run.name, completed=done + share)
            record = record_of(run)
            kept = [key for key in record if key.startswith(('box_ap', 'mask_ap'))] + ['curves', 'checkpoint']
            file.add(run.row.name, run.row.label, ap_settings(run), {key: record[key] for key in kept})
            progress.update(task, completed=done + 1)


def ap_settings(run: Run) -> dict[str, Any]:
    return dict(part='ap', config=run.row.config, **run.budget())

"""The page and the figure of approximation, from the records and the paper's Table 2."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mmfasternet.benchmark.paper.report import Report, Statement
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import table
from mmfasternet.benchmark.report.style import COLOURS, MARKERS

from .measure import APPROXIMATORS

__all__ = ['REPORT', 'fits_of']

_LABELS = {approximator.name: approximator.label for approximator in APPROXIMATORS}
_PCONV = list(_LABELS).index('pconv_pwconv')
# Stage and seed → approximator → record.
_Fits = dict[tuple[int, int], dict[str, dict]]

_BODY = """## Mean squared error

{errors}

## Share of the variance that is left

The error over the variance of the convolution's output around each channel's mean, on the test images. It makes the
stages comparable, whose feature maps differ in size and scale.

{shares}

## Multiply-adds

Per position of a feature map.

{flops}

## The paper

Table 2, for a ResNet50 pre-trained on ImageNet. Errors are in squared units of a network's own feature maps: the errors
can't be compared with those above, their ratios can.

{paper}"""


def fits_of(records: Records) -> _Fits:
    """The fits of the seeds that are complete, so that every mean is over the same stages and seeds."""
    found: _Fits = {}
    for record in records.records:
        settings = record['settings']
        found.setdefault((settings['stage'], settings['seed']), {})[record['row']] = record
    stages = {stage for stage, _ in found}
    finished = {
        seed for _, seed in found if all(found.get((stage, seed), {}).keys() == _LABELS.keys() for stage in stages)
    }
    return {key: found[key] for key in sorted(found) if key[1] in finished}


def _stages_of(fits: _Fits) -> list[int]:
    return sorted({stage for stage, _ in fits})


def _seeds_of(fits: _Fits) -> list[int]:
    return sorted({seed for _, seed in fits})


def _grid(fits: _Fits, figure: str) -> np.ndarray:
    """A figure of all fits: (stages, seeds, approximators)."""
    return np.array(
        [
            [[fits[stage, seed][name]['figures'][figure] for name in _LABELS] for seed in _seeds_of(fits)]
            for stage in _stages_of(fits)
        ]
    )


def _relative(errors: np.ndarray) -> np.ndarray:
    """Errors over those of PConv + PWConv."""
    return errors / errors[..., [_PCONV]]


def _printed_errors() -> np.ndarray:
    """The errors in Table 2, NaN where it has none: (stages, approximators)."""
    rows = [row for row in published('table2_approximation_mse') if row['resnet50_stage'] != 'average']
    return np.array([[float(row.get(name, 'nan')) for name in _LABELS] for row in rows])


def _setup(records: Records) -> str:
    settings, seeds = records.records[0]['settings'], _seeds_of(fits_of(records))
    return (
        f'. Network: {settings["network"]}; {settings["images"]} images of {settings["pixels"]} × '
        f'{settings["pixels"]} pixels, of which 70 % train, 10 % choose the best of {settings["epochs"]} epochs and '
        f'20 % test. Seeds: {", ".join(map(str, seeds))}; each splits the images and draws the first weights. Figures '
        'are means, with the lowest and the highest of the seeds.'
        + ' One seed alone says nothing about the spread between seeds.'
        * (len(seeds) == 1)
    )


def _body(records: Records) -> str:
    fits = fits_of(records)
    errors, variances, flops, targets = (_grid(fits, key) for key in ('mse', 'variance', 'flops', 'target_flops'))
    layers = {stage: next(iter(one.values()))['settings']['layer'] for (stage, _), one in fits.items()}
    names = [f'{stage} (`{layer}`)' for stage, layer in layers.items()]

    def spreads(values: np.ndarray, form: str) -> str:
        """A line for each stage, and one for the average of the stages, seed by seed."""
        rows = zip([*names, 'average'], [*values, values.mean(axis=0)], strict=True)
        return table(head, [[name, *(_spread(found, form) for found in row.T)] for name, row in rows])

    head = ['stage', *_LABELS.values()]
    costs = zip(names, np.concatenate([targets[..., :1], flops], axis=-1)[:, 0], strict=True)
    printed = published('table2_approximation_mse')
    return _BODY.format(
        errors=spreads(errors, '.4g'),
        shares=spreads(errors / variances, '.2%'),
        flops=table(['stage', 'Conv', *head[1:]], [[name, *(f'{value:,}' for value in row)] for name, row in costs]),
        paper=table(head, [[row['resnet50_stage'], *(row.get(name, '') for name in _LABELS)] for row in printed]),
    )


def _spread(values: np.ndarray, form: str) -> str:
    """The mean of the seeds, with the lowest and the highest."""
    return f'{values.mean():{form}}' + f' ({values.min():{form}} – {values.max():{form}})' * (len(values) > 1)


def _state(records: Records) -> Iterator[Statement]:
    fits = fits_of(records)
    stages, labels = _stages_of(fits), list(_LABELS.values())
    errors, flops = _grid(fits, 'mse'), _grid(fits, 'flops')
    ratios, printed = _relative(errors), _relative(_printed_errors())
    for index in np.log(ratios).mean(axis=(0, 1)).argsort():
        if index == _PCONV:
            continue
        found, theirs = ratios[..., index], printed[:, index]
        lower = [str(stage) for stage, ratio in zip(stages, found.mean(axis=1), strict=True) if ratio < 1]
        apart = abs(_relative(flops)[..., index] - 1).max()
        text = (
            f'{labels[index]} has {_mean_ratio(found)} times the error of {labels[_PCONV]} (geometric mean over stages '
            f'and seeds), a lower one in {(found < 1).sum()} of {found.size} fits and on average at '
            f'{"stage " + ", ".join(lower) if lower else "no stage"}, with '
            + (f'multiply-adds that differ by at most {apart:.1%}.' if apart else 'the same multiply-adds.')
        )
        if not np.isnan(theirs).any():
            text += f' The paper has {_mean_ratio(theirs)} times the error, and a lower one at {(theirs < 1).sum()} of '
            text += f'{theirs.size} stages.'
        yield Statement(text, bool(lower) or np.log(found).mean() < 0)
    for stage, found in zip(stages, errors, strict=True):
        best = found.mean(axis=0).argmin()
        yield Statement(
            f'Stage {stage}: {labels[best]} has the lowest mean error, and the lowest error at '
            f'{(found[:, best] == found.min(axis=1)).sum()} of {len(found)} seeds.',
            against=best != _PCONV,
        )


def _mean_ratio(ratios: np.ndarray) -> str:
    return f'{np.exp(np.log(ratios).mean()):.2f}'


def _draw(records: Records) -> Figure:
    """The share of the variance that is left, and errors over those of PConv + PWConv, measured and published."""
    fits = fits_of(records)
    errors, network = _grid(fits, 'mse'), records.records[0]['settings']['network']
    figure = Figure(figsize=(12.5, 4.6), layout='constrained')
    left, measured, paper = figure.subplots(1, 3)
    paper.sharey(measured)
    for axes, values, title in (
        (left, 100 * errors / _grid(fits, 'variance'), f'{network}: what is left'),
        (measured, _relative(errors), f'{network}: ratios, measured'),
        (paper, _relative(_printed_errors())[:, None], 'the paper, Table 2: ratios'),
    ):
        _draw_series(axes, values)
        axes.set_title(title, loc='left', fontsize=10)
        axes.set_xlabel('stage')
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.set_ylabel('variance left (%)')
    left.set_yscale('log')
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter('{x:g}')
    left.yaxis.set_minor_formatter(NullFormatter())
    measured.set_ylabel(f'error over that of {list(_LABELS.values())[_PCONV]}')
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=len(_LABELS), frameon=False)
    return figure


def _draw_series(axes: Axes, values: np.ndarray) -> None:
    """Means of the seeds with bars from the lowest to the highest, stage by stage, each approximator a little aside."""
    means = values.mean(axis=1)
    spread = np.stack([means - values.min(axis=1), values.max(axis=1) - means]).clip(0)
    for index, label in enumerate(_LABELS.values()):
        if not np.isnan(means[:, index]).any():
            places = np.arange(1, len(means) + 1) + 0.06 * (index - 1.5)
            style = dict(marker=MARKERS[index], color=COLOURS[index], linewidth=1, capsize=3, label=label)
            axes.errorbar(places, means[:, index], yerr=spread[..., index], **style)


REPORT = Report(
    name='approximation',
    title='Approximation',
    caption='Errors of the approximations',
    setup=_setup,
    state=_state,
    body=_body,
    draw=_draw,
    missing=lambda records: '' if fits_of(records) else 'no seed is complete; run without --report-only',
)

"""The study of approximation as a page and a picture, from its records and the paper's Table 2."""

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import geometric_mean, mean

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mmfasternet.benchmark.paper.report import write_report
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.report.markdown import bullets, origin, table
from mmfasternet.benchmark.report.plots import COLOURS, MARKERS, STYLE
from mmfasternet.errors import UserError

from .measure import CONTENDERS

__all__ = ['approximation_page', 'draw_approximation', 'fits_of', 'write_approximation']

LABELS = {contender.name: contender.label for contender in CONTENDERS}
PCONV = 'pconv_pwconv'
RIVALS = [name for name in LABELS if name != PCONV]
# Stage and seed → contender → record.
Fits = dict[tuple[int, int], dict[str, dict]]

PAGE = """# Approximation of a regular convolution

Drawn from `records.json` by `tools/paper/approximation.py`; not edited by hand. What it is about is in
[the guide](../../../paper.md).

{origin}.
Network: {network}, on {pictures} pictures of {pixels} × {pixels} pixels, of which 70 % train, 10 % choose the best
epoch of {epochs} and 20 % test. Seeds: {seeds}; each splits the pictures and draws the first weights. Figures are
means, and the lowest and the highest of the seeds.

![Errors of the approximations](approximation.png)

## Mean squared error

{errors}

{verdict}

## Share of the variance that is left

The error over the variance of what the convolution puts out, around each channel's mean, in the test pictures. The
stages can be compared by it; their maps are of different sizes.

{shares}

## Multiply-adds

For one position of a map. {flops_verdict}

{flops}

## The paper

Its Table 2, for a ResNet50 pre-trained on ImageNet. Errors are in squared units of a network's own maps, so that the
errors themselves can't be compared with those above, but their ratios can.

{paper}

{paper_verdict}
"""


def fits_of(document: dict) -> Fits:
    """The fits of the seeds that are finished, so that every mean is over the same stages and seeds.

    Args:
        document: From :func:`~mmfasternet.benchmark.paper.approximation.measure.measure_approximation`.

    Returns:
        Stage and seed → contender → record, in order.
    """
    found: Fits = {}
    for record in document['records']:
        settings = record['settings']
        found.setdefault((settings['stage'], settings['seed']), {})[record['row']] = record
    stages = {stage for stage, _ in found}
    finished = {
        seed for _, seed in found if all(found.get((stage, seed), {}).keys() == LABELS.keys() for stage in stages)
    }
    return {key: found[key] for key in sorted(found) if key[1] in finished}


def stages_of(fits: Fits) -> list[int]:
    return sorted({stage for stage, _ in fits})


def seeds_of(fits: Fits) -> list[int]:
    return sorted({seed for _, seed in fits})


def errors(fits: Fits, stage: int, name: str) -> list[float]:
    """The mean squared errors of a contender at a stage, seed by seed."""
    return [fits[stage, seed][name]['figures']['mse'] for seed in seeds_of(fits)]


def shares(fits: Fits, stage: int, name: str) -> list[float]:
    """The shares of the variance that a contender leaves at a stage, seed by seed."""
    figures = [fits[stage, seed][name]['figures'] for seed in seeds_of(fits)]
    return [one['mse'] / one['variance'] for one in figures]


def ratios(fits: Fits, stage: int, name: str) -> list[float]:
    """The errors of a contender over those of PConv + PWConv at a stage, seed by seed."""
    return [one / pconv for one, pconv in zip(errors(fits, stage, name), errors(fits, stage, PCONV), strict=True)]


def approximation_page(document: dict) -> str:
    """The study as Markdown.

    Args:
        document: From :func:`~mmfasternet.benchmark.paper.approximation.measure.measure_approximation`.

    Returns:
        The text.
    """
    fits = fits_of(document)
    settings = document['records'][0]['settings']
    return PAGE.format(
        origin=origin(document),
        **{key: settings[key] for key in ('network', 'pictures', 'pixels', 'epochs')},
        seeds=', '.join(map(str, seeds_of(fits))),
        errors=values_table(fits, errors, '.4g'),
        verdict=bullets(verdict(fits)),
        shares=values_table(fits, shares, '.2%'),
        flops=flops_table(fits),
        flops_verdict=flops_verdict(fits),
        paper=paper_table(),
        paper_verdict=paper_verdict(),
    )


def layer_name(fits: Fits, stage: int) -> str:
    return f'{stage} (`{fits[stage, seeds_of(fits)[0]][PCONV]["settings"]["layer"]}`)'


def values_table(fits: Fits, values: Callable[[Fits, int, str], list[float]], form: str) -> str:
    """A line for each stage, and one for the average of the stages, seed by seed."""

    def cell(found: list[float]) -> str:
        spread = f' ({min(found):{form}} – {max(found):{form}})' if len(found) > 1 else ''
        return f'{mean(found):{form}}{spread}'

    stages = stages_of(fits)
    rows = [[layer_name(fits, stage), *(cell(values(fits, stage, name)) for name in LABELS)] for stage in stages]
    averages = [
        [mean(by_stage) for by_stage in zip(*(values(fits, stage, name) for stage in stages), strict=True)]
        for name in LABELS
    ]
    return table(['stage', *LABELS.values()], [*rows, ['average', *map(cell, averages)]])


def verdict(fits: Fits) -> Iterator[str]:
    seeds = seeds_of(fits)
    for stage in stages_of(fits):
        found = {name: errors(fits, stage, name) for name in LABELS}
        means = {name: mean(values) for name, values in found.items()}
        best = min(means, key=means.get)
        wins = sum(values[0] == min(values) for values in zip(found[best], *found.values(), strict=True))
        yield (
            f'Stage {stage}: {LABELS[best]} has the lowest mean error, and the lowest error at {wins} of {len(seeds)} '
            'seeds.'
        )
    for name in RIVALS:
        found = [ratio for stage in stages_of(fits) for ratio in ratios(fits, stage, name)]
        yield (
            f'{LABELS[name]} has {geometric_mean(found):.2f} times the error of {LABELS[PCONV]} (geometric mean over '
            f'stages and seeds), and a higher one in {sum(ratio > 1 for ratio in found)} of {len(found)} fits.'
        )
    if len(seeds) == 1:
        yield 'With one seed there is no spread to judge by.'


def flops_table(fits: Fits) -> str:
    rows = []
    for stage in stages_of(fits):
        records = fits[stage, seeds_of(fits)[0]]
        target = records[PCONV]['figures']['target_flops']
        rows.append(
            [
                layer_name(fits, stage),
                f'{target:,}',
                *(f'{records[name]["figures"]["flops"]:,}' for name in LABELS),
            ]
        )
    return table(['stage', 'Conv', *LABELS.values()], rows)


def flops_verdict(fits: Fits) -> str:
    """How far the widened DWConv and GConv are from the FLOPs of PConv."""
    records = [fits[stage, seeds_of(fits)[0]] for stage in stages_of(fits)]
    texts = []
    for name in RIVALS:
        apart = max(abs(one[name]['figures']['flops'] / one[PCONV]['figures']['flops'] - 1) for one in records)
        texts.append(f'{LABELS[name]} by {apart:.1%} at most' if apart else f'{LABELS[name]} not at all')
    return f'From those of {LABELS[PCONV]} differ: {"; ".join(texts)}.'


def paper_table() -> str:
    rows = published('table2_approximation_mse')
    return table(
        ['stage', *LABELS.values()],
        [[row['resnet50_stage'], *(row.get(name, '') for name in LABELS)] for row in rows],
    )


def paper_ratios(name: str) -> list[float]:
    """The published errors of a contender over those of PConv + PWConv, stage by stage; none if it is not in there."""
    rows = [row for row in published('table2_approximation_mse') if row['resnet50_stage'] != 'average']
    return [float(row[name]) / float(row[PCONV]) for row in rows if name in row]


def paper_verdict() -> str:
    lines = []
    for name in RIVALS:
        if found := paper_ratios(name):
            lines.append(
                f'{LABELS[name]} has {geometric_mean(found):.2f} times the error of {LABELS[PCONV]} (geometric mean '
                f'over stages), and a higher one in {sum(ratio > 1 for ratio in found)} of {len(found)} stages.'
            )
    return bullets(lines)


@matplotlib.rc_context(STYLE)
def draw_approximation(document: dict) -> Figure:
    """The share of the variance that is left, and errors over those of PConv + PWConv, measured and published.

    Args:
        document: As for :func:`approximation_page`.

    Returns:
        The figure.
    """
    fits = fits_of(document)
    stages = stages_of(fits)
    figure = Figure(figsize=(12.5, 4.6), layout='constrained')
    left, measured, paper = figure.subplots(1, 3)
    paper.sharey(measured)
    for index, name in enumerate(LABELS):
        draw_series(left, index, [[100 * value for value in shares(fits, stage, name)] for stage in stages])
        draw_series(measured, index, [ratios(fits, stage, name) for stage in stages])
        draw_series(paper, index, [[ratio] for ratio in paper_ratios(name)])
    left.set_ylabel('variance left (%)')
    left.set_yscale('log')
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter('{x:g}')
    left.yaxis.set_minor_formatter(NullFormatter())
    measured.set_ylabel(f'error over that of {LABELS[PCONV]}')
    network = document['records'][0]['settings']['network']
    for axes, title in (
        (left, f'{network}: what is left'),
        (measured, f'{network}: ratios, measured'),
        (paper, 'the paper, Table 2: ratios'),
    ):
        axes.set_title(title, loc='left', fontsize=10)
        axes.set_xlabel('stage')
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=len(LABELS), frameon=False)
    return figure


def draw_series(axes: Axes, index: int, values: list[list[float]]) -> None:
    """Means of the seeds with bars from the lowest to the highest, stage by stage, each contender a little aside."""
    if not values:
        return
    means = [mean(found) for found in values]
    spread = [
        [middle - min(found) for middle, found in zip(means, values, strict=True)],
        [max(found) - middle for middle, found in zip(means, values, strict=True)],
    ]
    axes.errorbar(
        [stage + 0.06 * (index - 1.5) for stage in range(1, len(values) + 1)],
        means,
        yerr=spread,
        marker=MARKERS[index],
        color=COLOURS[index],
        linewidth=1,
        capsize=3,
        label=list(LABELS.values())[index],
    )


def write_approximation(document: dict, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the picture, each file whole.

    Args:
        document: As for :func:`approximation_page`.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of approximation.md, approximation.png and approximation.svg.

    Raises:
        UserError: If no seed is finished yet, or a file can't be written.
    """
    if not fits_of(document):
        raise UserError(f'nothing to draw in {out_dir} yet: no seed is finished; run the study without --report-only')
    return write_report('approximation', approximation_page(document), draw_approximation(document), out_dir)

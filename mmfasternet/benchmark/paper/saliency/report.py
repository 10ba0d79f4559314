"""The study of the T shape as a page and a picture, from its records."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest, chi2_contingency, chisquare

from mmfasternet.benchmark.paper.report import of_weights, write_report
from mmfasternet.benchmark.report.markdown import bullets, origin, table
from mmfasternet.benchmark.report.plots import COLOURS, STYLE
from mmfasternet.errors import UserError

__all__ = ['draw_saliency', 'pooled_counts', 'saliency_page', 'write_saliency']

CENTRE = 4
CORNERS, EDGES = (0, 2, 6, 8), (1, 3, 5, 7)
# Below it a p-value is called evidence, and the smallest that is printed as a number.
SIGNIFICANT, SMALLEST = 0.01, 1e-99

PAGE = """# The T shape

Drawn from `records.json` by `tools/paper/saliency.py`; not edited by hand. What it is about is in
[the guide](../../../paper.md).

{origin}.
Weights: {network}, {layers} layers with {filters:,} filters of 3 × 3. Beside them as many
random filters of the same shapes, drawn from a normal distribution.

![Salient positions of trained and of random filters](saliency.png)

## Salient positions

How many filters have their largest norm at each position, the three rows of the kernel one after the other.

{positions}

{verdict}

The paper's Fig. 6 is a histogram of the same for a ResNet18 pre-trained on ImageNet, without numbers: there the centre
is the salient position most often.

## Layer by layer

The share of filters whose salient position is the centre, and what share of a filter's norms the centre has on average.
Chance is {chance:.1%} for both.

{by_layer}
"""


def pooled_counts(document: dict, weights: str) -> np.ndarray:
    """How many filters of all layers have their largest norm at each position.

    Args:
        document: From :func:`~mmfasternet.benchmark.paper.saliency.measure.measure_saliency`.
        weights: 'trained' or 'random'.

    Returns:
        Nine counts, row by row.
    """
    return np.sum([record['figures']['salient'] for record in of_weights(document, weights)], axis=0)


def saliency_page(document: dict) -> str:
    """The study as Markdown.

    Args:
        document: From :func:`~mmfasternet.benchmark.paper.saliency.measure.measure_saliency`.

    Returns:
        The text.
    """
    trained = of_weights(document, 'trained')
    return PAGE.format(
        origin=origin(document),
        network=trained[0]['settings']['network'],
        layers=len(trained),
        filters=sum(record['figures']['filters'] for record in trained),
        positions=positions_table(document),
        verdict=bullets(verdict(document)),
        chance=1 / 9,
        by_layer=layers_table(document),
    )


def positions_table(document: dict) -> str:
    rows = []
    for weights in ('trained', 'random'):
        counts = pooled_counts(document, weights)
        rows.append([weights, *(f'{count:,} ({count / counts.sum():.1%})' for count in counts)])
    names = ['top left', 'top', 'top right', 'left', '**centre**', 'right', 'bottom left', 'bottom', 'bottom right']
    return table(['filters', *names], rows)


def verdict(document: dict) -> list[str]:
    trained, random = (pooled_counts(document, weights) for weights in ('trained', 'random'))
    lines = []
    for weights, counts in (('trained', trained), ('random', random)):
        total = int(counts.sum())
        centre = binomtest(int(counts[CENTRE]), total, 1 / 9, alternative='greater').pvalue
        uniform = chisquare(counts).pvalue
        more = 'more often than' if centre < SIGNIFICANT else 'not demonstrably more often than'
        lines.append(
            f'Of the {weights} filters the centre is salient in {counts[CENTRE]:,} of {total:,} '
            f'({counts[CENTRE] / total:.1%}), {more} by chance ({1 / 9:.1%}; one-sided binomial test, '
            f'{p_text(centre)}). That all nine positions are equally likely has {p_text(uniform)} (χ² of 8 degrees of '
            f'freedom). The most frequent position is the {place(int(counts.argmax()))}.'
        )
    both = np.array([trained, random])
    # A position that is salient nowhere says nothing of the difference.
    p = chi2_contingency(both[:, both.any(axis=0)]).pvalue
    lines.append(
        f'Trained and random filters are {"told apart" if p < SIGNIFICANT else "**not** told apart"}: that both come '
        f'of one distribution has {p_text(p)} (χ² of the two rows above).'
    )
    edges, corners = (trained[list(places)].sum() / trained.sum() for places in (EDGES, CORNERS))
    lines.append(
        f'Of the trained filters {edges:.1%} have it at one of the four edges and {corners:.1%} at one of the four '
        f'corners; chance is {4 / 9:.1%} for each.'
    )
    lines.append('The tests take filters as independent of each other, which those of one layer are not quite.')
    return lines


def place(position: int) -> str:
    return 'centre' if position == CENTRE else f'one in row {position // 3 + 1}, column {position % 3 + 1}'


def p_text(value: float) -> str:
    return f'p < {SMALLEST:.0e}' if value < SMALLEST else f'p = {value:.2g}'


def layers_table(document: dict) -> str:
    rows = []
    for trained, random in zip(of_weights(document, 'trained'), of_weights(document, 'random'), strict=True):
        figures = trained['figures']
        rows.append(
            [
                f'`{trained["label"]}`',
                f'{figures["filters"]:,}',
                f'{figures["channels"]:,}',
                f'{centre_share(trained):.1%}',
                f'{centre_share(random):.1%}',
                f'{figures["mean_norms"][CENTRE]:.1%}',
            ]
        )
    head = ['layer', 'filters', 'channels', 'centre is salient', 'random filters', "centre's share of norms"]
    return table(head, rows)


def centre_share(record: dict) -> float:
    """The share of filters with a salient position that have it at the centre."""
    counts = record['figures']['salient']
    return counts[CENTRE] / max(sum(counts), 1)


@matplotlib.rc_context(STYLE)
def draw_saliency(document: dict) -> Figure:
    """The histogram of salient positions, the same as a kernel, and the centre's share layer by layer.

    Args:
        document: As for :func:`saliency_page`.

    Returns:
        The figure.
    """
    trained = of_weights(document, 'trained')
    figure = Figure(figsize=(12.5, 3.2 + 0.18 * len(trained)), layout='constrained')
    histogram, kernel, layers = figure.subplots(1, 3, width_ratios=(1.25, 0.8, 1.25))
    for offset, (weights, colour) in enumerate(dict(trained=COLOURS[0], random=COLOURS[1]).items()):
        counts = pooled_counts(document, weights)
        places = np.arange(9) + 0.4 * offset - 0.2
        histogram.bar(places, 100 * counts / counts.sum(), 0.4, color=colour, hatch='///'[: 3 * offset], label=weights)
    histogram.axhline(100 / 9, color='#222222', linewidth=1, linestyle='--', label='chance')
    histogram.set_xticks(range(9), range(1, 10))
    histogram.grid(axis='x', visible=False)
    histogram.set(xlabel='position in the kernel, row by row; 5 is the centre', ylabel='filters salient there (%)')
    histogram.legend(loc='lower center', bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    draw_kernel(kernel, pooled_counts(document, 'trained'))
    for weights, colour, marker, aside in (('trained', COLOURS[0], 'o', -0.15), ('random', COLOURS[1], 's', 0.15)):
        shares = [100 * centre_share(record) for record in of_weights(document, weights)]
        places = aside + np.arange(len(shares))
        layers.plot(shares, places, marker, color=colour, linestyle='none', markersize=5, label=weights)
    layers.axvline(100 / 9, color='#222222', linewidth=1, linestyle='--')
    names = [record['label'].removeprefix('backbone.') for record in trained]
    layers.set_yticks(range(len(trained)), names, fontsize=8)
    layers.invert_yaxis()
    layers.set(xlabel='filters with the centre salient (%)', xlim=(0, None))
    layers.set_title('layer by layer', fontsize=10)
    figure.suptitle(f'Salient positions of 3 × 3 filters: {trained[0]["settings"]["network"]}', fontsize=11)
    return figure


def draw_kernel(axes: Axes, counts: np.ndarray) -> None:
    shares = 100 * counts.reshape(3, 3) / counts.sum()
    axes.imshow(shares, cmap='cividis', vmin=0)
    for row, column in np.ndindex(3, 3):
        dark = shares[row, column] < 0.6 * shares.max()
        text = f'{shares[row, column]:.1f}'
        axes.text(column, row, text, ha='center', va='center', color='white' if dark else 'black')
    axes.set_xticks(range(3), range(1, 4))
    axes.set_yticks(range(3), range(1, 4))
    axes.grid(visible=False)
    axes.set(xlabel='column', ylabel='row')
    axes.set_title('trained, % of the filters', fontsize=10)


def write_saliency(document: dict, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the picture, each file whole.

    Args:
        document: As for :func:`saliency_page`.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of saliency.md, saliency.png and saliency.svg.

    Raises:
        UserError: If nothing is measured yet, or a file can't be written.
    """
    if not document['records'] or not pooled_counts(document, 'trained').any():
        raise UserError(f'nothing to draw in {out_dir}: no filter is counted; run the study without --report-only')
    return write_report('saliency', saliency_page(document), draw_saliency(document), out_dir)

"""The page and the figure of the T shape, from the records."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest, chi2_contingency, chisquare

from mmfasternet.benchmark.paper.report import Report, Statement, of_weights
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import table
from mmfasternet.benchmark.report.style import COLOURS

__all__ = ['REPORT', 'pooled_counts']

_CENTRE = 4
_CORNERS, _EDGES = (0, 2, 6, 8), (1, 3, 5, 7)
# Below the first a p-value is called evidence; the second is the smallest that is printed as a number.
_SIGNIFICANT, _SMALLEST = 0.01, 1e-99

_BODY = """## Salient positions

How many filters have their largest norm at each position, the three rows of the kernel in order. The tests above treat
filters as independent of each other, which those of one layer are not quite.

{positions}

The paper's Fig. 6 is a histogram of the same for a ResNet18 pre-trained on ImageNet, without numbers: there the centre
is the salient position most often.

## Layer by layer

The share of filters whose salient position is the centre, and the centre's average share of a filter's norms.
Chance is {chance:.1%} for both.

{by_layer}"""


def pooled_counts(records: Records, weights: str) -> np.ndarray:
    """How many filters of all layers have their largest norm at each of the nine positions, row by row."""
    return np.sum([record['figures']['salient'] for record in of_weights(records, weights)], axis=0)


def _setup(records: Records) -> str:
    trained = of_weights(records, 'trained')
    filters = sum(record['figures']['filters'] for record in trained)
    return (
        f'. Weights: {trained[0]["settings"]["network"]}; {len(trained)} layers with {filters:,} filters of 3 × 3. The '
        'control is the same number of random filters of the same shapes, drawn from a normal distribution.'
    )


def _body(records: Records) -> str:
    return _BODY.format(positions=_positions_table(records), chance=1 / 9, by_layer=_layers_table(records))


def _pairs(records: Records) -> list[tuple[dict, dict]]:
    """The trained and the random filters of each layer."""
    return list(zip(of_weights(records, 'trained'), of_weights(records, 'random'), strict=False))


def _positions_table(records: Records) -> str:
    rows = []
    for weights in ('trained', 'random'):
        counts = pooled_counts(records, weights)
        rows.append([weights, *(f'{count:,} ({count / counts.sum():.1%})' for count in counts)])
    names = ['top left', 'top', 'top right', 'left', '**centre**', 'right', 'bottom left', 'bottom', 'bottom right']
    return table(['filters', *names], rows)


def _state(records: Records) -> Iterator[Statement]:
    trained, random = (pooled_counts(records, weights) for weights in ('trained', 'random'))
    for weights, counts in (('trained', trained), ('random', random)):
        total, most = int(counts.sum()), int(counts.argmax())
        # How likely a centre is that is salient so often, if all positions are equally likely.
        p = binomtest(int(counts[_CENTRE]), total, 1 / 9, alternative='greater').pvalue
        often = 'more often than' if p < _SIGNIFICANT else 'not demonstrably more often than'
        yield Statement(
            f'In {counts[_CENTRE]:,} of {total:,} {weights} filters ({counts[_CENTRE] / total:.1%}) the centre is '
            f'salient, {often} by chance ({1 / 9:.1%}; one-sided binomial test, {_p_text(p)}). The most frequent '
            f'position is {_place(most)} ({counts[most] / total:.1%}). Equal probability of all nine positions has '
            f'{_p_text(chisquare(counts).pvalue)} (χ² test, 8 degrees of freedom).',
            against=weights == 'trained' and (most != _CENTRE or p >= _SIGNIFICANT),
        )
    pairs = _pairs(records)
    fewer = sum(_centre_share(trained) <= _centre_share(random) for trained, random in pairs)
    yield Statement(
        f'In {fewer} of {len(pairs)} layers the centre is salient in no more trained filters than random ones.',
        fewer > 0,
    )
    both = np.array([trained, random])
    # A position that is salient nowhere says nothing about the difference.
    p = chi2_contingency(both[:, both.any(axis=0)]).pvalue
    yield Statement(
        f'Trained and random filters {"differ" if p < _SIGNIFICANT else "do **not** differ demonstrably"}: one '
        f'distribution for both has {_p_text(p)} (χ² test of their counts at the nine positions).',
        against=p >= _SIGNIFICANT,
    )
    edges, corners = (trained[list(places)].sum() / trained.sum() for places in (_EDGES, _CORNERS))
    yield Statement(
        f'Of the trained filters {edges:.1%} have it at one of the four edges and {corners:.1%} at one of the four '
        f'corners; chance is {4 / 9:.1%} for each.'
    )


def _place(position: int) -> str:
    return 'the centre' if position == _CENTRE else f'row {position // 3 + 1}, column {position % 3 + 1}'


def _p_text(value: float) -> str:
    return f'p < {_SMALLEST:.0e}' if value < _SMALLEST else f'p = {value:.2g}'


def _layers_table(records: Records) -> str:
    rows = [
        [
            f'`{trained["label"]}`',
            f'{trained["figures"]["filters"]:,}',
            f'{trained["figures"]["channels"]:,}',
            f'{_centre_share(trained):.1%}',
            f'{_centre_share(random):.1%}',
            f'{trained["figures"]["mean_norms"][_CENTRE]:.1%}',
        ]
        for trained, random in _pairs(records)
    ]
    head = ['layer', 'filters', 'channels', 'centre is salient', 'random filters', "centre's share of norms"]
    return table(head, rows)


def _centre_share(record: dict) -> float:
    """The share of filters with a salient position that have it at the centre."""
    counts = record['figures']['salient']
    return counts[_CENTRE] / max(sum(counts), 1)


def _draw(records: Records) -> Figure:
    """The histogram of salient positions, the same as a kernel, and the centre's share layer by layer."""
    trained = of_weights(records, 'trained')
    figure = Figure(figsize=(12.5, 3.2 + 0.18 * len(trained)), layout='constrained')
    histogram, kernel, layers = figure.subplots(1, 3, width_ratios=(1.25, 0.8, 1.25))
    for offset, (weights, colour) in enumerate(dict(trained=COLOURS[0], random=COLOURS[1]).items()):
        counts = pooled_counts(records, weights)
        places = np.arange(9) + 0.4 * offset - 0.2
        histogram.bar(places, 100 * counts / counts.sum(), 0.4, color=colour, hatch='///'[: 3 * offset], label=weights)
    histogram.axhline(100 / 9, color='#222222', linewidth=1, linestyle='--', label='chance')
    histogram.set_xticks(range(9), range(1, 10))
    histogram.grid(axis='x', visible=False)
    histogram.set(xlabel='position in the kernel, row by row; 5 is the centre', ylabel='filters salient there (%)')
    histogram.legend(loc='lower center', bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    _draw_kernel(kernel, pooled_counts(records, 'trained'))
    for weights, colour, marker, aside in (('trained', COLOURS[0], 'o', -0.15), ('random', COLOURS[1], 's', 0.15)):
        shares = [100 * _centre_share(record) for record in of_weights(records, weights)]
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


def _draw_kernel(axes: Axes, counts: np.ndarray) -> None:
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


def _missing(records: Records) -> str:
    both = ('trained', 'random')
    counted = (of_weights(records, weights) and pooled_counts(records, weights).any() for weights in both)
    return '' if all(counted) else 'no filter is counted; run without --report-only'


REPORT = Report(
    name='saliency',
    title='The T shape',
    caption='Salient positions of trained and of random filters',
    setup=_setup,
    state=_state,
    body=_body,
    draw=_draw,
    missing=_missing,
)

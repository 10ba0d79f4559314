"""The page and the figure of redundancy, from the records."""

import base64
import io
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mmfasternet.benchmark.paper.report import Report, Statement, of_weights
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import span, table
from mmfasternet.benchmark.report.style import COLOURS

__all__ = ['REPORT']

# From which |r| on a channel is called a near copy of another.
_NEAR_COPY = 0.9
# Key of a record's figures → what it is called.
_KINDS = dict(best_correlations='', best_correlations_shifted=', each map shifted')

_BODY = """## How similar channels are

For every channel, the largest absolute correlation |r| over all positions with any other channel: 1 means that one
channel is the other times a factor, plus a constant. A *near copy* has |r| ≥ {near}. There are two controls: the same
network with random weights, and the same feature maps, each rolled by a random distance of its own. Smooth maps are
similar to some extent by chance, and the second control shows how much.

{distributions}

The paper's Fig. 3 shows feature maps of an intermediate layer of a ResNet50 that was pre-trained on ImageNet, to be
judged by eye, and gives no number."""


def _setup(records: Records) -> str:
    settings, figures = records.records[0]['settings'], records.records[0]['figures']
    return (
        f'. Network: {settings["network"]}; the {figures["channels"]} feature maps of {figures["height"]} × '
        f'{figures["width"]} that its layer `{settings["layer"]}` returns for photographs of {settings["pixels"]} × '
        f'{settings["pixels"]} pixels.'
    )


def _body(records: Records) -> str:
    return _BODY.format(near=_NEAR_COPY, distributions=_distributions_table(records))


def _groups(records: Records) -> dict[str, np.ndarray]:
    """Name → best correlations of all channels and photographs, trained, random and each of them shifted."""
    return {
        weights + suffix: np.concatenate([record['figures'][key] for record in of_weights(records, weights)])
        for weights in ('trained', 'random')
        for key, suffix in _KINDS.items()
    }


def _state(records: Records) -> Iterator[Statement]:
    found = _groups(records)
    trained, chance, random = (found[name] for name in ('trained', 'trained, each map shifted', 'random'))
    copies, by_chance, untrained = map(_near_copies, (trained, chance, random))
    yield Statement(
        f'{copies:.0%} of the channels of the trained network that vary are near copies of another, and '
        f'{1 - copies:.0%} have none; by chance, in shifted maps, {by_chance:.0%} are.',
        against=copies < 0.5,
    )
    yield Statement(
        f'With random weights {untrained:.0%} of the channels are near copies of another, after the training '
        f'{copies:.0%}'
        + ': this run does not show that training makes feature maps redundant' * (copies <= untrained)
        + '.',
        against=copies <= untrained,
    )
    medians = [np.median(record['figures']['best_correlations']) for record in of_weights(records, 'trained')]
    yield Statement(
        f'The median of |r| over all channels is {np.median(trained):.2f} trained (from photograph to photograph '
        f'{span(medians)}), {np.median(random):.2f} with random weights and {np.median(chance):.2f} by chance.',
        against=bool(np.median(trained) <= np.median(random)),
    )


def _distributions_table(records: Records) -> str:
    rows = [
        [
            f'{record["label"]}, {record["settings"]["weights"]}{suffix}',
            *_summary(np.array(record['figures'][key])),
            str(record['figures']['constant']),
        ]
        for weights in ('trained', 'random')
        for record in of_weights(records, weights)
        for key, suffix in _KINDS.items()
    ]
    rows += [[f'**all, {name}**', *_summary(values), ''] for name, values in _groups(records).items()]
    return table(['photograph, weights', 'median \\|r\\|', 'quartiles', 'near copies', 'constant maps'], rows)


def _summary(values: np.ndarray) -> list[str]:
    if not len(values):
        return ['', '', '']
    low, median, high = np.percentile(values, (25, 50, 75))
    return [f'{median:.2f}', f'{low:.2f} – {high:.2f}', f'{_near_copies(values):.0%}']


def _near_copies(values: np.ndarray) -> float:
    """The share of near copies."""
    return float(np.mean(values >= _NEAR_COPY))


def _draw(records: Records) -> Figure:
    """A photograph with its feature maps, and the distributions of the best correlation."""
    record = of_weights(records, 'trained')[0]
    figure = Figure(figsize=(11, 7.6), layout='constrained')
    above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    photograph, maps = above.subplots(1, 2, width_ratios=(1, 2.5))
    for axes, key in ((photograph, 'photograph'), (maps, 'maps')):
        image = Image.open(io.BytesIO(base64.b64decode(record['figures'][key])))
        axes.imshow(np.asarray(image), cmap='gray', vmin=0, vmax=255, interpolation='nearest')
        axes.set_axis_off()
    photograph.set_title(record['label'], fontsize=10)
    settings = record['settings']
    maps.set_title(f'{settings["network"]}, first channels of {settings["layer"]}, trained', fontsize=10)
    _draw_distributions(below.subplots(), records)
    return figure


def _draw_distributions(axes: Axes, records: Records) -> None:
    for (name, values), colour, style in zip(_groups(records).items(), COLOURS, ('-', ':', '--', '-.'), strict=False):
        if len(values):
            axes.ecdf(values, complementary=True, color=colour, linestyle=style, linewidth=2, label=name)
    axes.axvline(_NEAR_COPY, color='#222222', linewidth=0.8)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel='largest |r| with any other channel; the line marks near copies',
        ylabel='share of channels with at least this |r|',
    )
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)


def _missing(records: Records) -> str:
    if not all(of_weights(records, weights) for weights in ('trained', 'random')):
        return 'no photograph is measured; run without --report-only'
    return '' if all(map(len, _groups(records).values())) else 'no feature map varies; choose another --layer'


REPORT = Report(
    name='redundancy',
    title='Redundancy',
    caption='Feature maps, and how similar they are',
    setup=_setup,
    state=_state,
    body=_body,
    draw=_draw,
    missing=_missing,
)

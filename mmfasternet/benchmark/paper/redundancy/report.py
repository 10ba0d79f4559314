"""The study of redundancy as a page and a picture, from its records."""

import base64
import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mmfasternet.benchmark.paper.report import of_weights, write_report
from mmfasternet.benchmark.report.markdown import bullets, origin, span, table
from mmfasternet.benchmark.report.plots import COLOURS, STYLE
from mmfasternet.errors import UserError

__all__ = ['draw_redundancy', 'redundancy_page', 'write_redundancy']

# From which |r| on a channel is called a near copy of another.
NEAR_COPY = 0.9
# Key of a record's figures → what it is called.
KINDS = dict(best_correlations='', best_correlations_shifted=', each map shifted')

PAGE = """# Redundancy of feature maps

Drawn from `records.json` by `tools/paper/redundancy.py`; not edited by hand. What it is about is in
[the guide](../../../paper.md).

{origin}.
Network: {network}, the {channels} maps of {height} × {width} that its layer `{layer}` puts out for photographs of
{pixels} × {pixels} pixels.

![Feature maps, and how much they are like each other](redundancy.png)

## How much channels are like each other

For every channel the largest absolute correlation |r|, over all positions, with any other channel: 1 means that one
channel is the other times a factor, plus a constant. A *near copy* has |r| ≥ {near}. Beside the trained network stand
the same network with random weights, and the same maps, each rolled by a random distance of its own: smooth maps are
alike to some extent by chance, and that is how much.

{distributions}

{verdict}

The paper's Fig. 3 shows maps of an intermediate layer of a ResNet50 that was pre-trained on ImageNet, to be judged by
eye, and gives no number.
"""


def redundancy_page(document: dict) -> str:
    """The study as Markdown.

    Args:
        document: From :func:`~mmfasternet.benchmark.paper.redundancy.measure.measure_redundancy`.

    Returns:
        The text.
    """
    record = document['records'][0]
    sizes = {key: record['figures'][key] for key in ('channels', 'height', 'width')}
    settings = {key: record['settings'][key] for key in ('network', 'layer', 'pixels')}
    return PAGE.format(
        origin=origin(document),
        **sizes,
        **settings,
        near=NEAR_COPY,
        distributions=distributions_table(document),
        verdict=bullets(verdict(document)),
    )


def groups(document: dict) -> dict[str, np.ndarray]:
    """Name → best correlations of all channels and photographs, trained, random and each of them shifted."""
    return {
        weights + suffix: np.concatenate([record['figures'][key] for record in of_weights(document, weights)])
        for weights in ('trained', 'random')
        for key, suffix in KINDS.items()
    }


def distributions_table(document: dict) -> str:
    rows = [
        [
            f'{record["label"]}, {record["settings"]["weights"]}{suffix}',
            *summary(np.array(record['figures'][key])),
            str(record['figures']['constant']),
        ]
        for record in sorted(document['records'], key=lambda record: record['settings']['weights'], reverse=True)
        for key, suffix in KINDS.items()
    ]
    rows += [[f'**all, {name}**', *summary(values), ''] for name, values in groups(document).items()]
    head = ['photograph, weights', 'median \\|r\\|', 'quartiles', 'near copies', 'constant maps']
    return table(head, rows)


def summary(values: np.ndarray) -> list[str]:
    if not len(values):
        return ['', '', '']
    low, median, high = np.percentile(values, (25, 50, 75))
    return [f'{median:.2f}', f'{low:.2f} – {high:.2f}', f'{near_copies(values):.0%}']


def near_copies(values: np.ndarray) -> float:
    """The share of near copies."""
    return float(np.mean(values >= NEAR_COPY))


def verdict(document: dict) -> list[str]:
    found = groups(document)
    trained, chance, random = (found[name] for name in ('trained', 'trained, each map shifted', 'random'))
    medians = [np.median(record['figures']['best_correlations']) for record in of_weights(document, 'trained')]
    photographs = 'photograph' if len(medians) == 1 else 'photographs'
    lines = [
        f'Of the channels that vary, {near_copies(trained):.0%} are near copies of another (medians of |r| over '
        f'{len(medians)} {photographs}: {span(medians)}); shifted, {near_copies(chance):.0%} are, by chance.'
    ]
    lines.append(
        f'With random weights {near_copies(random):.0%} are. The medians of |r| over all channels are '
        f'{np.median(trained):.2f} trained, {np.median(random):.2f} random and {np.median(chance):.2f} by chance.'
    )
    return lines


@matplotlib.rc_context(STYLE)
def draw_redundancy(document: dict) -> Figure:
    """A photograph with the maps that it makes, and the distributions of the best correlation.

    Args:
        document: As for :func:`redundancy_page`.

    Returns:
        The figure.
    """
    record = of_weights(document, 'trained')[0]
    figure = Figure(figsize=(11, 7.6), layout='constrained')
    above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    photograph, maps = above.subplots(1, 2, width_ratios=(1, 2.5))
    for axes, key in ((photograph, 'photograph'), (maps, 'maps')):
        axes.imshow(decoded(record['figures'][key]), cmap='gray', vmin=0, vmax=255)
        axes.set_axis_off()
    photograph.set_title(record['label'], fontsize=10)
    settings = record['settings']
    maps.set_title(f'{settings["network"]}, first channels of {settings["layer"]}, trained', fontsize=10)
    draw_distributions(below.subplots(), document)
    return figure


def draw_distributions(axes: Axes, document: dict) -> None:
    for (name, values), colour, style in zip(groups(document).items(), COLOURS, ('-', ':', '--', '-.'), strict=False):
        if len(values):
            axes.ecdf(values, complementary=True, color=colour, linestyle=style, linewidth=2, label=name)
    axes.axvline(NEAR_COPY, color='#222222', linewidth=0.8)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel='largest |r| with any other channel; the line marks near copies',
        ylabel='share of channels with at least so much',
    )
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def write_redundancy(document: dict, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the picture, each file whole.

    Args:
        document: As for :func:`redundancy_page`.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of redundancy.md, redundancy.png and redundancy.svg.

    Raises:
        UserError: If nothing is measured yet, all maps are constant, or a file can't be written.
    """
    if not all(of_weights(document, weights) for weights in ('trained', 'random')):
        raise UserError(f'nothing to draw in {out_dir} yet: no photograph is measured; run it without --report-only')
    if not all(map(len, groups(document).values())):
        raise UserError(f'nothing to draw in {out_dir}: no map of the layer varies; name another with --layer')
    return write_report('redundancy', redundancy_page(document), draw_redundancy(document), out_dir)

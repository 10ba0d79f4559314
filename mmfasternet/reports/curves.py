"""Losses and metrics of a training, drawn."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mmfasternet.files import write_file

__all__ = ['draw_curves']

_POINTS = 400  # of a curve: more than the eye tells apart
_DENSE = 1e5  # losses that lie closer have more labels than powers of ten
# Okabe and Ito's colours for all kinds of colour vision.
_COLOURS = ('#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000', '#777777')


def draw_curves(
    path: str | Path,
    losses: Mapping[str, Sequence[float]],
    metrics: Mapping[str, Sequence[tuple[float, float]]],
    last: int,
    epoch_length: int | None = None,
) -> Path:
    """Draw the losses of each iteration above the metrics of each validation.

    Args:
        path: The PNG to write.
        losses: Name → value of each iteration, up to ``last``; ``loss`` is the sum.
        metrics: Name → iterations and values from 0 to 1.
        last: Number of iterations so far.
        epoch_length: Iterations of an epoch, if the training counts epochs. Defaults to None.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written.

    Example:
        >>> draw_curves('curves.png', dict(loss=[3, 2, 1]), {'box AP': [(3, 0.4)]}, last=3).name
        'curves.png'
    """
    figure = Figure(figsize=(8, 6 if metrics else 3.5), layout='constrained')
    panels = figure.subplots(2 if metrics else 1, sharex=True, squeeze=False)[:, 0]
    unit = epoch_length or 1
    # The sum is drawn thick, and first.
    for number, (name, values) in enumerate(sorted(losses.items(), key=lambda item: item[0] != 'loss')):
        places, means = _thinned(np.asarray(values, float), last)
        panels[0].plot(places / unit, means, _style(number), label=name, linewidth=1 + (name == 'loss'))
    panels[0].set_ylabel('loss')
    panels[0].set_yscale('log')
    low, high = panels[0].get_ylim()
    panels[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < _DENSE * low else (1,)))
    panels[0].yaxis.set_major_formatter('{x:g}')
    panels[0].yaxis.set_minor_formatter(NullFormatter())
    for number, (name, points) in enumerate(metrics.items()):
        places, values = np.array(points, float).T
        panels[1].plot(places / unit, values, _style(number), marker='o', markersize=3, label=name)
        best = values.argmax()
        panels[1].annotate(f'{values[best]:.3f}', (places[best] / unit, values[best]), xytext=(0, 4), ha='center',
                           textcoords='offset points', fontsize=8, color=_style(number))  # fmt: skip
    if metrics:
        highest = max(value for points in metrics.values() for _, value in points)
        # What a short training reaches would be a line on the ground.
        panels[1].set_ylim(0, 1.05 if highest > 0.5 else max(0.05, 1.3 * highest))
        panels[1].set_ylabel('validation')
    for panel in panels:
        panel.grid(color='#e8e8e8')
        panel.set_axisbelow(True)
        panel.spines[['top', 'right']].set_visible(False)
        panel.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    panels[-1].set_xlabel('epoch' if epoch_length else 'iteration')
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=120)
    return write_file(path, content.getvalue())


def _style(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _thinned(values: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Iterations and losses of a curve: means of neighbours, where there are many."""
    places = np.arange(last - len(values), last) + 1
    parts = min(_POINTS, len(values))
    return tuple(np.array([part.mean() for part in np.array_split(array, parts)]) for array in (places, values))

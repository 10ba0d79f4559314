"""Parts of a page that results of several tasks share."""

import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot

from mmfasternet.reports.page import Figure, Table

from .calibration import Bin, calibration_error
from .confusion import frequent_confusions

__all__ = ['MOST_CLASSES', 'list_confusions', 'new_plot', 'png', 'points', 'rounded', 'score_parts']

#: As many classes as a matrix stays legible with.
MOST_CLASSES = 20
_PAIRS = 20  # of classes in a list
_BLUE, _GREY = '#3b7dd8', '#8a929a'


def points(value: float) -> float | None:
    """A metric from 0 to 100.

    Args:
        value: From 0 to 1, or NaN.

    Returns:
        None for NaN.

    Example:
        >>> points(0.5), points(float('nan'))
        (50.0, None)
    """
    return None if math.isnan(value) else 100 * float(value)


def rounded(value: float) -> float | None:
    """A figure for a JSON.

    Args:
        value: Any number, or NaN.

    Returns:
        Four digits after the point; None for NaN.

    Example:
        >>> rounded(1 / 3), rounded(float('nan'))
        (0.3333, None)
    """
    return None if math.isnan(value) else round(float(value), 4)


def list_confusions(classes: Sequence[str], matrix: np.ndarray, unit: str) -> Table | None:
    """The classes that are confused most often, where there are too many for a matrix.

    Args:
        classes: Their names.
        matrix: How often each true class was taken for each class, int (classes, classes).
        unit: What is counted.

    Returns:
        A table, or None if nothing was confused.

    Example:
        >>> list_confusions(['cat', 'dog'], np.array([[5, 2], [0, 5]]), 'images').rows
        [['cat', 'dog', 2]]
    """
    pairs = [[classes[row], classes[column], count] for row, column, count in frequent_confusions(matrix, _PAIRS)]
    return Table(['truth', 'taken for', unit], pairs, 'The most frequent confusions') if pairs else None


def new_plot(x: str, y: str) -> tuple[Plot, Axes]:
    """An empty plot of two shares.

    Args:
        x: What the axis to the right shows, from 0 to 1.
        y: That upwards.

    Returns:
        The figure and its panel.
    """
    plot = Plot((5.2, 3.7), layout='constrained')
    panel = plot.subplots()
    panel.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel=x, ylabel=y, axisbelow=True)
    panel.grid(color='#e8e8e8')
    panel.spines[['top', 'right']].set_visible(False)
    return plot, panel


def png(plot: Plot) -> bytes:
    """Encode a plot.

    Args:
        plot: The figure.

    Returns:
        A PNG.
    """
    file = io.BytesIO()
    plot.savefig(file, format='png', dpi=120)
    return file.getvalue()


def score_parts(bins: list[Bin], what: str) -> list[str | Figure | Table]:
    """Show whether scores mean what they say.

    Args:
        bins: From :func:`~mmfasternet.reports.result.calibration.calibration_bins`.
        what: What has the scores, in the plural.

    Returns:
        Parts of a page.
    """
    filled = [one for one in bins if one.count]
    if not filled:
        return [f'No {what} count as right or as wrong: all lie in crowds.']
    off = sum(one.count * (one.score - one.right) for one in filled) / sum(one.count for one in filled)
    side = 'higher' if off > 0 else 'lower'
    plot, panel = new_plot('score', 'share that is right')
    panel.plot([0, 1], [0, 1], '--', color=_GREY, linewidth=1)
    centres = [(one.low + one.high) / 2 for one in filled]
    panel.bar(centres, [one.right for one in filled], 0.092, color=_BLUE, alpha=0.85)
    panel.plot([one.score for one in filled], [one.right for one in filled], 'o', color='#1d2125', markersize=4)
    rows = [
        [
            f'{one.low:.1f} to {one.high:.1f}',
            one.count,
            *((f'{one.score:.2f}', f'{one.right:.2f}') if one.count else (None, None)),
        ]
        for one in bins
    ]
    return [
        f'Of {what} with a score of 0.8, 80 % should be right. The expected calibration error, how far scores are '
        f'off the share that is right on average over all {what}, is {calibration_error(bins):.3f}. On the whole, '
        f'scores are {abs(off):.2f} {side} than that share.',
        Figure(png(plot), f'Share of right {what} by score', 'Above the line scores are too low, below it too high.'),
        Table(['score', what, 'mean score', 'share that is right'], rows),
    ]

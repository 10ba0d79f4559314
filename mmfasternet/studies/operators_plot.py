"""The picture of the study of operators: rooflines, and networks."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ..benchmark.plots import COLOURS, MARKERS, STYLE
from .layers import OPERATORS
from .operators_figures import batches, gmacs, intensity, layers_of, limits, networks_of

__all__ = ['draw_operators']


@matplotlib.rc_context(STYLE)
def draw_operators(document: dict) -> Figure:
    """A roofline for each batch, then FLOPs of networks against their FLOPS and latency.

    Args:
        document: As for :func:`operators_page`.

    Returns:
        The figure.
    """
    records = document['records']
    layer_batches, network_batches = batches(records), batches(records, 'network')
    columns = max(2, len(layer_batches))
    lines = 1 + len(network_batches)
    figure = Figure(figsize=(6.4 * columns, 4.8 * lines), layout='constrained')
    for column, batch in enumerate(layer_batches, 1):
        draw_roofline(figure.add_subplot(lines, columns, column), records, batch)
    for line, batch in enumerate(network_batches, 1):
        draw_networks(figure.add_subplot(lines, columns, line * columns + 1), records, batch, 'FLOPS')
        draw_networks(figure.add_subplot(lines, columns, line * columns + 2), records, batch, 'latency')
    handles = [handle for axes in figure.axes for handle in zip(*axes.get_legend_handles_labels(), strict=True)]
    named = {label: handle for handle, label in handles}
    figure.legend(named.values(), named.keys(), loc='outside lower center', ncols=5, frameon=False)
    figure.suptitle(f'Measured on {document["machine"]["label"]}; FLOPs are multiply-adds', fontsize=11)
    return figure


def draw_roofline(axes: Axes, records: list[dict], batch: int) -> None:
    """Each operator at each size, larger marks for larger maps, under the machine's peak and bandwidth."""
    peak, bandwidth = limits(records)
    found = layers_of(records, batch)
    reach = np.geomspace(0.6 * min(map(intensity, found)), 1.6 * max(map(intensity, found)), 200)
    axes.plot(reach, np.minimum(peak, bandwidth * reach), color='#222222', linewidth=1.2)
    for index, operator in enumerate(OPERATORS):
        ordered = layers_of(records, batch, operator.name)
        for size, record in zip((9, 7.5, 6, 4.5), ordered, strict=False):
            axes.plot(
                intensity(record),
                gmacs(record),
                MARKERS[index],
                markersize=size,
                color=COLOURS[index],
                linestyle='none',
                label=operator.label if record is ordered[0] else None,
            )
    log_axes(axes)
    axes.set(xlabel='multiply-adds a byte of memory access', ylabel='G multiply-adds per second')
    axes.set_title(
        f'Ten layers, batch {batch}; the line is {peak:.0f} G/s and {bandwidth:.1f} GB/s; '
        'smaller marks are smaller maps',
        loc='left',
        fontsize=9,
    )


def draw_networks(axes: Axes, records: list[dict], batch: int, against: str) -> None:
    found = sorted(networks_of(records, batch), key=lambda record: record['figures']['flops'])
    for record in found:
        ours = 'FasterNet' in record['label']
        x, y = record['figures']['flops'] / 1e9, gmacs(record) if against == 'FLOPS' else record['figures']['median_ms']
        axes.plot(x, y, MARKERS[0 if ours else 1], color=COLOURS[0 if ours else 1], markersize=7, linestyle='none')
        axes.annotate(record['label'], (x, y), (5, 4), textcoords='offset points', fontsize=7.5)
    ours = [record for record in found if 'FasterNet' in record['label']]
    axes.plot(
        [record['figures']['flops'] / 1e9 for record in ours],
        [gmacs(record) if against == 'FLOPS' else record['figures']['median_ms'] for record in ours],
        color=COLOURS[0],
        linewidth=1,
        alpha=0.6,
    )
    log_axes(axes)
    axes.set(
        xlabel='FLOPs (G multiply-adds of a picture)',
        ylabel='G multiply-adds per second' if against == 'FLOPS' else 'latency of the batch (ms)',
    )
    axes.set_title(f'Networks, batch {batch}', loc='left', fontsize=9)


def log_axes(axes: Axes) -> None:
    """Both logarithmic, with plain numbers."""
    axes.set(xscale='log', yscale='log')
    axes.margins(0.08)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter('{x:g}')
        axis.set_minor_formatter(NullFormatter())

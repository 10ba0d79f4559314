"""The figure of operators: rooflines, and networks."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.labels import Point, coordinates, place_labels
from mmfasternet.benchmark.report.style import COLOURS, MARKERS

from .figures import batches, complete, gmacs, intensity, layers_of, limits, networks_of
from .layers import OPERATORS

__all__ = ['draw_operators']


def draw_operators(records: Records) -> Figure:
    """A roofline for each batch, then FLOPs of networks against their speed and latency."""
    found = complete(records)
    layer_batches, network_batches = batches(found), batches(found, 'network')
    columns, lines = max(2, len(layer_batches)), 1 + len(network_batches)
    figure = Figure(figsize=(6.4 * columns, 4.8 * lines), layout='constrained')
    for column, batch in enumerate(layer_batches, 1):
        _draw_roofline(figure.add_subplot(lines, columns, column), found, batch)
    labelled = []
    for line, batch in enumerate(network_batches, 1):
        for place, against in enumerate(('speed', 'latency'), 1):
            axes = figure.add_subplot(lines, columns, line * columns + place)
            labelled.append((axes, _draw_networks(axes, found, batch, against)))
    handles = [handle for axes in figure.axes for handle in zip(*axes.get_legend_handles_labels(), strict=True)]
    named = {label: handle for handle, label in handles}
    figure.legend(named.values(), named.keys(), loc='outside lower center', ncols=5, frameon=False)
    title = f'Measured on {records.machine["label"]}; FLOPs are multiply-adds; smaller marks are smaller feature maps'
    figure.suptitle(title, fontsize=11)
    # Labels are placed when the panels have their final places.
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    for axes, points in labelled:
        place_labels(axes, points)
    return figure


def _draw_roofline(axes: Axes, records: list[dict], batch: int) -> None:
    """Each operator at each size, larger marks for larger maps, under the machine's peak and bandwidth."""
    peak, bandwidth = map(max, limits(records))
    found = layers_of(records, batch)
    reach = np.geomspace(0.6 * min(map(intensity, found)), 1.6 * max(map(intensity, found)), 200)
    axes.plot(reach, np.minimum(peak, bandwidth * reach), color='#222222', linewidth=1.2, label='roof')
    for index, operator in enumerate(OPERATORS):
        ordered = layers_of(records, batch, operator.name)
        for size, record in zip(np.linspace(9, 4.5, len(ordered)), ordered, strict=True):
            axes.plot(
                intensity(record),
                gmacs(record),
                MARKERS[index],
                markersize=size,
                color=COLOURS[index],
                linestyle='none',
                label=operator.label if record is ordered[0] else None,
            )
    _log_axes(axes)
    axes.set(xlabel='multiply-adds per byte of memory access', ylabel='GMAC/s')
    title = f'Ten layers, batch {batch}; roof: {peak:.0f} GMAC/s and {bandwidth:.1f} GB/s'
    axes.set_title(title, loc='left', fontsize=9)


def _draw_networks(axes: Axes, records: list[dict], batch: int, against: str) -> list[Point]:
    """FLOPs of networks against their speed or latency; the points are returned to be labelled."""
    points = [
        Point(
            record['label'],
            record['figures']['flops'] / 1e9,
            gmacs(record) if against == 'speed' else record['figures']['median_ms'],
        )
        for record in networks_of(records, batch)
    ]
    ours = [point for point in points if 'FasterNet' in point.label]
    others = [point for point in points if point not in ours]
    axes.plot(*coordinates(ours), MARKERS[-1], color=COLOURS[-1], linestyle='-', linewidth=1, label='FasterNet')
    axes.plot(*coordinates(others), 'd', color='#222222', markerfacecolor='white', label='other networks')
    _log_axes(axes, fine=True)
    axes.set(
        xlabel='FLOPs (G multiply-adds per image)',
        ylabel='GMAC/s' if against == 'speed' else 'latency of the batch (ms)',
    )
    axes.set_title(f'Networks, batch {batch}', loc='left', fontsize=9)
    return points


def _log_axes(axes: Axes, fine: bool = False) -> None:
    """Both logarithmic, with plain numbers, more of them where an axis spans less than a decade or two."""
    axes.set(xscale='log', yscale='log')
    axes.margins(0.08)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if fine else (1, 2, 5)))
        axis.set_major_formatter('{x:g}')
        axis.set_minor_formatter(NullFormatter())

"""Count parameters and multiply-adds of a model: detector, segmentor or classifier, without weights, data or a GPU."""

import argparse

import rich
from mmengine.config import Config
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from mmfasternet.benchmark.measure.complexity import count_classifier, count_complexity
from mmfasternet.benchmark.published.rows import Row, find_row
from mmfasternet.benchmark.records import Records, describe_machine
from mmfasternet.engine.config import load_config
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error

KINDS = dict(mmpretrain=('classifier', count_classifier))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config file, or name of a row: fasternet_s')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='image in pixels; default: 800 1280 for detectors, 224 224 for classifiers, the crops of segmentors',
    )
    parser.add_argument('--out', help='JSON file to add the counts to, as records')
    args = parser.parse_args()
    if args.shape and min(args.shape) < 32:
        parser.error(f'--shape must be at least 32 32, but got {args.shape[0]} {args.shape[1]}')
    return args


def main() -> None:
    args = parse_args()
    provide_ops()
    rows = [find_row(config) for config in args.configs]
    # Counts are the same on every machine.
    records = Records.open(args.out, any_machine=True) if args.out else Records(describe_machine())
    counts = {'complexity': [], 'classifier': []}
    for row in track(rows, 'counting', transient=True):
        cfg = load_config(row.config_path)
        kind, count_of = KINDS.get(cfg.get('default_scope'), ('complexity', count_complexity))
        count = count_of(row.config_path, *(args.shape or default_shape(cfg)))
        counts[kind].append((row, count))
        records.add({'kind': kind, **count, **row.identity})
    if counts['complexity']:
        rich.print(by_part(counts['complexity']), totals(counts['complexity']), sep='\n')
    if counts['classifier']:
        rich.print(by_convention(counts['classifier']))


def default_shape(cfg: Config) -> tuple[int, int]:
    """Height and width of an image as this kind of model usually gets it."""
    if cfg.get('default_scope') == 'mmpretrain':
        return 224, 224
    if cfg.get('default_scope') == 'mmseg':
        return tuple(cfg.model.data_preprocessor.get('size', (512, 512)))
    return 800, 1280


def by_part(models: list[tuple[Row, dict]]) -> Table:
    """Multiply-adds of each part, every operator counted."""
    parts = list(dict.fromkeys(part for _, count in models for part in count['parts']))
    table = Table('', *parts, 'all', title='multiply-adds in G, every operator')
    for row, count in models:
        flops = [count['parts'].get(part, {}).get('flops_full') for part in parts] + [count['flops_full']]
        table.add_row(escape(row.label), *('' if value is None else f'{value / 1e9:.1f}' for value in flops))
    return table


def totals(models: list[tuple[Row, dict]]) -> Table:
    """The complete model, beside what the paper's Table 4 prints."""
    title = 'M parameters, G multiply-adds as the paper counts, its Table 4, M activations'
    head = ['', 'all', 'trained', 'printed', 'FLOPs', 'printed', 'activations']
    lines = []
    for row, count in models:
        params, trainable = (f'{count[key] / 1e6:.1f}' for key in ('params', 'trainable'))
        printed = [str(getattr(row.published, key, None) or '') for key in ('params_m', 'flops_g')]
        flops = f'{count["flops_paper"] / 1e9:.1f}'
        lines.append([row.label, params, trainable, printed[0], flops, printed[1], f'{count["activations"] / 1e6:.0f}'])
    return figures(title, head, lines)


def by_convention(classifiers: list[tuple[Row, dict]]) -> Table:
    """Parameters and multiply-adds of complete classifiers, in the paper's two ways."""
    title = "without norms, as in the paper's Table 8, and with them, as the FLOPs of its Table 3"
    units = dict(params_conv_fc=(1e6, 1), flops_conv_fc=(1e9, 2), params=(1e6, 1), flops=(1e9, 2))
    lines = [
        [row.label, *(f'{count[key] / unit:.{digits}f}' for key, (unit, digits) in units.items())]
        for row, count in classifiers
    ]
    return figures(title, ['', 'M params', 'G FLOPs', 'M with norms', 'G with norms'], lines)


def figures(title: str, head: list[str], lines: list[list[str]]) -> Table:
    """A table of figures, with names in its first column."""
    table = Table(title=title)
    for name in head:
        table.add_column(name, justify='right' if name else 'left', no_wrap=True)
    for line in lines:
        table.add_row(*map(escape, line))
    return table


if __name__ == '__main__':
    with exit_on_user_error():
        main()

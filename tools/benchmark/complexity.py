"""Count parameters and multiply-adds of detectors, segmentors and classifiers, without weights, data or a GPU."""

import argparse

import rich
import torch
from mmengine.config import Config
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from mmfasternet.benchmark.measure.classifier import count_classifier
from mmfasternet.benchmark.measure.complexity import count_complexity
from mmfasternet.benchmark.published.rows import Row, find_row
from mmfasternet.benchmark.records.records import describe_machine, new_document, provenance
from mmfasternet.engine.config import load_config
from mmfasternet.errors import one_sentence_errors, require_ops
from mmfasternet.files import write_json

KINDS = dict(mmpretrain=('classifier', count_classifier))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config file, or name of a row: fasternet_s')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='picture in pixels; default: 800 1280 for detectors, 224 224 for classifiers, the crops of segmentors',
    )
    parser.add_argument('--out', help='JSON file to write the counts to, as records')
    args = parser.parse_args()
    if args.shape and min(args.shape) < 32:
        parser.error(f'--shape must be at least 32 32, but got {args.shape[0]} {args.shape[1]}')
    return args


def main() -> None:
    args = parse_args()
    require_ops()
    rows = [find_row(config) for config in args.configs]
    document = new_document(describe_machine('cpu', torch.get_num_threads()))
    counts = {'complexity': [], 'classifier': []}
    for row in track(rows, 'counting', transient=True):
        cfg = load_config(row.config_path)
        kind, count_of = KINDS.get(cfg.get('default_scope'), ('complexity', count_complexity))
        count = count_of(row.config_path, *(args.shape or default_shape(cfg)))
        counts[kind].append((row, count))
        document['records'].append({'kind': kind, **count, **row.identity, **provenance()})
    if args.out:
        write_json(args.out, document)
    if counts['complexity']:
        rich.print(by_part(counts['complexity']), totals(counts['complexity']), sep='\n')
    if counts['classifier']:
        rich.print(by_convention(counts['classifier']))


def default_shape(cfg: Config) -> tuple[int, int]:
    """Height and width of a picture as the kind of model usually gets it."""
    if cfg.get('default_scope') == 'mmpretrain':
        return 224, 224
    if cfg.get('default_scope') == 'mmseg':
        return tuple(cfg.model.data_preprocessor.get('size', (512, 512)))
    return 800, 1280


def by_part(models: list[tuple[Row, dict]]) -> Table:
    """Multiply-adds of each part, full count."""
    parts = list(dict.fromkeys(part for _, count in models for part in count['parts']))
    table = Table('', *parts, 'all', title='multiply-adds in G, every operator')
    for row, count in models:
        flops = [count['parts'].get(part, {}).get('flops_full') for part in parts] + [count['flops_full']]
        table.add_row(escape(row.label), *('' if value is None else f'{value / 1e9:.1f}' for value in flops))
    return table


def totals(models: list[tuple[Row, dict]]) -> Table:
    """The whole model, beside what the paper's Table 4 printed."""
    table = Table(title='M parameters, G multiply-adds as the paper counts, its Table 4, M activations')
    for name in ('', 'all', 'trained', 'printed', 'FLOPs', 'printed', 'activations'):
        table.add_column(name, justify='right' if name else 'left', no_wrap=True)
    for row, count in models:
        printed = row.published
        table.add_row(
            escape(row.label),
            f'{count["params"] / 1e6:.1f}',
            f'{count["trainable"] / 1e6:.1f}',
            f'{printed.params_m}' if printed and printed.params_m else '',
            f'{count["flops_paper"] / 1e9:.1f}',
            f'{printed.flops_g}' if printed and printed.flops_g else '',
            f'{count["activations"] / 1e6:.0f}',
        )
    return table


def by_convention(classifiers: list[tuple[Row, dict]]) -> Table:
    """Parameters and multiply-adds of whole classifiers, in the paper's two ways."""
    table = Table(title="without norms, as in the paper's Table 8, and with them, as the FLOPs of its Table 3")
    for name in ('', 'M params', 'G FLOPs', 'M with norms', 'G with norms'):
        table.add_column(name, justify='right' if name else 'left', no_wrap=True)
    for row, count in classifiers:
        table.add_row(
            escape(row.label),
            f'{count["params_conv_fc"] / 1e6:.1f}',
            f'{count["flops_conv_fc"] / 1e9:.2f}',
            f'{count["params"] / 1e6:.1f}',
            f'{count["flops"] / 1e9:.2f}',
        )
    return table


if __name__ == '__main__':
    with one_sentence_errors():
        main()

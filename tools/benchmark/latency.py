"""Measure latencies of detectors: fixed input, models interleaved over rounds, nothing but the model on the clock.

Every finished turn is saved at once. Stopped at any point, the same command goes on from there.
"""

import argparse

import rich
from rich.markup import escape
from rich.table import Table

from mmfasternet.benchmark.measure.backends import BACKENDS, PROVIDERS
from mmfasternet.benchmark.measure.latency import PRECISIONS, Protocol, measure_latencies
from mmfasternet.benchmark.measure.paths import PATHS
from mmfasternet.benchmark.measure.scopes import SCOPES
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.errors import one_sentence_errors, require_ops


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config file, or name of a row: fasternet_s')
    parser.add_argument('--device', default=Protocol.device, help='cpu, cuda:0, …; default: %(default)s')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU; default: as many as torch takes')
    parser.add_argument('--precision', choices=PRECISIONS, default=Protocol.precision, help='default: %(default)s')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        default=Protocol.shape,
        metavar=('H', 'W'),
        help='picture in pixels, before padding; default: 800 1333, the paper has 800 1280',
    )
    parser.add_argument('--batch', type=int, default=Protocol.batch, help='pictures at once; default: %(default)s')
    parser.add_argument(
        '--scope',
        nargs='+',
        choices=SCOPES,
        help='backbone; detector: all layers, 1000 fixed proposals, 100 fixed RoIs, no NMS; end2end: with NMS and '
        'masks pasted; default: backbone detector, or backbone with another backend than eager',
    )
    parser.add_argument(
        '--path',
        choices=PATHS,
        default=Protocol.path,
        help='reference: as trained; deploy: batch norms folded, timm branches fused; optimized: the inference form of '
        'FasterNet; the last two are checked to compute the same; default: %(default)s',
    )
    parser.add_argument(
        '--backend',
        choices=BACKENDS,
        default=Protocol.backend,
        help='what runs the backbone; compile is torch.compile with frozen weights; default: %(default)s',
    )
    parser.add_argument(
        '--provider', choices=PROVIDERS, help='of ONNX Runtime (those of GPUs untested); default: as --device says'
    )
    parser.add_argument('--rounds', type=int, default=Protocol.rounds, help='turns of each model; default: %(default)s')
    parser.add_argument(
        '--warmup', type=int, default=Protocol.warmup, help='runs before the timed; default: %(default)s'
    )
    parser.add_argument('--runs', type=int, default=Protocol.runs, help='timed runs in a turn; default: %(default)s')
    parser.add_argument('--checkpoint', help='weights of the one config; default: random, with 100 detections forced')
    parser.add_argument('--image', help='picture to take as input; default: noise')
    parser.add_argument(
        '--out', default='work_dirs/benchmark/records.json', help='file of records; default: %(default)s'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    rows = [find_row(config) for config in args.configs]
    scopes = args.scope or (Protocol.scopes if args.backend == 'eager' else ('backbone',))
    protocol = Protocol(
        device=args.device,
        threads=args.threads,
        precision=args.precision,
        shape=tuple(args.shape),
        batch=args.batch,
        scopes=tuple(scopes),
        path=args.path,
        backend=args.backend,
        provider=args.provider,
        rounds=args.rounds,
        warmup=args.warmup,
        runs=args.runs,
        checkpoint=args.checkpoint,
        image=args.image,
    )
    try:
        document = measure_latencies(rows, protocol, args.out)
    except KeyboardInterrupt:
        raise SystemExit(f'benchmark: stopped; the same command goes on from here ({args.out})') from None
    print(f'{document["machine"]["label"]}; records: {args.out}')
    for scope in protocol.scopes:
        settings = protocol.settings(scope)
        records = [record for record in document['records'] if record.items() >= settings.items()]
        rich.print(latency_table(settings, records), *flag_lines(records), sep='\n')


def latency_table(settings: dict, records: list[dict]) -> Table:
    """Medians and spreads of the latencies that have the same settings."""
    height, width = settings['shape']
    words = (f'{settings["path"]} path', settings['backend'], settings['precision'])
    table = Table(title=f'{settings["scope"]}, {height} × {width}, batch {settings["batch"]}, {", ".join(words)}')
    for name in ('', 'median (ms)', 'quartiles (ms)', 'p90 (ms)', 'pictures/s'):
        table.add_column(name, justify='right' if name else 'left', no_wrap=True)
    for record in records:
        table.add_row(
            escape(record['label']) + (' *' if record['flags'] else ''),
            f'{record["median_ms"]:.1f}',
            '–'.join(f'{value:.1f}' for value in record['quartiles_ms']),
            f'{record["p90_ms"]:.1f}',
            f'{record["throughput"]:.2f}',
        )
    return table


def flag_lines(records: list[dict]) -> list[str]:
    """Why some figures should be taken again."""
    return [f'* {escape(record["label"])}: {"; ".join(record["flags"])}' for record in records if record['flags']]


if __name__ == '__main__':
    with one_sentence_errors():
        main()

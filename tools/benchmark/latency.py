"""Measure latencies of detectors: fixed input, models interleaved over rounds, nothing but the model on the clock.

Every finished turn is saved at once. Interrupt it at any time; the same command resumes where it stopped.
"""

import argparse
import sys

import rich
from rich.markup import escape
from rich.table import Table

from mmfasternet.benchmark.measure.backends import BACKENDS, COMPILE_MODES, PROVIDERS
from mmfasternet.benchmark.measure.latency import MEMORY_FORMATS, WEIGHTS, Protocol, measure_latencies
from mmfasternet.benchmark.measure.paths import PATHS
from mmfasternet.benchmark.measure.precision import PRECISIONS
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.benchmark.records import SCOPES, Records
from mmfasternet.benchmark.report.markdown import milliseconds
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config file, or name of a row: fasternet_s')
    parser.add_argument('--device', default=Protocol.device, help='cpu, cuda:0, …; default: %(default)s')
    parser.add_argument('--threads', type=int, help="threads of torch on the CPU; default: torch's own choice")
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default=Protocol.precision,
        help='fp32 is never TF32, tf32 is it in convolutions and matrix products; default: %(default)s',
    )
    parser.add_argument(
        '--weights',
        choices=WEIGHTS,
        help='of fp16 and bf16 in PyTorch: cast in each run by autocast, or cast before, as people deploy (scope '
        'backbone); default: autocast',
    )
    parser.add_argument(
        '--memory-format',
        choices=MEMORY_FORMATS,
        default=Protocol.memory_format,
        help='of the image, and the weights of backbone and neck; default: %(default)s',
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        default=Protocol.shape,
        metavar=('H', 'W'),
        help='image in pixels, before padding; default: 800 1333; the paper uses 800 1280',
    )
    parser.add_argument('--batch', type=int, default=Protocol.batch, help='images at once; default: %(default)s')
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
        help='reference: as trained; folded: batch norms folded, timm branches merged; optimized: FasterNet by '
        'optimize_for_inference; the last two are checked to compute the same; default: %(default)s',
    )
    parser.add_argument(
        '--backend',
        choices=BACKENDS,
        default=Protocol.backend,
        help='what runs the backbone; graph replays CUDA graphs; compile is torch.compile with frozen weights; '
        'default: %(default)s',
    )
    parser.add_argument('--compile-mode', choices=COMPILE_MODES, help="torch.compile's; default: default")
    parser.add_argument(
        '--provider', choices=PROVIDERS, help='of ONNX Runtime (those of GPUs untested); default: as --device says'
    )
    parser.add_argument('--rounds', type=int, default=Protocol.rounds, help='turns of each model; default: %(default)s')
    parser.add_argument(
        '--runs', type=int, default=Protocol.runs, help='timed runs in a turn, at least; default: %(default)s'
    )
    parser.add_argument('--checkpoint', help='weights of the one config; default: random, with 100 detections forced')
    add_trust_checkpoint(parser)
    parser.add_argument('--image', help='image to use as input; default: noise')
    parser.add_argument('--out', default='work_dirs/latency/records.json', help='file of records; default: %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    provide_ops()
    trust_checkpoints(args.trust_checkpoint)
    rows = [find_row(config) for config in args.configs]
    scopes = args.scope or (Protocol.scopes if args.backend == 'eager' else ('backbone',))
    named = ('device', 'threads', 'precision', 'weights', 'memory_format', 'batch', 'path', 'backend', 'compile_mode')
    named += ('provider', 'rounds', 'runs', 'checkpoint', 'image')
    protocol = Protocol(shape=tuple(args.shape), scopes=tuple(scopes), **{name: getattr(args, name) for name in named})
    records = Records.open(args.out, protocol.device)
    try:
        measure_latencies(rows, protocol, records)
    except KeyboardInterrupt:
        sys.exit(f'interrupted; the same command resumes where it stopped ({args.out})')
    print(f'{records.machine["label"]}; records: {args.out}')
    for scope in protocol.scopes:
        settings = protocol.settings(scope)
        found = records.of_kind('latency', **settings)
        rich.print(latency_table(settings, found), *flag_lines(found), sep='\n')


def latency_table(settings: dict, found: list[dict]) -> Table:
    """Medians and spreads of the latencies that have the same settings."""
    height, width = settings['shape']
    words = [f'{settings["path"]} path', settings['backend'], settings['compile_mode'], settings['precision']]
    words += [settings['weights'], settings['memory_format']]
    table = Table(
        title=f'{settings["scope"]}, {height} × {width}, batch {settings["batch"]}, {", ".join(filter(None, words))}'
    )
    in_a_row = ['in a row (ms)'] if any('stream_ms' in record for record in found) else []
    for name in ('', 'median (ms)', 'quartiles (ms)', 'p90 (ms)', *in_a_row, 'images/s'):
        table.add_column(name, justify='right' if name else 'left', no_wrap=True)
    for record in found:
        table.add_row(
            escape(record['label']) + (' *' if record['flags'] else ''),
            milliseconds(record['median_ms']),
            '–'.join(map(milliseconds, record['quartiles_ms'])),
            milliseconds(record['p90_ms']),
            *(milliseconds(record['stream_ms']) for _ in in_a_row),
            f'{record["throughput"]:.2f}',
        )
    return table


def flag_lines(found: list[dict]) -> list[str]:
    """Why some figures should be taken again."""
    flagged = ((record['label'], '; '.join(record['flags'])) for record in found if record['flags'])
    return [f'* {escape(label)}: {escape(reasons)}' for label, reasons in flagged]


if __name__ == '__main__':
    with exit_on_user_error():
        main()

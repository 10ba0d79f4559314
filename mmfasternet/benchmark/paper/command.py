"""What the commands of the studies have in common."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

import rich

from .records import read_study

__all__ = ['new_parser', 'run_study']

OUT_DIR = 'work_dirs/paper'


def new_parser(description: str, study: str, quick: str) -> ArgumentParser:
    """A parser with the arguments that every study has.

    Args:
        description: What the study is about.
        study: Its name, such as 'operators'.
        quick: What its quick form is.

    Returns:
        The parser.

    Example:
        >>> new_parser('About', 'operators', 'small maps').parse_args(['--quick']).quick
        True
    """
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help=quick)
    parser.add_argument('--report-only', action='store_true', help='train and measure nothing, draw what is there')
    parser.add_argument('--out-dir', help=f'default: {OUT_DIR}/{study}, or {OUT_DIR}/{study}_quick')
    return parser


def run_study(
    study: str,
    args: Namespace,
    measure: Callable[[Path], dict],
    write: Callable[[dict, Path], dict[str, Path]],
) -> None:
    """Measure, unless the report alone is asked for, then write page and picture and say where they are.

    Args:
        study: Name of the study.
        args: From :func:`new_parser`.
        measure: File of records → its document, measured as far as it is missing.
        write: Document and folder → name → file.

    Raises:
        UserError: If the records are of another study, or one of the two raises it.
    """
    out_dir = Path(args.out_dir or f'{OUT_DIR}/{study}' + '_quick' * args.quick)
    records = out_dir / 'records.json'
    try:
        document = read_study(records, study) if args.report_only else measure(records)
    except KeyboardInterrupt:
        raise SystemExit(f'{study}: stopped; the same command goes on from here ({out_dir})') from None
    for name, path in write(document, out_dir).items():
        rich.print(f'{name}: {path}')

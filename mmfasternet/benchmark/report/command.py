"""What the laboratory's command lines share: --quick, --report-only, --out-dir, interruption, and what was written."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping
from pathlib import Path

from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

__all__ = ['new_parser', 'run_command']

_RESUME = 'Interrupt it at any time; the same command resumes where it stopped.'


def new_parser(description: str, out_dir: str, quick: str) -> ArgumentParser:
    """A parser with the arguments that every command has that measures and draws.

    Args:
        description: What the command does.
        out_dir: Folder of its results, unless another is named; the quick form's has ``_quick`` behind it.
        quick: What the quick form is.

    Returns:
        The parser.

    Example:
        >>> new_parser('Measure something.', 'work_dirs/something', 'small images').parse_args(['--quick']).quick
        True
    """
    parser = ArgumentParser(
        description=f'{description.strip()}\n\n{_RESUME}', formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--quick', action='store_true', help=f'a short run: {quick}')
    parser.add_argument('--report-only', action='store_true', help='measure nothing; draw what has been recorded')
    parser.add_argument('--out-dir', metavar='DIR', help=f'default: {out_dir}, or {out_dir}_quick')
    parser.set_defaults(default_out_dir=out_dir)
    return parser


def run_command(
    args: Namespace,
    measure: Callable[[Path], Records],
    write: Callable[[Records, Path], Mapping[str, Path]],
    read: Callable[[Path], Records] | None = None,
) -> None:
    """Measure, unless the report alone is asked for, then write the report and say where it is.

    Args:
        args: From :func:`new_parser`.
        measure: File of records → the records, measured as far as they are missing.
        write: Records and folder → name → file.
        read: File of records → the records that ``--report-only`` draws. None means that the file must be there, and is
            drawn as it is. Defaults to None.

    Raises:
        UserError: If one of the two raises it.
        SystemExit: If the command is interrupted; the message says how to resume.
    """
    out_dir = Path(args.out_dir or args.default_out_dir + '_quick' * args.quick)
    path = out_dir / 'records.json'
    try:
        records = (read or _read_existing)(path) if args.report_only else measure(path)
        for name, file in write(records, out_dir).items():
            print(f'{name}: {file}')
    except KeyboardInterrupt:
        sys.exit(f'interrupted; the same command resumes where it stopped ({out_dir})')


def _read_existing(path: Path) -> Records:
    if not path.exists():
        raise UserError(f'nothing to draw: {path} does not exist; run the command without --report-only first')
    return Records.read(path)

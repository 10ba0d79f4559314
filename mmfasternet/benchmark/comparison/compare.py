"""The comparison from nothing to the page: count, measure, test, draw. What is there already is not made again."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from mmfasternet.benchmark.measure.complexity import count_complexity
from mmfasternet.benchmark.measure.latency import Protocol, measure_latencies, open_document
from mmfasternet.benchmark.published.rows import Row, find_row
from mmfasternet.benchmark.records.records import provenance, read_records
from mmfasternet.engine.config import load_config
from mmfasternet.files import write_json

from .ap import ap_record, run_test
from .report import write_report

__all__ = ['compare']


def compare(
    rows: list[Row],
    protocol: Protocol,
    out_dir: str | Path,
    others: Sequence[str | Path] = (),
    metrics: dict[str, str] | None = None,
    checkpoints: dict[str, str] | None = None,
    measure: bool = True,
) -> dict[str, Path]:
    """Bring ``out_dir/records.json`` up to date, and draw it with other files of records.

    Args:
        rows: What to compare.
        protocol: How latencies are taken.
        out_dir: Folder for the records, tables, pictures and the page.
        others: Files of records of other machines. Defaults to ().
        metrics: Row → JSON of an earlier test. Defaults to None.
        checkpoints: Row → weights to test now, on the data that the row's config names. Defaults to None.
        measure: Whether complexities are counted and latencies taken, or what is there is drawn. Defaults to True.

    Returns:
        What was written: name → path.

    Raises:
        UserError: If something given is wrong; what is finished by then is kept.

    Example:
        >>> from mmfasternet.benchmark.published.rows import ROWS
        >>> written = compare(list(ROWS), Protocol(), 'published_only', measure=False)
        >>> written['index.html'].name
        'index.html'
    """
    # Everything given is read before anything takes its time, so that a mistake in it shows at once.
    documents = [read_records(path) for path in others]
    aps = [ap_record(find_row(name), path) for name, path in (metrics or {}).items()]
    to_test = [(find_row(name), path) for name, path in (checkpoints or {}).items()]
    path = Path(out_dir) / 'records.json'
    # Only latencies must be of this machine.
    document = open_document(path, protocol) if measure or not path.exists() else read_records(path)
    for record in aps:
        replace_record(document, record)
    write_json(path, document)
    if measure:
        count_missing(document, rows, path)
    for row, checkpoint in to_test:
        metrics_file = run_test(row, checkpoint, Path(out_dir) / 'tests' / row.name)
        dataset = load_config(row.config_path).test_evaluator.get('ann_file')
        replace_record(document, ap_record(row, metrics_file, str(checkpoint), dataset))
        write_json(path, document)
    if measure:
        document = measure_latencies(rows, protocol, path)
    return write_report([document, *documents], out_dir)


def replace_record(document: dict, new: dict) -> None:
    """Add a record in place of one of the same row and kind."""
    same = [record for record in document['records'] if (record['kind'], record['row']) == (new['kind'], new['row'])]
    for record in same:
        document['records'].remove(record)
    document['records'].append(new)


def count_missing(document: dict, rows: Sequence[Row], path: Path, shape: tuple[int, int] = (800, 1280)) -> None:
    """Add the complexity of every row that the document has none of."""
    counted = {record['row'] for record in document['records'] if record['kind'] == 'complexity'}
    for row in track([row for row in rows if row.name not in counted], 'parameters and FLOPs', transient=True):
        count = count_complexity(row.config_path, *shape)
        replace_record(document, {'kind': 'complexity', **count, **row.identity, **provenance()})
        write_json(path, document)

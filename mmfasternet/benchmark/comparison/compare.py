"""What the comparison with published AP measures: complexity, latency, and AP of given tests and checkpoints."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mmfasternet.benchmark.measure.complexity import count_complexity
from mmfasternet.benchmark.measure.latency import Protocol, measure_latencies
from mmfasternet.benchmark.published.rows import Row, find_row
from mmfasternet.benchmark.records import Records, describe_machine
from mmfasternet.engine.config import load_config

from .ap import ap_record, run_test

__all__ = ['compare', 'count_missing']


def compare(
    path: str | Path,
    rows: Sequence[Row],
    protocol: Protocol,
    metrics: Mapping[str, str] | None = None,
    checkpoints: Mapping[str, str] | None = None,
    measure: bool = True,
    trust_checkpoint: bool = False,
) -> Records:
    """Bring a file of records up to date. What is there already is not measured again; a checkpoint is always tested.

    Args:
        path: The file; tests leave their logs beside it, in ``tests/<row>``.
        rows: What to compare.
        protocol: How latencies are taken.
        metrics: Row → JSON of an earlier test. Defaults to None.
        checkpoints: Row → weights to test now, on the data that the row's config names. Defaults to None.
        measure: Whether complexities are counted and latencies taken; without, the file may be of any machine, or
            missing. Defaults to True.
        trust_checkpoint: Whether checkpoints that hold more than weights are read. Defaults to False.

    Returns:
        The records.

    Raises:
        UserError: If something given is wrong; what is finished by then is kept.

    Example:
        >>> compare('nothing.json', [], Protocol(), measure=False).records
        []
    """
    # Everything given is read before anything takes its time, so that a mistake in it shows at once.
    aps = [ap_record(find_row(name), metrics_file) for name, metrics_file in (metrics or {}).items()]
    to_test = [(find_row(name), checkpoint) for name, checkpoint in (checkpoints or {}).items()]
    path = Path(path)
    if measure or aps or to_test:
        records = Records.open(path, protocol.device, any_machine=not measure)
    else:
        records = Records.read(path) if path.exists() else Records(describe_machine(protocol.device), path)
    for record in aps:
        records.add(record)
    if measure:
        count_missing(records, rows)
    for row, checkpoint in to_test:
        metrics_file = run_test(row, checkpoint, path.parent / 'tests' / row.name, trust_checkpoint)
        dataset = load_config(row.config_path).test_evaluator.get('ann_file')
        records.add(ap_record(row, metrics_file, str(checkpoint), dataset))
    if measure:
        measure_latencies(rows, protocol, records)
    return records


def count_missing(records: Records, rows: Sequence[Row], shape: tuple[int, int] = (800, 1280)) -> None:
    """Add the complexity of every row that has none."""
    missing = [row for row in rows if not records.find('complexity', row.name, shape=list(shape))]
    for row in track(missing, 'parameters and FLOPs', console=Console(stderr=True), transient=True):
        records.add({'kind': 'complexity', **count_complexity(row.config_path, *shape), **row.identity})

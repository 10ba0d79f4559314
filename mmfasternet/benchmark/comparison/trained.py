"""Latency against AP that is trained here: count, measure, train every backbone with every seed, and test.

What is there already is not made again, so that an interrupted comparison resumes where it stopped.
"""

from pathlib import Path

from mmfasternet.benchmark.measure.latency import Protocol, measure_latencies
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

from .compare import count_missing
from .runs import Run, TrainingPlan, generate_data, run_record, train_in_turn, training_lock

__all__ = ['is_recorded', 'measure_trained']


def measure_trained(plan: TrainingPlan, protocol: Protocol) -> Records:
    """Bring the records of a plan up to date: parameters and FLOPs, latencies, then a training and test of each run.

    Every finished part is saved at once. One training runs at a time: if an earlier call was killed and left one, this
    waits for its end.

    Args:
        plan: What is trained.
        protocol: How latencies are taken.

    Returns:
        The records; those of AP have the run's ``seed``, ``epochs`` and ``curves`` too.

    Raises:
        UserError: If a part fails, or the records are of another budget; what is finished by then is kept.

    Example:
        >>> from mmfasternet.benchmark.published.rows import TRAINED_ROWS
        >>> plan = TrainingPlan(TRAINED_ROWS, seeds=(0,), out_dir='work_dirs/compare_trained')
        >>> records = measure_trained(plan, Protocol(shape=(192, 256), path='folded'))  # doctest: +SKIP
    """
    with training_lock(plan.out_dir) as lock:
        records = Records.open(Path(plan.out_dir) / 'records.json', protocol.device)
        # Before anything takes its time, so that a mistake shows at once.
        todo = [run for run in plan.runs() if not is_recorded(run, records)]
        generate_data(plan)
        for run in todo:
            run.claim()
        count_missing(records, plan.rows, protocol.shape)
        measure_latencies(plan.rows, protocol, records)
        flops = {row.name: records.find('complexity', row.name)['flops_full'] for row in plan.rows}
        for run in train_in_turn(plan.runs(), todo, lock, lambda run: flops[run.row.name]):
            record = records.add(run_record(run))
            print(f'{run.name}: box AP {record["box_ap"]:.1f}, mask AP {record["mask_ap"]:.1f}')
    return records


def is_recorded(run: Run, records: Records) -> bool:
    """Whether the AP of a run is recorded."""
    record = records.find('ap', run.row.name, seed=run.seed)
    if record is None:
        return False
    budget = run.budget()
    found = {key: record.get(key) for key in budget}
    if found != budget:
        raise UserError(
            f'{records.path} has {run.name} of another budget ({found}, now it is {budget}); name another --out-dir'
        )
    return True

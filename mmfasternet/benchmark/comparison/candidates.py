"""What a backbone is chosen from: the rows with a figure of the task, their parameters and FLOPs, and their latency."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mmfasternet.errors import UserError

from .collect import ReportRow

__all__ = ['TASKS', 'Candidate', 'Task', 'Wish', 'find_candidates']


@dataclass(frozen=True)
class Task:
    """What a backbone is for.

    Args:
        figure: Its figure of merit, in words.
        of: The figure of a row, in percent; None where none is known.
    """

    figure: str
    of: Callable[[ReportRow], float | None]


#: Name → task.
TASKS = dict(
    boxes=Task('box AP', lambda row: row.ap and row.ap.box),
    masks=Task('mask AP', lambda row: row.ap and row.ap.mask),
    # Of one head, since figures of several can't be compared.
    segmentation=Task(
        'mIoU on ADE20K',
        lambda row: row.provenance.miou if row.provenance.miou_head == 'Semantic FPN' else None,
    ),
)


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Args:
        budget_ms: The latency that must be met, in ms.
        task: One of ``TASKS``. Defaults to 'boxes'.
        max_params: Most parameters of the backbone, in millions. None means any number. Defaults to None.
        distilled: Whether backbones may be chosen whose ImageNet weights are distilled. Defaults to True.

    Raises:
        UserError: If one is out of its range.

    Example:
        >>> Wish(budget_ms=500).task
        'boxes'
    """

    budget_ms: float
    task: str = 'boxes'
    max_params: float | None = None
    distilled: bool = True

    def __post_init__(self) -> None:
        for name, value in (('the budget in ms', self.budget_ms), ('max_params', self.max_params)):
            # Not a number is not above 0.
            if value is not None and not value > 0:
                raise UserError(f'{name} must be above 0, but got {value}')
        if self.task not in TASKS:
            raise UserError(f'the task must be one of {", ".join(TASKS)}, but got {self.task!r}')


@dataclass(frozen=True)
class Candidate:
    """A backbone that may be chosen.

    Args:
        row: Its row.
        ap: Its figure of the task, in percent.
        params_m: Parameters of the backbone in millions. None where they were not counted. Defaults to None.
        flops_g: Multiply-adds of the backbone in G, for the image that is measured. None where they were not counted.
            Defaults to None.
        latency: With ``median_ms``, ``quartiles_ms`` and ``flags``, see docs/records.md. None where it is not known
            yet. Defaults to None.
    """

    row: ReportRow
    ap: float
    params_m: float | None = None
    flops_g: float | None = None
    latency: dict | None = None

    @property
    def label(self) -> str:
        """What texts call it."""
        return self.row.label

    @property
    def ms(self) -> float:
        """Its latency, which is known."""
        return self.latency['median_ms']


def find_candidates(
    rows: Iterable[ReportRow], wish: Wish, count: Callable[[ReportRow], dict] | None = None
) -> tuple[list[Candidate], dict[str, list[str]]]:
    """The rows that a wish allows.

    Args:
        rows: All rows.
        wish: What is asked for.
        count: Counts the backbone of a row, see :func:`~mmfasternet.benchmark.measure.complexity.count_forward`. None
            means that only published figures are used, so rows need no config. Defaults to None.

    Returns:
        The candidates, those with the fewest FLOPs first, and reason → labels of the rows that are left out.

    Raises:
        UserError: If none is left.

    Example:
        >>> from mmfasternet.benchmark.comparison.collect import collect
        >>> candidates, left_out = find_candidates(collect([]).rows, Wish(budget_ms=60))
        >>> candidates[0].label, left_out['no box AP is known'][:3]
        ('FasterNet-S', ['FasterNet-T0', 'FasterNet-T1', 'FasterNet-T2'])
    """
    task = TASKS[wish.task]
    found: list[Candidate] = []
    left_out: dict[str, list[str]] = {}
    for row in rows:
        ap = task.of(row)
        counted = {}
        reason = None
        if ap is None:
            reason = f'no {task.figure} is known'
        elif not wish.distilled and row.provenance.distilled:
            reason = 'their ImageNet weights are distilled'
        elif count and row.config is None:
            reason = 'they have no config here'
        elif count:
            counted = count(row)
            if wish.max_params is not None and counted['params'] > 1e6 * wish.max_params:
                reason = f'their backbones have more than {wish.max_params:g} M parameters'
        if reason:
            left_out.setdefault(reason, []).append(row.label)
        else:
            params, flops = (counted[key] / unit if counted else None for key, unit in _COUNTS)
            found.append(Candidate(row, ap, params, flops))
    if not found:
        reasons = '; '.join(f'{", ".join(labels)}: {reason}' for reason, labels in left_out.items())
        raise UserError(f'no backbone is left to choose from ({reasons}): ask for less')
    return sorted(found, key=lambda candidate: candidate.flops_g or 0), left_out


_COUNTS = (('params', 1e6), ('flops_full', 1e9))

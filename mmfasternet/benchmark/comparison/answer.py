"""The answer of the chooser: the Pareto front within a budget, the choice, its neighbours, and FasterNet's place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.report.markdown import milliseconds
from mmfasternet.errors import UserError

from .ahead import NEAR_AP, OURS
from .candidates import TASKS, Candidate, Wish
from .collect import pareto_front

__all__ = ['Answer', 'answer_lines', 'front_table']


@dataclass(frozen=True)
class Answer:
    """What a wish and the latencies that are known so far say.

    Args:
        wish: What is asked for.
        known: The candidates whose latency is known.

    Raises:
        UserError: If none meets the budget.

    Example:
        >>> from mmfasternet.benchmark.comparison.collect import collect
        >>> row = next(row for row in collect([]).rows if row.name == 'fasternet_s')
        >>> known = [Candidate(row, 39.9, latency=dict(median_ms=54.3, quartiles_ms=[54.3, 54.3], flags=[]))]
        >>> Answer(Wish(budget_ms=60), known).choice.label
        'FasterNet-S'
    """

    wish: Wish
    known: Sequence[Candidate]

    def __post_init__(self) -> None:
        if not self.within:
            fastest = min(self.known, key=lambda one: one.ms)
            raise UserError(
                f'no backbone meets {self.wish.budget_ms:g} ms: the fastest of the {len(self.known)} whose latency is '
                f'known is {fastest.label} with {milliseconds(fastest.ms)} ms; raise the budget, or take a smaller '
                'image, another engine or a faster device'
            )

    @property
    def within(self) -> list[Candidate]:
        """Those that meet the budget."""
        return [one for one in self.known if one.ms <= self.wish.budget_ms]

    @property
    def front(self) -> list[Candidate]:
        """The Pareto front of those, by rising latency."""
        return [self.within[index] for index in pareto_front([(one.ms, one.ap) for one in self.within])]

    @property
    def choice(self) -> Candidate:
        """The highest figure within the budget."""
        return self.front[-1]

    @property
    def up(self) -> Candidate | None:
        """The fastest of those beyond the budget that have a higher figure."""
        higher = [one for one in self.known if one.ms > self.wish.budget_ms and one.ap > self.choice.ap]
        return min(higher, key=lambda one: one.ms, default=None)

    @property
    def down(self) -> Candidate | None:
        """The next on the front that is faster than the choice."""
        return next((one for one in reversed(self.front) if one.ap < self.choice.ap), None)

    @property
    def ours(self) -> Candidate | None:
        """The best FasterNet within the budget, or the fastest one."""
        ours = [one for one in self.known if one.row.family == OURS]
        within = [one for one in ours if one.ms <= self.wish.budget_ms]
        if within:
            return max(within, key=lambda one: (one.ap, -one.ms))
        return min(ours, key=lambda one: one.ms, default=None)

    @property
    def decisive(self) -> list[Candidate]:
        """Those whose latency the answer depends on."""
        wanted = [*self.front, self.up, self.ours, *filter(self.is_at_the_limit, self.known)]
        return [one for one in self.known if any(one is other for other in wanted)]

    def is_at_the_limit(self, candidate: Candidate) -> bool:
        """Whether the interval of a latency leaves open if it meets the budget."""
        low, high = candidate.latency.get('interval_ms') or candidate.latency['quartiles_ms']
        return low <= self.wish.budget_ms < high


def front_table(answer: Answer) -> Table:
    """The Pareto front within the budget, and the step up.

    Args:
        answer: The answer.

    Returns:
        rich's table.

    Example:
        >>> from mmfasternet.benchmark.comparison.collect import collect
        >>> row = next(row for row in collect([]).rows if row.name == 'fasternet_s')
        >>> known = [Candidate(row, 39.9, latency=dict(median_ms=54.3, quartiles_ms=[54.3, 54.3], flags=[]))]
        >>> front_table(Answer(Wish(budget_ms=60), known)).row_count
        1
    """
    table = Table(title=f'within {answer.wish.budget_ms:g} ms', title_justify='left')
    for name in ('backbone', TASKS[answer.wish.task].figure, 'latency (ms)', 'interval', 'M params', 'GFLOPs'):
        table.add_column(name, justify='left' if name == 'backbone' else 'right', no_wrap=True)
    up = [answer.up] if answer.up else []
    for one in (*answer.front, *up):
        low, high = one.latency.get('interval_ms') or one.latency['quartiles_ms']
        mark = '→ ' if one is answer.choice else '↑ ' if one in up else '  '
        table.add_row(
            mark + one.label,
            f'{one.ap:.1f}',
            milliseconds(one.ms) + ' *' * bool(one.latency['flags']),
            f'{milliseconds(low)}–{milliseconds(high)}' if low < high else '',
            f'{one.params_m:.1f}' if one.params_m else '',
            f'{one.flops_g:.1f}' if one.flops_g else '',
        )
    return table


def answer_lines(answer: Answer, without_figure: Sequence[str] = ()) -> Iterator[str]:
    """The answer in sentences; what speaks against FasterNet stands first.

    Args:
        answer: The answer.
        without_figure: Labels of FasterNets that have no figure of the task. Defaults to ().

    Yields:
        Lines.
    """
    yield _standing(answer, without_figure)
    choice, figure = answer.choice, TASKS[answer.wish.task].figure
    yield f'Choose {choice.label}: {figure} {choice.ap:.1f}, {milliseconds(choice.ms)} ms.'
    for one in answer.within:
        if one is not choice and choice.ap - one.ap <= NEAR_AP:
            how = _compared(one, choice)
            yield f'A tie in {figure} (within {NEAR_AP}): {one.label}, {one.ap:.1f}, {how}.'
    if answer.is_at_the_limit(choice):
        yield f'The interval of its latency reaches beyond {answer.wish.budget_ms:g} ms: a close call.'
    for one in answer.known:
        if one is not choice and answer.is_at_the_limit(one):
            yield f'{one.label} ({figure} {one.ap:.1f}) is about at the budget too: {milliseconds(one.ms)} ms.'
    if answer.up:
        yield f'One step up: {_step(choice, answer.up, figure)}.'
    else:
        yield 'One step up: none that could be measured has a higher figure.'
    yield f'One step down: {_step(choice, answer.down, figure)}.' if answer.down else 'One step down: none is known.'
    flagged = [one for one in answer.decisive if one.latency['flags']]
    if flagged:
        reasons = '; '.join(f'{one.label}: {", ".join(one.latency["flags"])}' for one in flagged)
        yield f'* Disturbed, so take it again on a quiet machine ({reasons}).'


def _standing(answer: Answer, without_figure: Sequence[str]) -> str:
    """Where the FasterNets stand, and why."""
    figure = TASKS[answer.wish.task].figure
    unknown = f' No {figure} of {", ".join(without_figure)} is known, so none of them can be chosen.' * bool(
        without_figure
    )
    ours, choice = answer.ours, answer.choice
    if ours is None:
        return f'FasterNet: none is among those measured, since none can win.{unknown}'
    said = f'{ours.label} ({figure} {ours.ap:.1f}, {milliseconds(ours.ms)} ms)'
    if ours.ms > answer.wish.budget_ms:
        return f'FasterNet is not the choice: {said}, the fastest one with a known figure, is over budget.{unknown}'
    ahead = [one for one in answer.within if one.ap >= ours.ap - NEAR_AP and _is_faster(one, ours)]
    rivals = [one for one in ahead if one.row.family != OURS]
    if rivals:
        rival = min(rivals, key=lambda one: one.ms)
        how = f'{rival.label} has {figure} {rival.ap:.1f} in {rival.ms / ours.ms:.2f} of its time{_work(rival, ours)}'
        if choice is ours:
            return f'FasterNet is the choice by a tie in {figure} alone: {said}, but {how}.{unknown}'
        return f'FasterNet is not the choice: {said} is beaten, since {how}.{unknown}'
    if choice is ours:
        return f'FasterNet is the choice: {said}.{unknown}'
    gap = f'{choice.label} has {choice.ap - ours.ap:.1f} points more, {_compared(choice, ours)}'
    return f'FasterNet is not the choice: {said} is on the front, but {gap}.{unknown}'


def _work(one: Candidate, other: Candidate) -> str:
    if not one.flops_g or not other.flops_g:
        return ''
    flops, params = one.flops_g / other.flops_g, one.params_m / other.params_m
    return f', with {flops:.2f} of its FLOPs and {params:.2f} of its parameters'


def _is_faster(one: Candidate, other: Candidate) -> bool:
    return one.ms < other.ms and not is_tie(one.latency, other.latency)


def _compared(one: Candidate, other: Candidate) -> str:
    """The latency of one beside that of another."""
    if is_tie(one.latency, other.latency):
        return 'and a tie in latency'
    return f'at {one.ms / other.ms:.2f} of its latency'


def _step(choice: Candidate, other: Candidate, figure: str) -> str:
    tie = ', a tie in latency' * is_tie(choice.latency, other.latency)
    points, ms = other.ap - choice.ap, other.ms - choice.ms
    return f'{other.label}, {points:+.1f} points of {figure} and {ms:+,.1f} ms ({other.ms / choice.ms:.2f} ×{tie})'

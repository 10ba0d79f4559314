"""The chooser: which backbone is the best within a latency budget, on this machine or by published figures."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol as Interface

from rich.console import Console
from rich.progress import track

from mmfasternet.benchmark.measure.complexity import count_backbone
from mmfasternet.benchmark.measure.latency import Protocol, measure_latencies
from mmfasternet.benchmark.measure.memory import peak_gmacs
from mmfasternet.benchmark.measure.openvino_core import openvino_core
from mmfasternet.benchmark.measure.turns import TIE, use_threads
from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.records import Records
from mmfasternet.engine.config import project_root
from mmfasternet.errors import UserError

from .ahead import NEAR_AP, OURS
from .answer import Answer
from .candidates import TASKS, Candidate, Wish, find_candidates
from .collect import ReportRow, collect
from .provenance import by_setting

__all__ = ['Choice', 'Measurer', 'choose', 'choose_here', 'choose_published', 'config_to_train']

# A convolution may take fewer multiply-adds than are counted: Winograd's algorithm for 3×3 does with 1/2.25.
_FEWER_MACS = 2.25


class Measurer(Interface):
    """What takes latencies for :func:`choose`."""

    def latency(self, row: Row) -> dict | None:
        """The latency of a row, as far as it is known, see docs/records.md."""

    def is_settled(self, row: Row) -> bool:
        """Whether the latency of a row will not become more certain."""

    def measure(self, rows: Sequence[Row], settle: bool) -> None:
        """Take the latencies of rows: in one round, or, to settle them, in as many as the protocol asks for."""


@dataclass(frozen=True)
class Choice:
    """An answer, and what it rests on.

    Args:
        answer: The answer.
        setting: Where and how the latencies were taken, in words.
        left_out: Reason → labels of rows that were not compared.
        without_figure: Labels of FasterNets that have no figure of the task.
        elsewhere: What published figures of other devices say against the choice. Defaults to ().
    """

    answer: Answer
    setting: str
    left_out: dict[str, list[str]]
    without_figure: list[str]
    elsewhere: Sequence[str] = ()


def choose(
    candidates: Sequence[Candidate],
    wish: Wish,
    measurer: Measurer,
    say: Callable[[str], object] = print,
    least_ms: Callable[[Candidate], float] = lambda candidate: 0,
) -> Answer:
    """Measure until the answer is settled: only candidates that can still win, those with the fewest FLOPs first.

    A candidate can't win if one with its figure or more is known to meet the budget, or if no run can be so short.

    Args:
        candidates: What may be chosen, in the order in which it is measured.
        wish: What is asked for.
        measurer: Takes the latencies, and knows those that were taken before.
        say: Is given the answer so far whenever it changes. Defaults to ``print``.
        least_ms: The latency that a candidate can't be below. Defaults to 0.

    Returns:
        The answer.

    Raises:
        UserError: If no candidate meets the budget, or one can't be measured.
    """
    said = None
    while True:
        known = [replace(one, latency=found) for one in candidates if (found := measurer.latency(one.row))]
        best = max((one.ap for one in known if one.ms <= wish.budget_ms), default=0)
        taken = {one.row.name for one in known}
        open_ones = [one for one in candidates if one.row.name not in taken and one.ap > best]
        # The first is measured in any case, so that there is a latency to name.
        missing = [one for one in open_ones if least_ms(one) <= wish.budget_ms] or ([] if known else open_ones)
        if best and said != (now := Answer(wish, known).choice.label):
            said = now
            say(f'so far: {now}, {TASKS[wish.task].figure} {best:.1f}, {Answer(wish, known).choice.ms:.1f} ms')
        if missing:
            measurer.measure([missing[0].row], settle=False)
            continue
        answer = Answer(wish, known)
        unsettled = [one.row for one in answer.decisive if not measurer.is_settled(one.row)]
        if not unsettled:
            return answer
        measurer.measure(unsettled, settle=True)


def choose_here(wish: Wish, protocol: Protocol, path: str | Path, say: Callable[[str], object] = print) -> Choice:
    """Choose by latencies that are taken on this machine; those in the file are not taken again.

    Args:
        wish: What is asked for.
        protocol: How latencies are taken; it has one scope.
        path: The file of records, where latencies are found and go.
        say: Is given the answer so far whenever it changes. Defaults to ``print``.

    Returns:
        The answer.

    Raises:
        UserError: If nothing meets the budget, something that is needed is missing, or the file is of another machine.
    """
    if protocol.backend == 'openvino':
        # Before anything takes its time, since it may be missing.
        openvino_core()
    records = Records.open(path, protocol.device)
    rows = collect([records]).rows
    candidates, left_out = _counted(rows, wish, protocol.shape)
    measurer = _OnDevice(protocol, records)
    with use_threads(protocol.torch_threads):
        peak = peak_gmacs(protocol.device, protocol.precision)
    answer = choose(
        candidates, wish, measurer, say, lambda one: 1000 * one.flops_g / peak / _FEWER_MACS * protocol.batch
    )
    taken = {one.row.name for one in answer.known}
    cannot_win = [one.label for one in candidates if one.row.name not in taken]
    if cannot_win:
        left_out = {'not measured, since they cannot win': cannot_win} | left_out
    return Choice(answer, measurer.setting, left_out, _without_figure(rows, wish))


def choose_published(wish: Wish, shape: tuple[int, int] = (800, 1280)) -> Choice:
    """Choose by published latencies, of the device for which most are published; nothing is measured.

    Args:
        wish: What is asked for.
        shape: Height and width of the image that FLOPs are counted for, if parameters are limited. Defaults to
            (800, 1280).

    Returns:
        The answer.

    Raises:
        UserError: If nothing meets the budget.

    Example:
        >>> choose_published(Wish(budget_ms=75)).setting
        'published: Mask R-CNN, one image, RTX 2080 Ti'
    """
    rows = collect([]).rows
    devices = Counter(row.published.latency_device for row in rows if row.published and row.published.latency_ms)
    ((device, _),) = devices.most_common(1)
    candidates, left_out = _counted(rows, wish, shape) if wish.max_params else find_candidates(rows, wish)
    known = [
        replace(one, latency=dict(median_ms=value, quartiles_ms=[value, value], flags=[]))
        for one in candidates
        if (value := _published_ms(one.row, device))
    ]
    if not known:
        raise UserError(f'none of {", ".join(one.label for one in candidates)} has a published latency on {device}')
    without = [one.label for one in candidates if not _published_ms(one.row, device)]
    if without:
        left_out = {f'no latency on {device} is published': without} | left_out
    answer = Answer(wish, known)
    setting = f'published: Mask R-CNN, one image, {device}'
    return Choice(answer, setting, left_out, _without_figure(rows, wish), list(_elsewhere(answer.choice, candidates)))


def config_to_train(row: Row, task: str) -> str:
    """What to train for a task.

    Args:
        row: The backbone.
        task: One of ``TASKS``.

    Returns:
        A config, or how to come by one.

    Example:
        >>> from mmfasternet.benchmark.published.rows import find_row
        >>> config_to_train(find_row('fasternet_s'), 'segmentation')
        'configs/segmentation/semantic_fpn_fasternet_s.py'
    """
    if row.config is None:
        return f'there is no config of {row.label} here'
    if task != 'segmentation':
        return row.config
    segmentor = f'configs/segmentation/semantic_fpn_{row.name}.py'
    if (project_root() / segmentor).exists():
        return segmentor
    return f'configs/segmentation/semantic_fpn_fasternet_s.py, with the backbone and in_channels of {row.config}'


def _elsewhere(choice: Candidate, candidates: Sequence[Candidate]) -> Iterator[str]:
    """The settings of others in which a candidate with about the figure of the choice, or more, is faster."""
    for setting, pairs in by_setting(one.row for one in candidates).items():
        times = {row.name: speed.image_ms for row, speed in pairs}
        mine = times.get(choice.row.name)
        ahead = [
            f'{one.label} ({one.ap:.1f}) takes {times[one.row.name] / mine:.2f} of its time'
            for one in candidates
            if mine and one.ap >= choice.ap - NEAR_AP and times.get(one.row.name, mine) < (1 - TIE) * mine
        ]
        if ahead:
            yield f'{setting}: {", ".join(ahead)}.'


def _published_ms(row: ReportRow, device: str) -> float | None:
    return row.published.latency_ms if row.published.latency_device == device else None


def _without_figure(rows: Sequence[ReportRow], wish: Wish) -> list[str]:
    return [row.label for row in rows if row.family == OURS and TASKS[wish.task].of(row) is None]


def _counted(rows: Sequence[ReportRow], wish: Wish, shape: tuple[int, int]) -> tuple[list[Candidate], dict]:
    """The candidates with what their backbones cost for an image of this size."""
    console = Console(stderr=True)
    return find_candidates(
        track(rows, 'parameters and FLOPs', console=console, transient=True),
        wish,
        lambda row: count_backbone(row.config_path, *shape),
    )


class _OnDevice:
    """Takes latencies on this machine into a file of records."""

    def __init__(self, protocol: Protocol, records: Records) -> None:
        (self._scope,) = protocol.scopes
        self._protocol, self._records = protocol, records

    @property
    def setting(self) -> str:
        """Where and how, in words."""
        protocol, (height, width) = self._protocol, self._protocol.shape
        threads = '' if protocol.device != 'cpu' else f', {protocol.torch_threads} threads'
        how = f'{self._scope}, {protocol.backend}, {protocol.path} path, {protocol.precision}'
        return f'{self._records.machine["label"]}{threads}: {how}, batch {protocol.batch}, {height} × {width} pixels'

    def latency(self, row: Row) -> dict | None:
        return self._records.find('latency', row.name, **self._protocol.settings(self._scope))

    def is_settled(self, row: Row) -> bool:
        found = self.latency(row)
        return found is not None and len(found['rounds']) >= self._protocol.rounds

    def measure(self, rows: Sequence[Row], settle: bool) -> None:
        protocol = self._protocol if settle else replace(self._protocol, rounds=1, enough=None)
        # Without what a report has beside.
        plain = [Row(**{name: getattr(row, name) for name in Row.__dataclass_fields__}) for row in rows]
        measure_latencies(plain, protocol, self._records)

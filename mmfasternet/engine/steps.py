"""The steps of a long command, under one progress bar; what they print goes to a log."""

import re
import shlex
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from mmfasternet.errors import UserError

from .processes import end_on_signals, run_logged
from .validations import MAIN_METRICS, main_metrics

__all__ = ['Step', 'Steps', 'duration']

# mmengine's lines: Epoch(train) [2][ 10/150], Iter(train) [  10/1150], Epoch(test) [ 5/15].
_ITERATION = re.compile(r'(?:Epoch|Iter)\((?:train|test)\) *(?:\[(\d+)\])?\[ *(\d+)/(\d+)\]')
_VALIDATION = re.compile(r'(?:Epoch|Iter)\(val\)')
_VALUE = re.compile(r'(?<!\S)(\S+): +(-?\d\S*)')
_METRICS = {key for key, _ in MAIN_METRICS.values()}
_SHOWN_LINES = 15  # of a step that failed without a message of its own
_KEPT_LINES = 60  # MIM prints a traceback after the message of the tool that it runs
_MEASURED = 5  # units: over how many the speed is measured, after the first ones, which are slower


@dataclass(frozen=True)
class Step:
    """One step, and how long it takes on some machine: this machine is assumed to differ by the same factor in all.

    Args:
        name: Its name, a verb.
        units: How many images or iterations it has.
        start: Seconds that it takes besides them.
        each: Seconds for each of them.
    """

    name: str
    units: int
    start: float
    each: float

    def seconds(self, done: int) -> float:
        """How long it takes until some of its units are done."""
        return self.start + self.each * min(done, self.units)


class Steps:
    """Show how far a command with several steps is, and write what they print to a log.

    A terminal shows one progress bar. Anything else gets a line when a step begins and ends, and for every tenth of the
    complete command. How much time is left is shown once a step has measured this machine's speed.

    ``seconds`` holds what each finished step took, and ``console`` prints above the bar.

    Args:
        steps: The steps in their order.
        measured: Name of the step that measures the speed.
        log: The log file. What it holds is kept.

    Raises:
        UserError: If the log can't be written.

    Example:
        >>> with Steps([Step('count', units=3, start=0, each=1)], 'count', 'steps/demo.log') as steps:
        ...     with steps.step('count'):
        ...         print('this goes to the log')
        ...         steps.reach(2)
        count …
        60 %: count 2/3
        count: 0 s
    """

    def __init__(self, steps: Sequence[Step], measured: str, log: str | Path) -> None:
        self.seconds: dict[str, float] = {}
        self.console = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)
        self.log = Path(log)
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.log.open('a', encoding='utf-8', buffering=1)
        except OSError as error:
            raise UserError(f'cannot write the log {log} ({error.strerror}); choose another folder') from error
        self._steps = {step.name: step for step in steps}
        self._width = max(len(f'{step.name} {step.units}/{step.units}') for step in steps)
        self._total = sum(step.seconds(step.units) for step in steps)
        self._measured = measured
        self._first: tuple[int, float] | None = None  # unit at which the measurement began, and when
        self._factor: float | None = None  # of this machine's seconds to those of the steps
        self._step: Step | None = None
        self._note: dict[str, str] = {}  # loss and metrics of the current step
        self._past = 0.0  # seconds of the finished steps
        # Twice a second: drawing it takes time from the training.
        self._bar = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=24),
            TextColumn('{task.percentage:.0f} %'),
            _TimeColumn(),
            console=self.console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=2,
            disable=not self.console.is_interactive,
        )
        self._task = self._bar.add_task('', total=self._total, end=None)
        self._tenths = 0

    def __enter__(self) -> 'Steps':
        with ExitStack() as stack:
            stack.callback(self._file.close)
            stack.enter_context(end_on_signals())
            stack.enter_context(self._bar)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run the block as a step: its time is taken, and what it prints goes to the log.

        Args:
            name: Name of the step.
        """
        self._step, self._note = self._steps[name], {}
        step = self._step
        self._describe(name)
        self._line(f'{name} …')
        start = time.perf_counter()
        with redirect_stdout(self._file), redirect_stderr(self._file):
            yield
        self.seconds[name] = time.perf_counter() - start
        self._past += step.seconds(step.units)
        self._tenths = int(10 * self._past / self._total)
        self._bar.update(self._task, completed=self._past)
        self._line(f'{name}: {self.seconds[name]:.0f} s')

    def reach(self, done: int) -> None:
        """Show how far the current step is.

        Args:
            done: How many of its units are done.
        """
        step, now = self._step, time.perf_counter()
        position = self._past + step.seconds(done)
        if step.name == self._measured:
            self._measure(done, now, self._total - position)
        left = None if self._factor is None else self._factor * (self._total - position)
        at = ', '.join([f'{step.name} {done}/{step.units}', *(f'{key} {value}' for key, value in self._note.items())])
        self._bar.update(self._task, completed=position, end=None if left is None else now + left)
        self._describe(at)
        if int(10 * position / self._total) > self._tenths:
            self._tenths = int(10 * position / self._total)
            self._line(f'{10 * self._tenths} %: {at}' + ('' if left is None else f', about {duration(left)} left'))

    def run(self, command: Sequence[Any], environment: Mapping[str, str] | None = None) -> None:
        """Run a command to its end; the lines that mmengine logs say how far it is.

        Args:
            command: Its words.
            environment: Variables to set for it. Defaults to None.

        Raises:
            UserError: If it fails, with its message or its last lines.
        """
        self._file.write(f'$ {shlex.join(map(str, command))}\n')
        last: deque[str] = deque(maxlen=_KEPT_LINES)

        def tell(lines: list[str]) -> None:
            last.extend(lines)
            for line in lines:
                if _VALIDATION.search(line):
                    values = {key: float(value) for key, value in _VALUE.findall(line) if key in _METRICS}
                    self._note |= {name: f'{value:.3f}' for name, value in main_metrics(values).items()}
                if found := _ITERATION.search(line):
                    self._note |= {key: value for key, value in _VALUE.findall(line) if key == 'loss'}
                    epoch, iteration, number = (int(group or 1) for group in found.groups())
                    self.reach((epoch - 1) * number + iteration)

        if status := run_logged(command, self.log, tell, environment):
            raise UserError(
                f'{_reason(list(last))}\n'
                f'The step "{self._step.name}" failed with status {status}. Its complete log: {self.log}'
            )

    def _measure(self, done: int, now: float, rest: float) -> None:
        """Find the speed of this machine, and say once how long the rest takes."""
        if self._first is None:
            self._first = done, now
        first, then = self._first
        if done < first + _MEASURED:
            return
        unit, known = (now - then) / (done - first), self._factor is not None
        self._factor = unit / self._step.each
        if not known:
            self.console.print(
                f'An iteration takes {unit:.2f} s on this machine: about {duration(self._factor * rest)} left.'
            )

    def _describe(self, text: str) -> None:
        """Put a text before the bar, which stays where it is."""
        self._bar.update(self._task, description=text.ljust(self._width))

    def _line(self, text: str) -> None:
        """Print a line where there is no bar."""
        if self._bar.disable:
            self.console.print(text)


class _TimeColumn(ProgressColumn):
    """The time since the beginning, and what is left of it until the expected end."""

    def render(self, task: Task) -> Text:
        end, passed = task.fields['end'], duration(task.elapsed or 0)
        left = 0 if end is None else end - time.perf_counter()
        return Text(f'{passed}, about {duration(left)} left' if left > 0 else passed)


def duration(seconds: float) -> str:
    """Seconds as a reader says them.

    Args:
        seconds: At least 0.

    Returns:
        The seconds or, from a minute on, minutes and seconds.

    Example:
        >>> duration(9.6), duration(150)
        ('10 s', '2 min 30 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def _reason(lines: list[str]) -> str:
    """Why a command failed, from the last lines that it printed: its own message, or else a few of the lines."""
    starts = [index for index, line in enumerate(lines) if line.startswith('error: ')]
    if not starts:
        return 'the last lines are:\n' + '\n'.join(lines[-_SHOWN_LINES:]).rstrip()
    message = '\n'.join(lines[starts[-1] :]).removeprefix('error: ')
    return message.partition('Traceback (most recent call last):')[0].rstrip()

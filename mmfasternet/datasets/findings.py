"""What a check has found: ten examples at most, at least one of each kind, and how many there are."""

from collections.abc import Callable

__all__ = ['Findings']

_EXAMPLES = 10


class Findings:
    """Faults of one kind or several, as one message that stays short.

    Example:
        >>> found = Findings()
        >>> for number in range(12):
        ...     found.add('box', lambda: f'annotation {number}: no box')
        >>> print(found.text('coco.json').splitlines()[0])
        coco.json: 12 faults:
        >>> print(found.text('coco.json').splitlines()[-1].strip())
        … and 2 more of this kind
    """

    def __init__(self) -> None:
        self._examples: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, kind: str, example: str | Callable[[], str]) -> None:
        """Count a fault, and keep it as an example if it is one of the first of its kind.

        Args:
            kind: What faults of one kind share.
            example: What is wrong, or a function that says it, which is called for the first ones alone.
        """
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] <= _EXAMPLES:
            self._examples.setdefault(kind, []).append(example if isinstance(example, str) else example())

    def text(self, owner: str, kinds: str = 'faults') -> str:
        """The message.

        Args:
            owner: What the faults are in.
            kinds: What they are called together. Defaults to 'faults'.

        Returns:
            One line for one fault, otherwise a line for each example and for what is left out of each kind.
        """
        if len(self) == 1:
            return f'{owner}: {next(iter(self._examples.values()))[0]}'
        shown = max(1, _EXAMPLES // len(self._counts))
        lines = [f'{owner}: {len(self)} {kinds}:']
        for kind, examples in self._examples.items():
            lines += [f'  {example}' for example in examples[:shown]]
            if rest := self._counts[kind] - len(examples[:shown]):
                lines.append(f'  … and {rest} more of this kind')
        return '\n'.join(lines)

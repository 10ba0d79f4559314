"""What the reports of the experiments share: a page that begins with what speaks against the paper, and a figure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import bullets, escape_records, origin
from mmfasternet.benchmark.report.style import STYLE, encode
from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .experiment import Experiment

__all__ = ['Report', 'Statement', 'of_weights']

_PAGE = """# {title}

Drawn from `records.json` by `tools/paper/{name}.py`; not edited by hand.
[The guide](../../../paper.md#{anchor}) explains the experiment.

{origin}{setup}

## What speaks against the paper's claims

{against}

## What else was found

{others}

![{caption}]({name}.png)

{body}
"""


def of_weights(records: Records, weights: str) -> list[dict]:
    """The records of 'trained' weights, or of the 'random' ones that they are compared with, in their order."""
    return [record for record in records.records if record['settings']['weights'] == weights]


@dataclass(frozen=True)
class Statement:
    """What the records say, in Markdown, and whether it speaks against the paper's claims for PConv and FasterNet."""

    text: str
    against: bool = False


@dataclass(frozen=True)
class Report:
    """The report of an experiment: a page and a figure, drawn from its records.

    ``setup`` continues the sentence that says where they were taken, ``body`` is the page below the figure, and
    ``missing`` says why they can't be drawn yet, or ''. The title is that of the guide's section, too.
    """

    name: str
    title: str
    caption: str
    setup: Callable[[Records], str]
    state: Callable[[Records], Iterable[Statement]]
    body: Callable[[Records], str]
    draw: Callable[[Records], Figure]
    missing: Callable[[Records], str]

    def page(self, records: Records) -> str:
        """The experiment as Markdown."""
        records = escape_records(records)
        found = list(self.state(records))
        against, others = (bullets(one.text for one in found if one.against == side) for side in (True, False))
        return _PAGE.format(
            title=self.title,
            name=self.name,
            anchor=self.title.lower().replace(' ', '-'),
            origin=origin(records),
            setup=self.setup(records),
            against=against or 'Nothing that was measured here.',
            others=others or 'Nothing.',
            caption=self.caption,
            body=self.body(records),
        )

    def write(self, records: Records, out_dir: str | Path) -> dict[str, Path]:
        """Write the page and the figure.

        Args:
            records: The experiment's.
            out_dir: Folder, created if it is missing.

        Returns:
            Name → path of the figure and the page.

        Raises:
            UserError: If the records belong to something else or can't be drawn yet, or a file can't be written.
        """
        Experiment(self.name, records)
        if missing := self.missing(records):
            raise UserError(f'nothing to draw in {out_dir} yet: {missing}')
        with matplotlib.rc_context(STYLE):
            figure = encode(self.draw(records))
        files = {f'{self.name}.png': figure, f'{self.name}.md': self.page(records).encode()}
        return {name: write_file(Path(out_dir, name), content) for name, content in files.items()}

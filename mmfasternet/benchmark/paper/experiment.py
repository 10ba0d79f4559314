"""The records of one of the paper's experiments."""

from typing import Any

from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

__all__ = ['Experiment']


class Experiment:
    """Records that belong to one experiment; what is recorded is not measured again."""

    def __init__(self, name: str, records: Records) -> None:
        self.name = name
        self.records = records
        for record in records.records:
            if (record['kind'], record.get('experiment')) != ('paper', name):
                raise UserError(
                    f'{records.path} has a record that does not belong to the experiment {name} ({record["label"]}): '
                    'choose a folder of that experiment, or an empty one, with --out-dir'
                )

    def find(self, row: str, settings: dict[str, Any]) -> dict | None:
        """The record of a row with these settings, or None."""
        return self.records.find('paper', row, experiment=self.name, settings=settings)

    def add(self, row: str, label: str, settings: dict[str, Any], figures: dict[str, Any]) -> dict:
        """Add a record in place of one of the same row and settings, and save the file; figures end in their units."""
        kind = dict(kind='paper', experiment=self.name)
        return self.records.add(dict(kind, row=row, label=label, settings=settings, figures=figures))

    def require(self, common: dict[str, Any]) -> None:
        """Make sure that a page never mixes networks, budgets or numbers of threads."""
        for record in self.records.records:
            for key, value in common.items():
                found = record['settings'].get(key, value)
                if found != value:
                    raise UserError(
                        f'{self.records.path} has records with {key} {found!r}, but now it is {value!r}: choose '
                        'another folder with --out-dir'
                    )

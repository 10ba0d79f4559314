"""Records of the studies, in a file to which each finished measurement is saved at once."""

from pathlib import Path
from typing import Any

from mmfasternet.benchmark.measure.latency import Protocol, open_document
from mmfasternet.benchmark.records.records import provenance, read_records
from mmfasternet.errors import UserError
from mmfasternet.files import write_json

__all__ = ['StudyFile', 'read_study']


def read_study(path: str | Path, study: str) -> dict:
    """Read the records of one study.

    Args:
        path: File of records.
        study: Name of the study, such as 'operators'.

    Returns:
        The document.

    Raises:
        UserError: If it can't be read, or has records of something else.

    Example:
        >>> record = StudyFile('example_study.json', 'operators').add('conv', 'Conv', {}, dict(flops=1))
        >>> read_study('example_study.json', 'operators')['records'] == [record]
        True
    """
    document = read_records(path)
    for record in document['records']:
        if record.get('study') != study:
            raise UserError(
                f'{path} has a record of something else than the study of {study} ({record["label"]}): name a folder '
                'of that study, or an empty one, as --out-dir'
            )
    return document


class StudyFile:
    """The file of records of one study; what it has already is not measured again.

    Args:
        path: The file; a new one is made if it is missing.
        study: Name of the study, such as 'operators'.
        device: Where it is measured, such as 'cpu' or 'cuda:0'. Defaults to 'cpu'.
        threads: Threads of torch on the CPU. None means as many as torch takes. Defaults to None.

    Raises:
        UserError: If the file is of another machine, or can't be read or written.

    Example:
        >>> file = StudyFile('example.json', 'operators')
        >>> record = file.add('conv', 'Conv 3×3', dict(channels=96), dict(flops=260_112_384))
        >>> file.find('conv', dict(channels=96))['figures']
        {'flops': 260112384}
    """

    def __init__(self, path: str | Path, study: str, device: str = 'cpu', threads: int | None = None) -> None:
        self.path = Path(path)
        self.study = study
        open_document(self.path, Protocol(device=device, threads=threads))
        self.document = read_study(self.path, study)

    def find(self, row: str, settings: dict[str, Any]) -> dict | None:
        """The record of a row with these settings.

        Args:
            row: What was measured.
            settings: What tells measurements of the row apart.

        Returns:
            The record, or None.
        """
        for record in self.document['records']:
            if (record['study'], record['row'], record['settings']) == (self.study, row, settings):
                return record
        return None

    def require(self, common: dict[str, Any]) -> None:
        """Make sure that all records so far share settings, so that a page never mixes models or budgets.

        Args:
            common: Settings that every record must have, among others.

        Raises:
            UserError: If a record has another one.
        """
        for record in self.document['records']:
            for key, value in common.items():
                found = record['settings'].get(key)
                if found != value:
                    raise UserError(
                        f'{self.path} has records of another study: {key} is {found!r} there, and now {value!r}; '
                        'name another --out-dir'
                    )

    def add(self, row: str, label: str, settings: dict[str, Any], figures: dict[str, Any]) -> dict:
        """Add a record in place of one of the same row and settings, and save the file.

        Args:
            row: What was measured.
            label: What tables and plots call it.
            settings: What tells measurements of the row apart; what JSON can hold.
            figures: What was found, with the unit at the end of each name; what JSON can hold.

        Returns:
            The record.
        """
        old = self.find(row, settings)
        if old:
            self.document['records'].remove(old)
        record = dict(
            kind='study', study=self.study, row=row, label=label, settings=settings, figures=figures, **provenance()
        )
        self.document['records'].append(record)
        write_json(self.path, self.document)
        return record

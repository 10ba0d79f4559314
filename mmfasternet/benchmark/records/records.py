"""A file of records: opened, searched, extended, and saved after every addition."""

import json
import math
import weakref
from pathlib import Path
from typing import Any

from mmfasternet.errors import UserError
from mmfasternet.files import write_json
from mmfasternet.locks import exclusive

from .machine import describe_machine, provenance
from .private import without_secrets
from .schema import FORMAT, KINDS, VERSION, check_machine, check_record, shown
from .upgrade import upgrade

__all__ = ['Records', 'read_json']

_DEEPEST = 20  # levels of lists and objects in each other; a record of ours has 6


class Records:
    """A file of records, all of one machine.

    Whoever writes a file holds its lock, ``.NAME.lock`` beside it, until the object is gone or the process ends.

    Args:
        machine: What :func:`~mmfasternet.benchmark.records.machine.describe_machine` returned.
        path: The file that :meth:`save` writes. None means that nothing is saved. Defaults to None.
        records: What it holds. Defaults to ().

    Example:
        >>> records = Records.open('example_records.json')
        >>> record = records.add(dict(kind='demo', row='tiny', label='Tiny', figures=dict(box_ap=0.7)))
        >>> Records.read('example_records.json').find('demo', 'tiny')['figures']
        {'box_ap': 0.7}
    """

    def __init__(self, machine: dict, path: str | Path | None = None, records: tuple[dict, ...] | list = ()) -> None:
        self.machine = machine
        self.path = None if path is None else Path(path)
        self.records: list[dict] = list(records)
        self._lock: _Lock | None = None

    @classmethod
    def read(cls, path: str | Path) -> 'Records':
        """Read a file of records of any machine, and check each record.

        Args:
            path: The file.

        Returns:
            The records.

        Raises:
            UserError: If it can't be read, is of another format or a newer version, or a record is impossible; the
                message names the record and the field.
        """
        document = read_json(path)
        if _is_deeper(document, _DEEPEST):
            raise UserError(f'{path} is no file of records: it has more than {_DEEPEST} lists or objects in each other')
        if not isinstance(document, dict) or document.get('format') != FORMAT:
            raise UserError(f'{path} is no file of records: it should be an object with "format": "{FORMAT}"')
        if document.get('version') not in range(1, VERSION + 1):
            raise UserError(
                f'{path} has version {shown(document.get("version"))} of the format of records, and this program reads '
                f'versions up to {VERSION}: use a release of mmfasternet that fits the file'
            )
        try:
            check_machine(document.get('machine'))
        except ValueError as error:
            raise UserError(f'{path}: "machine": {error}') from error
        if not isinstance(document.get('records'), list):
            raise UserError(f'{path}: "records" should be a list, but is {shown(document.get("records"))}')
        try:
            document = upgrade(document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f'{path}: a record of version {document["version"]} is impossible ({type(error).__name__}: {error})'
            ) from error
        for index, record in enumerate(document['records']):
            try:
                check_record(record)
            except ValueError as error:
                name = record.get('row', '?') if isinstance(record, dict) else '?'
                raise UserError(f'{path}: record {index} ({shown(name)}): {error}') from error
        return cls(document['machine'], path, document['records'])

    @classmethod
    def open(cls, path: str | Path, device: str = 'cpu', any_machine: bool = False) -> 'Records':
        """Open a file to add what is measured on this machine; a missing one is created at once.

        Args:
            path: The file.
            device: Where models run, such as 'cpu' or 'cuda:0'. Defaults to 'cpu'.
            any_machine: Whether the file may be of another machine, since nothing will be measured. Defaults to False.

        Returns:
            The records.

        Raises:
            UserError: If it can't be read or written, another process writes it, or it belongs to another machine.
        """
        machine = describe_machine(device)
        records = cls(machine, path)
        # Before it is read, so that nobody adds to it in between.
        records._take_lock()
        if not Path(path).exists():
            # At once, so that a file that can't be written is an error before the first measurement.
            records.save()
            return records
        found = cls.read(path)
        records.machine, records.records = found.machine, found.records
        if not any_machine and records.machine['id'] != machine['id']:
            raise UserError(
                f'{path} was taken on another machine, or with other packages ({records.machine["label"]}; this is '
                f'{machine["label"]}). Write to another file; `mmfasternet compare` takes both'
            )
        return records

    def of_kind(self, kind: str, **where: Any) -> list[dict]:
        """The records of a kind.

        Args:
            kind: One of those that docs/records.md lists.
            where: Values that their fields must have.

        Returns:
            The records, in their order.
        """
        wanted = without_secrets(dict(where, kind=kind))
        return [
            record
            for record in self.records
            if all(without_secrets(record.get(key)) == value for key, value in wanted.items())
        ]

    def find(self, kind: str, row: str, **where: Any) -> dict | None:
        """The record of a measurement, if there is one.

        Args:
            kind: Its kind.
            row: What was measured.
            where: Values that its fields must have.

        Returns:
            The first such record, or None.
        """
        return next(iter(self.of_kind(kind, row=row, **where)), None)

    def add(self, record: dict) -> dict:
        """Add a record, or replace that of the same measurement, with its date, commit and command, and save the file.

        What others must not know is left out, see
        :func:`~mmfasternet.benchmark.records.private.without_secrets`. A number that is not finite becomes None, since
        JSON has no word for it.

        Args:
            record: Everything that its kind asks for except date, commit and command.

        Returns:
            The complete record.

        Raises:
            ValueError: If a field is missing or impossible.
            UserError: If the file can't be written, or another process writes it.
        """
        record = _finite(without_secrets({**record, **provenance()}))
        check_record(record)
        same = {key: record.get(key) for key in KINDS[record['kind']].identity}
        old = self.find(record['kind'], record['row'], **same)
        if old is None:
            self.records.append(record)
        else:
            self.records[self.records.index(old)] = record
        self.save()
        return record

    def save(self) -> None:
        """Write the file, completely or not at all.

        Raises:
            UserError: If it can't be written, or another process writes it.
        """
        if self.path is not None:
            self._take_lock()
            write_json(self.path, dict(format=FORMAT, version=VERSION, machine=self.machine, records=self.records))

    def _take_lock(self) -> None:
        path = self.path.resolve()
        self._lock = _LOCKS.get(path) or _Lock(path)
        _LOCKS[path] = self._lock


class _Lock:
    """The lock of a file of records, held until the object is gone."""

    def __init__(self, path: Path) -> None:
        file = exclusive(path.with_name(f'.{path.name}.lock'), f'adds to {path}')
        weakref.finalize(self, file.close)


# File → its lock, as long as this process has records of it.
_LOCKS: weakref.WeakValueDictionary[Path, _Lock] = weakref.WeakValueDictionary()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in each other on more levels."""
    if not isinstance(value, (dict, list)):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        UserError: If it is missing, or is no JSON, for instance cut in half.

    Example:
        >>> from mmfasternet.files import write_json
            >>> path = write_json('example.json', dict(a=1))
        >>> read_json('example.json')
        {'a': 1}
    """
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'cannot read {path} ({error.strerror or error})') from error
    except (RecursionError, ValueError) as error:
        raise UserError(
            f'{path} is not JSON, or was cut off ({error}); take it from its source again, or remove it'
        ) from error

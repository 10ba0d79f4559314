"""What was measured, where and how: the JSON files that tables, plots and pages are drawn from.

A file is one JSON object: ``format`` and ``version`` of what this page describes, the ``machine``, and ``records``, a
list. docs/records.md gives every field.
"""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mmfasternet.errors import UserError

__all__ = ['describe_machine', 'new_document', 'of_kind', 'provenance', 'read_json', 'read_records']

FORMAT, VERSION = 'mmfasternet-records', 1
KINDS = ('complexity', 'classifier', 'latency', 'ap', 'profile', 'training', 'study')
SCOPES = ('backbone', 'detector', 'end2end')
PACKAGES = ('torch', 'torchvision', 'numpy', 'timm')
# Each is one package under the names of the two sets.
TWINS = (
    ('onedl-mmengine', 'mmengine'),
    ('onedl-mmcv', 'mmcv'),
    ('onedl-mmdetection', 'mmdet'),
    ('onedl-mmsegmentation', 'mmsegmentation'),
    ('onedl-mmpretrain', 'mmpretrain'),
)


def new_document(machine: dict) -> dict:
    """An empty file of records.

    Args:
        machine: What :func:`describe_machine` gave.

    Returns:
        The document, without records yet.

    Example:
        >>> new_document(describe_machine('cpu', 2))['records']
        []
    """
    return dict(format=FORMAT, version=VERSION, machine=machine, records=[])


def of_kind(document: dict, kind: str) -> list[dict]:
    """The records of one kind.

    Args:
        document: A file of records.
        kind: One of those that docs/records.md lists.

    Returns:
        The records in their order.

    Example:
        >>> of_kind(dict(records=[dict(kind='ap', row='a'), dict(kind='latency', row='b')]), 'ap')
        [{'kind': 'ap', 'row': 'a'}]
    """
    return [record for record in document['records'] if record['kind'] == kind]


def describe_machine(device: str, threads: int) -> dict:
    """What a reader must know of the machine to judge a latency.

    Args:
        device: Where the models run, such as 'cpu' or 'cuda:0'.
        threads: Threads that torch may use on the CPU.

    Returns:
        ``id``, ``label``, ``device``, ``device_name``, ``cpu``, ``cores``, ``threads``, ``memory_gb``, ``system``,
        ``python`` and ``packages`` (name → version). Equal machines have equal ids.

    Example:
        >>> describe_machine('cpu', 2)['threads']
        2
    """
    cpu = cpu_name()
    name = torch.cuda.get_device_name(device) if device.startswith('cuda') else cpu
    machine = dict(
        label=name if device.startswith('cuda') else f'{cpu}, {threads} thread{"s" if threads > 1 else ""}',
        device=device,
        device_name=name,
        cpu=cpu,
        cores=os.cpu_count(),
        threads=threads,
        memory_gb=round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        system=f'{platform.system()} {platform.machine()}',
        python=platform.python_version(),
        packages=package_versions(),
    )
    if device.startswith('cuda'):
        machine.update(cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())
    return dict(id=sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:8], **machine)


def cpu_name() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def package_versions() -> dict[str, str]:
    versions = {}
    for names in [*((name,) for name in PACKAGES), *TWINS]:
        for name in names:
            try:
                versions[name] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return versions


def provenance() -> dict:
    """When, from which commit and by which command a record is made.

    Returns:
        ``date`` (ISO 8601, UTC), ``commit`` (with '+' after it where files differ from it; None outside a clone) and
        ``command``.

    Example:
        >>> sorted(provenance())
        ['command', 'commit', 'date']
    """
    command = ' '.join([os.path.relpath(sys.argv[0]) if sys.argv[0].startswith('/') else sys.argv[0], *sys.argv[1:]])
    return dict(
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        commit=commit(),
        command=command.replace(str(Path.home()), '~'),
    )


def commit() -> str | None:
    def git(*words: str) -> str:
        folder = Path(__file__).parent
        return subprocess.run(
            ['git', '-C', str(folder), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        # A plain install lies in nobody's clone, or in one of another project.
        if not git('ls-files', Path(__file__).name):
            return None
        # Records and pictures that the command itself writes don't make the code another.
        changed = git('status', '--porcelain', '--untracked-files=no', '--', ':/mmfasternet', ':/configs', ':/tools')
        return git('rev-parse', '--short=10', 'HEAD') + ('+' if changed else '')
    except (OSError, subprocess.CalledProcessError):
        return None


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        UserError: If it is not there, or is no JSON, for instance cut in half.

    Example:
        >>> from mmfasternet.files import write_json
        >>> path = write_json('example.json', dict(a=1))
        >>> read_json('example.json')
        {'a': 1}
    """
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'can not read {path} ({error.strerror or error})') from error
    except ValueError as error:
        raise UserError(
            f'{path} is not JSON, or was cut off ({error}); take it from its source again, or remove it'
        ) from error


def read_records(path: str | Path) -> dict:
    """Read a file of records, and check each.

    Args:
        path: The file.

    Returns:
        The document.

    Raises:
        UserError: If it can't be read, is of another kind or a newer version, or a record is impossible; the message
            names the record and the field.

    Example:
        >>> from mmfasternet.files import write_json
        >>> path = write_json('example.json', new_document(describe_machine('cpu', 2)))
        >>> read_records(path)['version']
        1
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get('format') != FORMAT:
        raise UserError(f'{path} is no file of records: it should be an object with "format": "{FORMAT}"')
    if document.get('version') != VERSION:
        raise UserError(
            f'{path} has version {document.get("version")!r} of the format of records, and this program reads '
            f'version {VERSION}: take a release of mmfasternet that fits the file'
        )
    machine, records = document.get('machine'), document.get('records')
    if not isinstance(machine, dict) or not all(isinstance(machine.get(key), str) for key in ('id', 'label')):
        raise UserError(f'{path}: "machine" should be an object with the texts "id" and "label", but is {machine!r}')
    if not isinstance(records, list):
        raise UserError(f'{path}: "records" should be a list, but is {records!r}')
    for index, record in enumerate(records):
        try:
            check_record(record)
        except ValueError as error:
            name = record.get('row', '?') if isinstance(record, dict) else '?'
            raise UserError(f'{path}: record {index} ({name!r}): {error}') from error
    return document


def check_record(record: Any) -> None:
    if not isinstance(record, dict):
        raise ValueError(f'should be an object, but is {record!r}')
    kind = record.get('kind')
    if kind not in KINDS:
        raise ValueError(f'"kind" should be one of {", ".join(KINDS)}, but is {kind!r}')
    for key in ('row', 'label', 'date'):
        check(record, key, 'a text', is_text)
    if kind == 'complexity':
        for key in ('params', 'trainable', 'flops_full', 'flops_paper'):
            check(record, key, 'a whole number, 0 or more', is_count)
    if kind == 'classifier':
        for key in ('params', 'params_conv_fc', 'flops', 'flops_conv_fc'):
            check(record, key, 'a whole number, 0 or more', is_count)
    if kind == 'ap':
        for key in ('box_ap', 'mask_ap'):
            check(record, key, 'percent points from 0 to 100', is_percent)
    if kind == 'latency':
        check(record, 'scope', f'one of {", ".join(SCOPES)}', lambda value: value in SCOPES)
        for key in ('path', 'precision'):
            check(record, key, 'a text', is_text)
        for key in ('threads', 'batch'):
            check(record, key, 'a whole number', is_count)
        for key in ('median_ms', 'p90_ms', 'throughput'):
            check(record, key, 'a number above 0', is_positive)
        check(record, 'quartiles_ms', 'two numbers above 0', lambda value: is_list(value, 2, is_positive))
        check(record, 'shape', 'height and width', lambda value: is_list(value, 2, is_count))
        check(record, 'flags', 'a list of texts', lambda value: is_list(value, None, is_text))
    if kind == 'profile':
        check(record, 'parts', 'an object of shares', lambda value: isinstance(value, dict) and value != {})
    if kind == 'study':
        check(record, 'study', 'a text', is_text)
        check(record, 'settings', 'an object of settings', lambda value: isinstance(value, dict))
        check(record, 'figures', 'an object of figures', lambda value: isinstance(value, dict) and value != {})
    if kind == 'training':
        for key in ('held_mib', 'median_ms'):
            check(record, key, 'a number above 0', is_positive)


def check(record: dict, key: str, expected: str, is_fine: Callable[[Any], bool]) -> None:
    if not is_fine(record.get(key)):
        raise ValueError(f'"{key}" should be {expected}, but is {record.get(key)!r}')


def is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ''


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def is_percent(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 100


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_list(value: Any, length: int | None, is_fine: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and length in (None, len(value)) and all(map(is_fine, value))

"""Files of records of earlier versions, converted to the current one."""

import re

from .machine import machine_id

__all__ = ['upgrade']

_PATHS = dict(deploy='folded', eager='reference', deployed='optimized')
_SETTINGS = dict(form='path', pictures='images', first_picture='first_image')
# Experiments whose latencies depend on the number of threads, which version 1 kept with the machine.
_TIMED = ('operators', 'ablation')


def upgrade(document: dict) -> dict:
    """Convert a file of records to the current version."""
    if document['version'] == 1:
        document = _upgrade_first(document)
    if document['version'] == 2:
        document = dict(document, version=3, records=[_name_defaults(record) for record in document['records']])
    return document


def _name_defaults(record: dict) -> dict:
    """Say what all measurements had in common before version 3."""
    if record['kind'] == 'latency':
        halved = record['precision'] in ('fp16', 'bf16') and record['backend'] in ('eager', 'compile')
        weights = 'autocast' if halved else 'fp32'
        return dict(weights=weights, memory_format='contiguous', compile_mode=None) | record
    if record['kind'] == 'paper' and record['experiment'] == 'operators':
        return dict(record, settings=dict(precision='fp32') | record['settings'])
    if record['kind'] == 'training':
        return dict(device='cpu', precision='fp32', memory_format='contiguous') | record
    return record


def _upgrade_first(document: dict) -> dict:
    machine = dict(document['machine'])
    threads = machine.pop('threads', None)
    machine['label'] = re.sub(r', \d+ threads?$', '', machine['label'])
    if 'device' in machine:
        machine['id'] = machine_id(machine)
    records = [_upgrade_record(record, threads) for record in document['records']]
    return dict(document, version=2, machine=machine, records=records)


def _upgrade_record(record: dict, threads: int | None) -> dict:
    record = dict(record)
    for key in ('row', 'config'):
        if isinstance(record.get(key), str):
            record[key] = _renamed(record[key])
    if record['kind'] == 'latency':
        record = dict(backend='eager', provider=None) | record
        record['path'] = _PATHS.get(record['path'], record['path'])
        if 'peak_gflops' in record:
            record['peak_gmacs'] = record.pop('peak_gflops') / 2
    if record.get('contender') == 'deployed':
        record['contender'] = 'optimized'
    if isinstance(record.get('label'), str):
        record['label'] = re.sub(r', deployed$', ', optimized', record['label'])
    if record['kind'] != 'study':
        return record
    experiment = record.pop('study')
    if experiment == 'demo':
        del record['settings']
        return dict(record, kind='demo')
    settings = {_SETTINGS.get(key, key): value for key, value in record['settings'].items()}
    if 'path' in settings:
        settings['path'] = _PATHS[settings['path']]
    if 'config' in settings:
        settings['config'] = _renamed(settings['config'])
    if isinstance(settings.get('network'), str):
        settings['network'] = _renamed(settings['network'])
    if experiment in _TIMED and settings.get('part', 'latency') == 'latency':
        settings['threads'] = threads
    return dict(record, kind='paper', experiment=experiment, settings=settings)


def _renamed(name: str) -> str:
    """Rows and configs of what is trained here were called ``study_…``."""
    return re.sub(r'(^|/)study_', r'\1trained_', name)

"""Files of records: what is read back, what is found and replaced, old versions, and what is refused by name."""

import json
import subprocess
import sys

import pytest
import torch
from helpers.made_up import CPU, ap, complexity, latency
from helpers.project import ROOT

from mmfasternet.benchmark.records import Records, describe_machine, read_json, schema_page, without_secrets
from mmfasternet.benchmark.records.machine import machine_id, provenance
from mmfasternet.benchmark.records.schema import FORMAT, VERSION
from mmfasternet.errors import UserError
from mmfasternet.files import write_json


def write(tmp_path, **changes):
    document = dict(format=FORMAT, version=VERSION, machine=CPU, records=[])
    path = tmp_path / 'records.json'
    path.write_text(json.dumps({**document, **changes}))  # with NaN, as others may write it
    return path


def test_round_trip(tmp_path):
    written = [latency('fasternet_s', 50.0), complexity('fasternet_s', 258), ap('fasternet_s', 39.9, 36.9)]
    records = Records.read(write(tmp_path, records=written))
    assert records.records == written and records.machine == CPU
    records.save()
    assert Records.read(tmp_path / 'records.json').records == written


def test_finds_by_every_field_that_is_named():
    records = Records(CPU, records=[latency('a', 5.0), latency('a', 6.0, batch=2), ap('a', 30, 28)])
    assert records.find('latency', 'a')['median_ms'] == 5.0
    assert records.find('latency', 'a', batch=2)['median_ms'] == 6.0
    assert records.find('latency', 'a', batch=3) is None and records.find('latency', 'b') is None
    assert [record['median_ms'] for record in records.of_kind('latency', shape=[800, 1280])] == [5.0, 6.0]


def test_add_replaces_the_same_measurement_in_its_place_and_saves(tmp_path):
    records = Records(CPU, tmp_path / 'records.json')
    for record in (latency('a', 5.0), latency('b', 7.0), latency('a', 6.0, threads=1), latency('a', 4.0)):
        records.add(record)
    found = [(r['row'], r['threads'], r['median_ms']) for r in Records.read(tmp_path / 'records.json').records]
    assert found == [('a', 2, 4.0), ('b', 2, 7.0), ('a', 1, 6.0)]


def test_add_refuses_what_could_not_be_read_back(tmp_path):
    records = Records(CPU, tmp_path / 'records.json')
    with pytest.raises(ValueError, match='"median_ms" should be a number above 0, but is -1'):
        records.add(latency('a', 5.0, median_ms=-1))
    assert records.records == []


def test_open_makes_the_file_and_refuses_another_machines(tmp_path):
    path = tmp_path / 'folder' / 'records.json'
    assert Records.open(path).records == [] and path.is_file()
    Records.open(path).add(latency('a', 5.0))
    assert len(Records.open(path).records) == 1
    document = read_json(path)
    document['machine'].update(id='00000000', label='a faster one')
    write_json(path, document)
    before = path.read_bytes()
    with pytest.raises(UserError, match='another machine.*a faster one'):
        Records.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    'changes, facts',
    [
        (dict(format='something'), ['no file of records', FORMAT]),
        (dict(version=VERSION + 1), [f'version {VERSION + 1}', f'up to {VERSION}']),
        (dict(version='1'), ["version '1'"]),
        (dict(machine='a CPU'), ['"machine"', "'a CPU'"]),
        (dict(machine=dict(CPU, label='')), ['"machine"', '"label"']),
        (dict(records={}), ['"records"', 'a list']),
        (dict(records=[7]), ["record 0 ('?')", 'an object', '7']),
        (dict(records=[dict(kind='speed', row='x')]), ['"kind"', 'complexity, classifier, latency, ap', 'speed']),
        (dict(records=[dict(kind=[], row='x')]), ['"kind"', '[]']),
        (dict(records=[ap('mine', -0.1, 30)]), ["record 0 ('mine')", '"box_ap"', 'from 0 to 100']),
        (dict(records=[ap('mine', 30, 101)]), ['"mask_ap"', 'percent points']),
        (dict(records=[ap('mine', True, 30)]), ['"box_ap"', 'True']),
        (dict(records=[latency('mine', 5, median_ms=0)]), ['"median_ms"', 'above 0', 'is 0']),
        (dict(records=[latency('mine', 5, median_ms=float('nan'))]), ['"median_ms"', 'nan']),
        (dict(records=[latency('mine', 5, scope='neck')]), ['"scope"', 'backbone, detector, end2end']),
        (dict(records=[latency('mine', 5, shape=[800])]), ['"shape"', 'height and width']),
        (dict(records=[latency('mine', 5, flags='busy')]), ['"flags"', 'a list of texts']),
        (dict(records=[latency('mine', 5, path=None)]), ['"path"', 'a text', 'None']),
        (dict(records=[latency('mine', 5, provider=7)]), ['"provider"', 'a text or null', '7']),
        (dict(records=[dict(complexity('mine', 250), params=-1)]), ['"params"', '-1']),
        (dict(records=[latency('', 5)]), ['"row"', 'a text']),
        (dict(version=1, records=[dict(kind='study')]), ['version 1', 'impossible']),
        (dict(version=1, records=[7]), ['version 1', 'impossible']),
        (dict(version=2, records=[dict(kind='latency')]), ['version 2', 'impossible']),
        (dict(records=[latency('mine', 5, stream_ms='fast')]), ['"stream_ms"', 'above 0, or missing', 'fast']),
        (dict(records=[ap('mine', 30, 28, box_range='x')]), ['"box_range"', "'x'"]),
        (dict(records=[dict(ap('mine', 30, 28), source=[1])]), ['"source"', '[1]']),
        (dict(records=[dict(ap('mine', 30, 28), family={'a': 1})]), ['"family"', 'a text, or missing']),
        (dict(records=[dict(ap('mine', 30, 28), command=dict(a=1))]), ['"command"', "'a'"]),
        (dict(records=[ap('mine', 30, 28, curves=dict(loss=[[1, 'x']]))]), ['"curves"', 'pairs of numbers']),
        (dict(records=[latency('mine', 5, shape=[10**400, 1])]), ['"shape"', '1000000']),
        (dict(records=[latency('mine', 5, median_ms=10**400)]), ['"median_ms"', 'above 0']),
        (dict(records=[latency('mine', 5, median_ms=1e300)]), ['"median_ms"', '1e+300']),
        (dict(records=[latency('mine', 5, median_ms=1e-300)]), ['"median_ms"', '1e-300']),
        (dict(records=[latency('mine', 5, device=['cpu'])]), ['"device"', "['cpu']"]),
        (dict(records=[ap('\x1b[2K', -1, 28)]), [r"('\x1b[2K')"]),
        (dict(records=[ap('mine', 30, 28, seed='y' * 10**6)]), ['"seed"', 'yyy…']),
        (dict(records=[ap('mine', 30, 28, options=json.loads('[' * 900 + ']' * 900))]), ['in each other']),
    ],
)
def test_impossible_files_are_named(tmp_path, changes, facts):
    with pytest.raises(UserError) as refused:
        Records.read(write(tmp_path, **changes))
    assert all(fact in str(refused.value) for fact in ['records.json', *facts]), refused.value


def test_a_file_cut_in_half(tmp_path):
    path = write(tmp_path, records=[latency('fasternet_s', 50.0)])
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match=r'records\.json is not JSON'):
        Records.read(path)
    path.write_bytes(b'\xff\xfe')
    with pytest.raises(UserError, match='is not JSON'):
        Records.read(path)
    path.write_text('[' * 100_000)
    with pytest.raises(UserError, match='is not JSON'):
        Records.read(path)
    with pytest.raises(UserError, match='cannot read .*none.json'):
        Records.read(tmp_path / 'none.json')


def test_records_of_version_1_are_read_in_todays_terms(tmp_path):
    machine = dict(id='c0ffee00', label='Some CPU, 2 threads', device='cpu', cpu='Some CPU', threads=2, memory_gb=8.0)
    old = latency('trained_fasternet_t0', 5.0, config='configs/demo/trained_fasternet_t0.py')
    engine = latency('fasternet_t0', 9.0, contender='deployed', label='FasterNet-T0, deployed', peak_gflops=200.0)
    old |= dict(row='study_fasternet_t0', config='configs/demo/study_fasternet_t0.py', path='deploy')
    for record in (old, engine):
        del record['backend'], record['provider']
    timed = dict(old, kind='study', study='ablation', settings=dict(part='latency', form='deployed'), figures=dict(a=1))
    fit = dict(timed, study='approximation', settings=dict(pictures=200, network='study_resnet50', seed=0))
    demo = dict(timed, study='demo', settings={})
    records = Records.read(write(tmp_path, version=1, machine=machine, records=[old, engine, timed, fit, demo]))
    assert 'threads' not in records.machine and records.machine['label'] == 'Some CPU'
    assert records.machine['id'] == machine_id(records.machine)
    found = records.find('latency', 'trained_fasternet_t0')
    assert (found['path'], found['backend'], found['config']) == (
        'folded',
        'eager',
        old['config'].replace('study_', 'trained_'),
    )
    assert found['median_ms'] == 5.0 and found['threads'] == 2
    found = records.find('latency', 'fasternet_t0')
    assert (found['contender'], found['label'], found['peak_gmacs']) == ('optimized', 'FasterNet-T0, optimized', 100.0)
    ablation, approximation = records.of_kind('paper')
    assert ablation['settings'] == dict(part='latency', path='optimized', threads=2)
    assert approximation['settings'] == dict(images=200, network='trained_resnet50', seed=0)
    assert len(records.of_kind('demo')) == 1


def test_committed_records_are_of_todays_version_and_of_commits():
    paths = sorted((ROOT / 'docs/results').rglob('*.json'))
    assert paths
    for path in paths:
        document = json.loads(path.read_text())
        assert (document['format'], document['version']) == (FORMAT, VERSION), path
        for record in Records.read(path).records:
            # A '+' would stand for changes that were never committed.
            assert record['commit'] and not record['commit'].endswith('+'), path


def test_equal_machines_have_equal_ids():
    machine = describe_machine()
    assert machine == describe_machine() and {'torch', 'numpy'} <= set(machine['packages'])
    # What another run may change is no other machine.
    assert machine_id(dict(machine, memory_gb=1.0, label='mine')) == machine['id']
    for key in ('cpu', 'cores', 'instructions', 'python', 'packages', 'device'):
        assert machine_id(dict(machine, **{key: 'other'})) != machine['id']


def test_a_machine_is_what_this_process_can_use(monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda pid: {3, 7, 11}, raising=False)
    found = dict(avx2=True, avx512_vnni=True, avx512_bf16=False, num_physical_cores=64)
    monkeypatch.setattr('torch.cpu.get_capabilities', lambda: found, raising=False)
    machine = describe_machine()
    assert machine['cores'] == 3 and machine['instructions'] == ['avx2', 'avx512_vnni']
    monkeypatch.delattr('torch.cpu.get_capabilities')
    assert describe_machine()['instructions'] == [torch.backends.cpu.get_cpu_capability().lower()]


@pytest.mark.parametrize(
    'text, shown',
    [
        ('s=https://user:hunter2@host/x.pth?X-Amz-Signature=SECRET', 's=https://host/x.pth'),
        ('https://host:8443/a/b.json#token', 'https://host:8443/a/b.json'),
        ('https://user:p?w@host/x', 'https://…'),
        ('s3://key:secret@bucket/x.pth, and more', 's3://bucket/x.pth, and more'),
        ('https://[::1]:80/x?y', 'https://[::1]:80/x'),
        ('file:///home/me/x', 'file:///home/me/x'),
        ('hub.token=abc --password abc --tokens 4', 'hub.token=… --password … --tokens 4'),
        ('/home/alice/data and a=/home/alice', '~/data and a=~'),
        ('/root/x:/Users/bob/y', '~/x:~/y'),
        ('/srv/me/x', '~/x'),
        ('/srv/me2/x /srv/me.old /data/srv/me', '/srv/me2/x /srv/me.old /data/srv/me'),
    ],
)
def test_secrets_are_left_out(monkeypatch, text, shown):
    monkeypatch.setenv('HOME', '/srv/me')
    assert without_secrets(dict(a=[text])) == dict(a=[shown])


@pytest.mark.parametrize('home', ['/', '', None])
def test_a_home_that_is_none_hides_nothing_else(monkeypatch, home):
    monkeypatch.delenv('HOME') if home is None else monkeypatch.setenv('HOME', home)
    assert without_secrets('tools/train.py /data/a configs/b.py') == 'tools/train.py /data/a configs/b.py'


def test_what_is_added_has_no_secrets_and_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', '/srv/me')
    records = Records(CPU, tmp_path / 'records.json')
    for box in (30.0, 31.0):
        hidden = dict(checkpoint='https://me:word@host/x.pth?key=1', dataset='/srv/me/coco.json')
        records.add(ap('mine', box, 28) | hidden)
    (record,) = Records.read(records.path).records
    assert record['checkpoint'] == 'https://host/x.pth' and record['dataset'] == '~/coco.json'
    assert records.find('ap', 'mine', dataset='/srv/me/coco.json') == record and record['box_ap'] == 31.0


def test_a_number_that_is_not_finite_is_null(tmp_path):
    records = Records(CPU, tmp_path / 'records.json')
    records.add(dict(kind='demo', row='a', label='A', figures=dict(rho=float('nan'), all=[float('inf'), 1.5])))
    assert json.loads(records.path.read_text())['records'][0]['figures'] == dict(rho=None, all=[None, 1.5])


def test_one_writer_per_file(tmp_path):
    """Who opens a file adds to it alone, and the next is told at once; nothing is lost."""
    path = tmp_path / 'records.json'
    code = f"""
from mmfasternet.benchmark.records import Records
records = Records.open({str(path)!r})
print('open', flush=True)
input()
records.add(dict(kind='demo', row='theirs', label='Theirs', figures=dict(a=1)))
"""
    other = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b'open\n'
    who = f'process {other.pid} of .* adds to .*records.json'
    with pytest.raises(UserError, match=who):
        Records.open(path)
    with pytest.raises(UserError, match=who):
        Records(CPU, path).save()
    assert Records.read(path).records == []
    other.communicate(b'\n')
    assert other.returncode == 0
    Records.open(path).add(dict(kind='demo', row='ours', label='Ours', figures=dict(a=1)))
    assert [record['row'] for record in Records.read(path).records] == ['theirs', 'ours']


def test_provenance_names_no_home(monkeypatch):
    monkeypatch.setattr('sys.argv', ['tools/benchmark/compare.py', '--out-dir', '/home/somebody/x'])
    monkeypatch.setenv('HOME', '/home/somebody')
    assert provenance()['command'] == 'tools/benchmark/compare.py --out-dir ~/x'


def test_page_of_the_format_is_made_from_the_schema():
    assert (ROOT / 'docs/records.md').read_text() == schema_page()

"""Files of records: what is read back, and what is refused by name."""

import pytest
from helpers.made_up import CPU, ap, complexity, latency

from mmfasternet.benchmark.comparison.ap import ap_record, newest_metrics
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.benchmark.records.records import describe_machine, new_document, provenance, read_records
from mmfasternet.errors import UserError
from mmfasternet.files import write_json


def write(tmp_path, **changes):
    return write_json(tmp_path / 'records.json', {**new_document(CPU), **changes})


def test_round_trip(tmp_path):
    records = [latency('fasternet_s', 50.0), complexity('fasternet_s', 258), ap('fasternet_s', 39.9, 36.9)]
    assert read_records(write(tmp_path, records=records))['records'] == records


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(format='something'), 'is no file of records'),
        (dict(version=2), 'has version 2 of the format of records, and this program reads version 1'),
        (dict(machine='a CPU'), '"machine" should be an object with the texts "id" and "label"'),
        (dict(records={}), '"records" should be a list'),
        (dict(records=[7]), r"record 0 \('\?'\): should be an object, but is 7"),
        (dict(records=[dict(kind='speed', row='x')]), '"kind" should be one of complexity, classifier, latency, ap'),
        (
            dict(records=[ap('mine', -0.1, 30)]),
            r"record 0 \('mine'\): \"box_ap\" should be percent points from 0 to 100",
        ),
        (dict(records=[ap('mine', 30, 101)]), '"mask_ap" should be percent points'),
        (dict(records=[ap('mine', True, 30)]), '"box_ap" should be percent points'),
        (dict(records=[latency('mine', 5, median_ms=0)]), '"median_ms" should be a number above 0, but is 0'),
        (dict(records=[latency('mine', 5, median_ms=float('nan'))]), '"median_ms" should be a number above 0'),
        (dict(records=[latency('mine', 5, scope='neck')]), '"scope" should be one of backbone, detector, end2end'),
        (dict(records=[latency('mine', 5, shape=[800])]), '"shape" should be height and width'),
        (dict(records=[latency('mine', 5, flags='busy')]), '"flags" should be a list of texts'),
        (dict(records=[latency('mine', 5, path=None)]), '"path" should be a text, but is None'),
        (dict(records=[dict(complexity('mine', 250), params=-1)]), '"params" should be a whole number, 0 or more'),
        (dict(records=[latency('', 5)]), '"row" should be a text'),
    ],
)
def test_impossible_records_are_named(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        read_records(write(tmp_path, **changes))


def test_a_file_cut_in_half(tmp_path):
    path = write(tmp_path, records=[latency('fasternet_s', 50.0)])
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match=r'records\.json is not JSON, or was cut off'):
        read_records(path)
    path.write_bytes(b'\xff\xfe')
    with pytest.raises(UserError, match='is not JSON'):
        read_records(path)
    with pytest.raises(UserError, match='can not read .*none.json'):
        read_records(tmp_path / 'none.json')


def test_machines_have_equal_ids_where_they_are_equal():
    assert describe_machine('cpu', 2) == describe_machine('cpu', 2)
    assert describe_machine('cpu', 2)['id'] != describe_machine('cpu', 1)['id']
    assert {'torch', 'numpy'} <= set(describe_machine('cpu', 2)['packages'])


def test_provenance_names_no_home(monkeypatch):
    monkeypatch.setattr('sys.argv', ['tools/benchmark/compare.py', '--out-dir', '/home/somebody/x'])
    monkeypatch.setenv('HOME', '/home/somebody')
    assert provenance()['command'] == 'tools/benchmark/compare.py --out-dir ~/x'


METRICS = {'coco/bbox_mAP': 0.399, 'coco/bbox_mAP_50': 0.612, 'coco/bbox_mAP_s': -1.0, 'coco/segm_mAP': 0.369}


def test_ap_of_an_earlier_test(tmp_path):
    path = write_json(tmp_path / 'run' / '20260101_000000' / '20260101_000000.json', METRICS)
    write_json(tmp_path / 'run' / '20251231_000000' / '20251231_000000.json', {})
    assert newest_metrics(tmp_path / 'run') == path
    record = ap_record(find_row('fasternet_s'), path)
    assert (record['box_ap'], record['box_ap50'], record['mask_ap']) == (39.9, 61.2, 36.9)
    assert 'box_ap75' not in record and record['dataset'] is None
    assert read_records(write(tmp_path, records=[record]))['records'] == [record]


@pytest.mark.parametrize(
    'metrics, message',
    [
        ({**METRICS, 'coco/bbox_mAP': -1.0}, r'coco/bbox_mAP should be a number from 0 to 1, but is -1\.0'),
        ({**METRICS, 'coco/bbox_mAP': 39.9}, 'from 0 to 1, but is 39.9'),
        ({'coco/bbox_mAP': 0.4}, 'coco/segm_mAP should be a number from 0 to 1, but is None'),
        ([METRICS], 'should hold an object of metrics, but holds list'),
    ],
)
def test_impossible_ap(tmp_path, metrics, message):
    with pytest.raises(UserError, match=message):
        ap_record(find_row('fasternet_s'), write_json(tmp_path / 'metrics.json', metrics))


def test_no_metrics(tmp_path):
    with pytest.raises(UserError, match='no metrics in'):
        newest_metrics(tmp_path)

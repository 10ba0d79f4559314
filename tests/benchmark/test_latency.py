"""Latencies: the work that is timed, the folded path, saving and going on, flags and wrong use."""

import json
from dataclasses import replace

import pytest
import torch
from helpers.project import ROOT, run_tool
from mmengine.config import Config
from torch import nn

from mmfasternet.benchmark.measure import backends, latency
from mmfasternet.benchmark.measure import paths as deploy_path
from mmfasternet.benchmark.measure.detector import fixed_boxes, padded_shape
from mmfasternet.benchmark.measure.latency import Protocol, measure_latencies
from mmfasternet.benchmark.measure.paths import fold, randomize_norms
from mmfasternet.benchmark.measure.scopes import detector_forward, end2end_forward
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.benchmark.records.records import read_records
from mmfasternet.deploy.backbone import InferenceFasterNet
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

T0 = find_row('fasternet_t0')
TINY = dict(shape=(64, 96), scopes=('backbone',), rounds=1, warmup=1, runs=2)


@pytest.fixture(scope='module')
def detector() -> nn.Module:
    torch.manual_seed(0)
    model = build_model(T0.config_path)[1]
    randomize_norms(model)
    return model


def test_fixed_boxes_reach_every_level_and_stay_inside(detector):
    boxes = fixed_boxes(1000, 800, 1280)
    assert torch.equal(boxes, fixed_boxes(1000, 800, 1280))
    assert boxes.min() >= 0 and (boxes[:, 0::2] <= 1280).all() and (boxes[:, 1::2] <= 800).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    rois = torch.cat([torch.zeros(1000, 1), boxes], dim=1)
    levels = detector.roi_head.bbox_roi_extractor.map_roi_levels(rois, 4)
    assert torch.bincount(levels, minlength=4).min() > 50


def test_detector_scope_does_the_same_work_whatever_the_weights(detector):
    forward = detector_forward(detector, (128, 160), batch=2, device='cpu')
    with torch.inference_mode():
        rpn, boxes, masks = forward(torch.rand(2, 3, 128, 160))
    assert [tuple(scores.shape) for scores in rpn[0]] == [(2, 3, 128 // s, 160 // s) for s in (4, 8, 16, 32)] + [
        (2, 3, 2, 3)
    ]
    assert boxes['cls_score'].shape == (2000, 81) and masks['mask_preds'].shape == (200, 80, 28, 28)


def test_end2end_forces_a_hundred_detections_and_pastes_their_masks(detector):
    forward = end2end_forward(detector, (120, 150), batch=2, force=True)
    with torch.inference_mode():
        results = forward(torch.rand(2, 3, 128, 160))
    for result in results:
        assert result.pred_instances.masks.shape == (100, 120, 150)
        assert result.pred_instances.scores.min() > 0.9
    assert not detector.roi_head.bbox_head._forward_hooks
    with torch.inference_mode():
        (unforced,) = end2end_forward(detector, (120, 150), batch=1, force=False)(torch.rand(1, 3, 128, 160))
    assert len(unforced.pred_instances) < 100


def test_end2end_says_when_it_can_not_force(detector, monkeypatch):
    monkeypatch.setitem(detector.roi_head.test_cfg, 'max_per_img', 30)
    with pytest.raises(UserError, match=r'should give 100 detections a picture, but gives \[30\]'), torch.no_grad():
        end2end_forward(detector, (128, 160), batch=1, force=True)(torch.rand(1, 3, 128, 160))


@pytest.mark.parametrize('name', ['fasternet_t0', 'resnet50', 'repvit_m1_1', 'poolformer_s24'])
def test_folded_detectors_compute_the_same(name):
    model = build_model(find_row(name).config_path)[1]
    randomize_norms(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded, count, difference = fold(model, name)
    assert difference < 1e-4
    # 1 in the embedding, 3 in the mergings and one a block; the four output norms have no convolution before them.
    assert count == dict(fasternet_t0=17, resnet50=53, poolformer_s24=0).get(name, count)
    if name == 'repvit_m1_1':
        assert count > 50 and not any(isinstance(m, nn.BatchNorm2d) for m in folded.backbone.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_optimized_is_for_fasternet(detector):
    optimized, count, difference = fold(detector, 'FasterNet-T0', 'optimized')
    # The output norms go into the FPN's lateral convolutions.
    assert count == 21 and difference < 1e-4 and isinstance(optimized.backbone, InferenceFasterNet)
    other = build_model(find_row('resnet50').config_path)[1]
    with pytest.raises(UserError, match='is the inference form of FasterNet, which ResNet50 is not; take deploy'):
        fold(other, 'ResNet50', 'optimized')


def test_a_wrong_fold_has_no_latency(detector, monkeypatch, tmp_path):
    def break_a_bias(model: nn.Module) -> nn.Module:
        model.neck.lateral_convs[0].conv.bias.data += 1
        return model

    monkeypatch.setattr(deploy_path, 'fuse_conv_bn', break_a_bias)
    with pytest.raises(UserError, match='FasterNet-T0 folded computes something else'):
        measure_latencies([T0], Protocol(**TINY, path='deploy'), tmp_path / 'r.json')
    assert read_records(tmp_path / 'r.json')['records'] == []


def test_record_of_a_latency(tmp_path):
    out = tmp_path / 'records.json'
    protocol = Protocol(shape=(60, 90), scopes=('backbone', 'detector'), path='deploy', rounds=2, warmup=1, runs=2)
    measure_latencies([T0], protocol, out)
    backbone, whole = read_records(out)['records']
    times = [time for turn in backbone['rounds'] for time in turn['times_ms']]
    assert len(times) == 4 and min(times) > 0
    assert backbone['median_ms'] == pytest.approx(sum(sorted(times)[1:3]) / 2, abs=2e-3)
    assert min(times) <= backbone['quartiles_ms'][0] <= backbone['median_ms'] <= backbone['p90_ms'] <= max(times)
    assert backbone['throughput'] == pytest.approx(1000 / backbone['median_ms'], rel=1e-3)
    assert backbone['padded'] == [64, 96] and backbone['folded'] == 17 and backbone['max_difference'] < 1e-4
    assert whole['scope'] == 'detector' and whole['median_ms'] > backbone['median_ms']
    assert backbone['command'] and backbone['date'].endswith('+00:00')
    # Each field is explained.
    guide = (ROOT / 'docs/records.md').read_text()
    assert all(f'`{key}`' in guide for key in [*backbone, *backbone['rounds'][0]])


def test_stopped_and_gone_on(tmp_path, monkeypatch):
    """What was measured is kept to the digit, and models take turns."""
    out, order = tmp_path / 'records.json', []
    rows = [T0, find_row('fasternet_t1')]
    protocol = Protocol(**{**TINY, 'rounds': 2, 'runs': 1})
    real = latency.time_runs

    def stop_at_the_third(forward, picture, protocol, name):
        if len(order) == 2:
            raise KeyboardInterrupt
        order.append(name)
        return real(forward, picture, protocol, name)

    monkeypatch.setattr(latency, 'time_runs', stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        measure_latencies(rows, protocol, out)
    first = [record['rounds'][0] for record in read_records(out)['records']]
    assert len(first) == 2

    def note(*args):
        order.append(args[-1])
        return real(*args)

    monkeypatch.setattr(latency, 'time_runs', note)
    records = measure_latencies(rows, protocol, out)['records']
    assert [record['rounds'][0] for record in records] == first
    assert [len(record['rounds']) for record in records] == [2, 2]
    assert order == ['FasterNet-T0', 'FasterNet-T1', 'FasterNet-T1', 'FasterNet-T0']
    measure_latencies(rows, protocol, out)
    assert len(order) == 4


def test_other_settings_are_other_records(tmp_path):
    out = tmp_path / 'records.json'
    for changes in (dict(), dict(batch=2), dict(path='deploy'), dict(shape=(96, 96)), dict(precision='bf16')):
        measure_latencies([T0], Protocol(**{**TINY, 'runs': 1, **changes}), out)
    records = read_records(out)['records']
    assert len(records) == 5 and records[1]['throughput'] == pytest.approx(2000 / records[1]['median_ms'], rel=1e-3)


def test_flags():
    turn = dict(load_average=1.0, clock_mhz=3000.0)
    quiet = dict(device='cpu', threads=2, rounds=[turn, turn])
    assert latency.flags_of(quiet, spread=5, median=100, own_threads=2) == []
    (busy,) = latency.flags_of(quiet, spread=11, median=100, own_threads=2)
    assert '11% of the median apart' in busy
    (load,) = latency.flags_of({**quiet, 'rounds': [turn, {**turn, 'load_average': 4.0}]}, 5, 100, 2)
    assert 'load average was 2.0 above' in load
    (clock,) = latency.flags_of({**quiet, 'rounds': [turn, {**turn, 'clock_mhz': 2000.0}]}, 5, 100, 2)
    assert 'from 3000 down to 2000 MHz' in clock


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(device='cuda:7'), "device 'cuda:7' can not be used here"),
        (dict(device='gpu'), "device 'gpu' can not be used here"),
        (dict(rounds=0), 'rounds must be at least 1, but got 0'),
        (dict(threads=0), 'threads must be at least 1'),
        (dict(shape=(16, 64)), 'at least 32 × 32 pixels, but got 16 × 64'),
        (dict(backend='tvm'), "backend must be one of eager, compile, onnxruntime, openvino, but got 'tvm'"),
        (dict(backend='openvino'), 'backend openvino is measured in scope backbone, but got backbone, detector'),
        (dict(backend='openvino', path='optimized'), 'optimized is for eager PyTorch; openvino plans'),
        (dict(provider='CPUExecutionProvider'), 'provider is for backend onnxruntime'),
        (dict(backend='onnxruntime', provider='CUDAExecutionProvider'), "does not run on device 'cpu': give --device"),
        (dict(backend='onnxruntime', precision='bf16'), 'ONNX Runtime runs the file in its own fp32'),
        (dict(scopes=('neck',)), "scope must be one of backbone, detector, end2end, but got 'neck'"),
    ],
)
def test_wrong_protocol(wrong, message):
    with pytest.raises(UserError, match=message):
        Protocol(**wrong)


def test_a_checkpoint_and_a_picture(tmp_path, detector):
    checkpoint, picture = tmp_path / 'epoch_1.pth', tmp_path / 'picture.png'
    torch.save(dict(state_dict=detector.state_dict()), checkpoint)
    skimage = pytest.importorskip('skimage')
    skimage.io.imsave(picture, skimage.data.astronaut())
    settings = {**TINY, 'scopes': ('end2end',), 'runs': 1}
    protocol = Protocol(**settings, checkpoint=checkpoint, image=picture)
    # Forced detections on noise are another measurement.
    measure_latencies([T0], Protocol(**settings), tmp_path / 'r.json')
    forced, record = measure_latencies([T0], protocol, tmp_path / 'r.json')['records']
    assert forced['detections'] == 100 and len(forced['rounds']) == len(record['rounds']) == 1
    assert record['detections'] < 100 and record['checkpoint'] == str(checkpoint) and record['input'] == str(picture)
    with pytest.raises(UserError, match='a checkpoint fits one config, but 2 were given'):
        measure_latencies([T0, T0], protocol, tmp_path / 'r.json')
    with pytest.raises(UserError, match='does not fit this MaskRCNN'):
        measure_latencies([find_row('fasternet_t1')], protocol, tmp_path / 'r.json')
    with pytest.raises(UserError, match='can not be read as a picture'):
        measure_latencies([T0], replace(protocol, image=tmp_path / 'none.png'), tmp_path / 's.json')


def test_another_machines_file_is_not_added_to(tmp_path):
    out = tmp_path / 'records.json'
    measure_latencies([T0], Protocol(**TINY), out)
    document = json.loads(out.read_text())
    document['machine'].update(id='00000000', label='a faster one')
    out.write_text(json.dumps(document))
    before = out.read_text()
    with pytest.raises(UserError, match=r'taken on another machine .*a faster one'):
        measure_latencies([T0], Protocol(**TINY), out)
    assert out.read_text() == before


@pytest.mark.parametrize('name', ['retinanet_fasternet_s', 'cascade_mask_rcnn_fasternet_m'])
def test_what_has_no_fixed_proposals(name, tmp_path):
    row = find_row(str(ROOT / f'configs/detection/{name}.py'))
    with pytest.raises(UserError, match='has no two-stage detector: .* but it builds a (RetinaNet|CascadeRCNN)'):
        measure_latencies([row], Protocol(**{**TINY, 'scopes': ('detector',)}), tmp_path / 'records.json')


def test_padded_shape():
    cfg = Config(dict(model=dict(data_preprocessor=dict(pad_size_divisor=32))))
    assert padded_shape(cfg, 800, 1333) == (800, 1344)
    assert padded_shape(Config(dict(model=dict())), 801, 1333) == (801, 1333)


@pytest.mark.skipif(torch.__version__ < (2, 6), reason='the export is promised on the default package set alone')
@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_runtime(backend, tmp_path):
    out = tmp_path / 'records.json'
    measure_latencies([T0], Protocol(**TINY), out)
    eager, record = measure_latencies([T0], Protocol(**TINY, backend=backend), out)['records']
    assert (eager['backend'], record['backend'], record['provider']) == ('eager', backend, None)
    assert 0 < record['max_difference'] < 1e-4


def test_records_from_before_there_were_backends_are_gone_on_with(tmp_path):
    out = tmp_path / 'records.json'
    document = measure_latencies([T0], Protocol(**TINY), out)
    for key in ('backend', 'provider'):
        del document['records'][0][key]
    out.write_text(json.dumps(document))
    (record,) = measure_latencies([T0], replace(Protocol(**TINY), rounds=2), out)['records']
    assert len(record['rounds']) == 2


@pytest.mark.skipif(torch.__version__ < (2, 6), reason='the export is promised on the default package set alone')
def test_what_is_another_function_has_no_latency(detector, monkeypatch):
    image = torch.rand(1, 3, 64, 64)
    other = backends.exported(build_model(T0.config_path)[1].backbone)
    monkeypatch.setattr(backends, 'exported', lambda backbone: other)
    with pytest.raises(UserError, match='onnxruntime gives maps that differ from PyTorch by .*: it has no latency'):
        backends.backend_forward(detector.backbone, image, 'onnxruntime', threads=1)
    with pytest.raises(UserError, match='this ONNX Runtime has no CUDAExecutionProvider, but .*onnxruntime-gpu'):
        backends.backend_forward(detector.backbone, image, 'onnxruntime', 1, provider='CUDAExecutionProvider')


def test_tool(mistake_of, tmp_path):
    out = tmp_path / 'records.json'
    command = [ROOT / 'tools/benchmark/latency.py', 'fasternet_t0', '--shape', 64, 96, '--scope', 'backbone']
    command += ['--rounds', 1, '--warmup', 1, '--runs', 1, '--threads', 1, '--out']
    done = run_tool(*command, out)
    assert done.returncode == 0, done.stderr
    assert 'FasterNet-T0' in done.stdout and read_records(out)['records'][0]['threads'] == 1
    for wrong, message in (
        ([*command, '/dev/null/records.json'], 'error: can not write /dev/null/records.json'),
        ([command[0], 'nothing'], "error: 'nothing' is neither a config file nor a row"),
    ):
        assert message in mistake_of(*wrong)
    out.write_text(out.read_text()[: out.stat().st_size // 2])
    assert 'is not JSON, or was cut off' in mistake_of(*command, out)

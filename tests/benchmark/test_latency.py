"""Latencies: the work that is timed, the paths, interruption and resuming, flags and wrong use."""

from dataclasses import replace

import pytest
import torch
from helpers.project import ROOT, succeed
from mmengine.config import Config
from torch import nn

from mmfasternet.benchmark.measure import backends, latency, turns
from mmfasternet.benchmark.measure.detector import fixed_boxes, padded_shape
from mmfasternet.benchmark.measure.enough import Enough
from mmfasternet.benchmark.measure.latency import Protocol, measure_latencies
from mmfasternet.benchmark.measure.paths import randomize_norms, take_path
from mmfasternet.benchmark.measure.precision import LackingError, onnxruntime_precision
from mmfasternet.benchmark.measure.scopes import detector_forward, end2end_forward
from mmfasternet.benchmark.measure.turns import Clock, Contender, take_turn
from mmfasternet.benchmark.published.rows import Row, find_row
from mmfasternet.benchmark.records import Records
from mmfasternet.deploy import fold
from mmfasternet.deploy.backbone import OptimizedFasterNet
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError
from mmfasternet.files import write_json
from mmfasternet.models import FasterNet

T0 = find_row('fasternet_t0')
TINY = dict(shape=(64, 96), scopes=('backbone',), rounds=1)


@pytest.fixture
def records(tmp_path) -> Records:
    return Records.open(tmp_path / 'records.json')


@pytest.fixture(scope='module')
def row(slim) -> Row:
    return find_row(str(slim))


@pytest.fixture(scope='module')
def detector(slim) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(slim)[1]
    randomize_norms(model)
    # As trained ones are: mostly background, so that a hundred detections have to be forced.
    model.roi_head.bbox_head.fc_cls.bias.data[-1] += 5
    return model


def build_backbone() -> nn.Module:
    torch.manual_seed(0)
    backbone = FasterNet('t0').eval().requires_grad_(False)
    randomize_norms(backbone)
    return backbone


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
    assert boxes['cls_score'].shape == (2000, 7) and masks['mask_preds'].shape == (200, 6, 28, 28)


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
    with pytest.raises(UserError, match=r'should give 100 detections an image, but gives \[30\]'), torch.no_grad():
        end2end_forward(detector, (128, 160), batch=1, force=True)(torch.rand(1, 3, 128, 160))


@pytest.mark.parametrize('name', ['fasternet_t0', 'resnet50', 'repvit_m1_1', 'poolformer_s24'])
def test_folded_detectors_compute_the_same(name):
    model = build_model(find_row(name).config_path)[1]
    randomize_norms(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded, count, difference = take_path(model, name, 'folded')
    assert difference < 1e-4
    # 1 in the embedding, 3 in the mergings and one a block; the four output norms have no convolution before them.
    assert count == dict(fasternet_t0=17, resnet50=53, poolformer_s24=0).get(name, count)
    if name == 'repvit_m1_1':
        assert count > 50 and not any(isinstance(m, nn.BatchNorm2d) for m in folded.backbone.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_optimized_is_for_fasternet(detector):
    optimized, count, difference = take_path(detector, 'slim', 'optimized')
    # 1 in the embedding, 3 in the mergings and 5 blocks; the 4 output norms go into the FPN's lateral convolutions.
    assert count == 13 and difference < 1e-4 and isinstance(optimized.backbone, OptimizedFasterNet)
    other = build_model(find_row('resnet50').config_path)[1]
    with pytest.raises(UserError, match='ResNet50 is not'):
        take_path(other, 'ResNet50', 'optimized')


def test_reference_is_the_model_itself(detector):
    assert take_path(detector, 'slim', 'reference') == (detector, 0, None)


def test_a_wrong_fold_has_no_latency(row, monkeypatch, records):
    def break_a_bias(model: nn.Module) -> nn.Module:
        model.neck.lateral_convs[0].conv.bias.data += 1
        return model

    monkeypatch.setattr(fold, 'fuse_conv_bn', break_a_bias)
    with pytest.raises(UserError, match='slim folded'):
        measure_latencies([row], Protocol(**TINY, path='folded'), records)
    assert records.records == []


def test_rows_are_compared_with_a_reference(row, records):
    enough = Enough(runs=4, seconds=0.1, budget_s=0)
    measure_latencies([row, T0], Protocol(**{**TINY, 'rounds': 2}, enough=enough), records)
    first, second = records.records
    assert first['reference'] == second['reference'] == 'slim'
    assert first['ratio'] == 1 and first['ratio_interval'] == [1, 1]
    assert second['ratio'] == pytest.approx(second['median_ms'] / first['median_ms'], rel=1e-3)
    before = list(records.records)
    measure_latencies([row, T0], Protocol(**{**TINY, 'rounds': 2}, enough=enough), records)
    assert records.records == before


def test_a_flagged_latency_is_taken_again(row, records, monkeypatch):
    loads = iter([9.0, 0.0])
    monkeypatch.setattr('os.getloadavg', lambda: (next(loads, 0.0), 0, 0))
    # Quartiles of so few runs may lie apart.
    monkeypatch.setattr(turns, 'MAX_SPREAD', 1e9)
    measure_latencies([row], Protocol(**TINY, enough=Enough(runs=2, seconds=0.1, budget_s=1e9)), records)
    (record,) = records.records
    assert record['retakes'] == 1 and record['flags'] == [] and len(record['rounds']) == 1


def test_record_of_a_latency(row, records):
    protocol = Protocol(shape=(60, 90), scopes=('backbone', 'detector'), path='folded', rounds=2)
    measure_latencies([row], protocol, records)
    backbone, detector = Records.read(records.path).records
    times = [time for turn in backbone['rounds'] for time in turn['times_ms']]
    assert len(backbone['rounds']) == 2 and len(times) >= 4 and min(times) > 0
    assert min(times) <= backbone['quartiles_ms'][0] <= backbone['median_ms'] <= backbone['p90_ms'] <= max(times)
    assert backbone['throughput'] == pytest.approx(1000 / backbone['median_ms'], rel=1e-3)
    assert backbone['padded'] == [64, 96] and backbone['folded'] == 9 and backbone['max_difference'] < 1e-4
    assert (backbone['row'], backbone['path'], detector['scope']) == ('slim', 'folded', 'detector')
    assert backbone['command'] and backbone['date'].endswith('+00:00')
    # Each field is explained.
    page = (ROOT / 'docs/records.md').read_text()
    assert all(f'`{key}`' in page for key in [*backbone, *backbone['rounds'][0]])


def test_interrupted_and_resumed(records, monkeypatch):
    """What was measured is kept to the digit, and models take turns."""
    order, rows = [], [T0, find_row('fasternet_t1')]
    protocol = replace(Protocol(**TINY), rounds=2)
    real = latency.take_turn

    def stop_at_the_third(contender, clock):
        if len(order) == 2:
            raise KeyboardInterrupt
        order.append(contender.label)
        return real(contender, clock)

    monkeypatch.setattr(latency, 'take_turn', stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        measure_latencies(rows, protocol, records)
    resumed = Records.read(records.path)
    first = [record['rounds'][0] for record in resumed.records]
    assert len(first) == 2

    def note(contender, clock):
        order.append(contender.label)
        return real(contender, clock)

    monkeypatch.setattr(latency, 'take_turn', note)
    measure_latencies(rows, protocol, resumed)
    assert [record['rounds'][0] for record in resumed.records] == first
    assert [len(record['rounds']) for record in resumed.records] == [2, 2]
    assert order == ['FasterNet-T0', 'FasterNet-T1', 'FasterNet-T1', 'FasterNet-T0']
    measure_latencies(rows, protocol, resumed)
    assert len(order) == 4


def test_other_settings_are_other_records(row, records):
    for changes in (dict(), dict(batch=2), dict(path='folded'), dict(shape=(96, 96)), dict(threads=1)):
        measure_latencies([row], Protocol(**{**TINY, 'threads': 2, **changes}), records)
    assert [record['threads'] for record in records.records] == [2, 2, 2, 2, 1]
    batch = records.find('latency', 'slim', batch=2)
    assert batch['throughput'] == pytest.approx(2000 / batch['median_ms'], rel=1e-3)


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(device='cuda:7'), "device 'cuda:7' cannot be used here"),
        (dict(device='gpu'), "device 'gpu' cannot be used here"),
        (dict(rounds=0), 'rounds must be at least 1, but got 0'),
        (dict(threads=0), 'threads must be at least 1'),
        (dict(shape=(16, 64)), 'at least 32 × 32 pixels, but got 16 × 64'),
        (dict(backend='tvm'), "eager, graph, compile, onnxruntime, openvino, but got 'tvm'"),
        (dict(backend='openvino'), 'scope backbone, but got backbone, detector'),
        (dict(backend='openvino', path='optimized'), 'optimized is for PyTorch, eager or as a CUDA graph'),
        (dict(provider='CPUExecutionProvider'), 'provider is for backend onnxruntime'),
        (dict(backend='onnxruntime', provider='CUDAExecutionProvider'), "does not run on device 'cpu': give --device"),
        (
            dict(backend='onnxruntime', precision='bf16'),
            'CPUExecutionProvider runs a float32 file in fp32; bf16 is for',
        ),
        (dict(backend='graph'), "CUDA graphs, which need a GPU, but device is 'cpu': use eager"),
        (dict(precision='bf16', weights='cast'), 'weights cast is measured in scope backbone, but got backbone, det'),
        (dict(weights='cast'), 'weights say how fp16 or bf16 comes about in PyTorch, but this is fp32 in eager'),
        (dict(precision='fp16', weights='int8'), "weights must be one of autocast, cast, but got 'int8'"),
        (dict(memory_format='nhwc'), "memory_format must be one of contiguous, channels_last, but got 'nhwc'"),
        (dict(compile_mode='default'), "compile_mode is for backend compile and one of .* 'default' for eager"),
        (dict(scopes=('neck',)), "scope must be one of backbone, detector, end2end, but got 'neck'"),
    ],
)
def test_wrong_protocol(wrong, message):
    with pytest.raises(UserError, match=message):
        Protocol(**wrong)


def test_a_checkpoint_and_an_image(tmp_path, row, detector, records):
    checkpoint, image = tmp_path / 'epoch_1.pth', tmp_path / 'image.png'
    torch.save(dict(state_dict=detector.state_dict()), checkpoint)
    skimage = pytest.importorskip('skimage')
    skimage.io.imsave(image, skimage.data.astronaut())
    settings = {**TINY, 'scopes': ('end2end',)}
    protocol = Protocol(**settings, checkpoint=checkpoint, image=image)
    # Forced detections on noise are another measurement.
    measure_latencies([row], Protocol(**settings), records)
    measure_latencies([row], protocol, records)
    forced, record = records.records
    assert forced['detections'] == 100 and len(forced['rounds']) == len(record['rounds']) == 1
    assert record['detections'] < 100 and record['checkpoint'] == str(checkpoint) and record['input'] == str(image)
    with pytest.raises(UserError, match='one config, but 2 were given'):
        measure_latencies([row, row], protocol, records)
    with pytest.raises(UserError, match='does not fit this MaskRCNN'):
        measure_latencies([find_row('fasternet_t1')], protocol, records)
    with pytest.raises(UserError, match='none.png cannot be read'):
        measure_latencies([row], replace(protocol, image=tmp_path / 'none.png'), records)


@pytest.mark.parametrize('name', ['retinanet_fasternet_s', 'cascade_mask_rcnn_fasternet_m'])
def test_what_has_no_fixed_proposals(name, records):
    row = find_row(str(ROOT / f'configs/detection/{name}.py'))
    with pytest.raises(UserError, match='has no two-stage detector: .* but it builds a (RetinaNet|CascadeRCNN)'):
        measure_latencies([row], Protocol(**{**TINY, 'scopes': ('detector',)}), records)


def test_padded_shape():
    cfg = Config(dict(model=dict(data_preprocessor=dict(pad_size_divisor=32))))
    assert padded_shape(cfg, 800, 1333) == (800, 1344)
    assert padded_shape(Config(dict(model=dict())), 801, 1333) == (801, 1333)


with_export = pytest.mark.skipif(
    torch.__version__ < (2, 6), reason='the export is promised on the default package set alone'
)


@pytest.fixture(scope='module')
def exported_once(row) -> bytes:
    """The file of the backbone that is built right after the random numbers are set to 0."""
    torch.manual_seed(0)
    _, model = build_model(row.config_path)
    randomize_norms(model)
    return backends.exported(model.backbone)


@with_export
@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_runtime(backend, row, records, exported_once, monkeypatch):
    monkeypatch.setattr(backends, 'exported', lambda backbone: exported_once)
    measure_latencies([row], Protocol(**TINY), records)
    torch.manual_seed(0)
    measure_latencies([row], Protocol(**TINY, backend=backend), records)
    eager, record = records.records
    assert (eager['backend'], record['backend'], record['provider']) == ('eager', backend, None)
    assert 0 < record['max_difference'] < 1e-4


@with_export
def test_what_is_another_function_has_no_latency(slim, exported_once, monkeypatch):
    image = torch.rand(1, 3, 64, 64)
    backbone = build_model(slim)[1].backbone
    monkeypatch.setattr(backends, 'exported', lambda backbone: exported_once)
    with pytest.raises(UserError, match='onnxruntime .*differ from PyTorch'):
        backends.backend_forward(backbone, image, 'onnxruntime', threads=1)
    with pytest.raises(UserError, match='this ONNX Runtime has no CUDAExecutionProvider, but .*onnxruntime-gpu'):
        backends.backend_forward(backbone, image, 'onnxruntime', 1, provider='CUDAExecutionProvider')


@pytest.mark.skipif(torch.__version__ < (2, 6), reason='the export is promised on the default package set alone')
def test_a_runtime_is_asked_what_it_computed_in(monkeypatch):
    """OpenVINO takes bf16 and fp16 on any CPU, and computes in another precision where the CPU lacks them."""
    model, image = build_backbone(), torch.rand(1, 3, 64, 64)
    assert backends.backend_forward(model, image, 'openvino', 1).computed_in == 'fp32'
    assert backends.backend_forward(model, image, 'onnxruntime', 1).computed_in == 'fp32'
    monkeypatch.setitem(backends._HINTS, 'fp16', 'f32')
    with pytest.raises(LackingError, match='openvino computes in fp32 here when fp16 is asked for'):
        backends.backend_forward(model, image, 'openvino', 1, precision='fp16')


@pytest.mark.skipif(torch.__version__ < (2, 6), reason='the export is promised on the default package set alone')
@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_a_precision_of_openvino_is_that_of_its_record_or_lacking(precision, records):
    """Whatever the CPU: a latency is recorded only if the convolutions were in this precision, which shows."""
    protocol = Protocol(**TINY, backend='openvino', precision=precision)
    try:
        measure_latencies([T0], protocol, records)
    except LackingError as error:
        assert 'openvino' in str(error) and precision in str(error) and records.records == []
    else:
        (record,) = records.records
        assert record['computed_in'] == precision and 1e-4 < record['max_difference'] < 0.1


@pytest.mark.skipif(torch.__version__ < (2, 6), reason='the export is promised on the default package set alone')
def test_a_provider_that_leaves_the_work_to_the_cpu_has_no_latency():
    """AzureExecutionProvider takes any network, runs nothing of it, and says nothing."""
    if 'AzureExecutionProvider' not in pytest.importorskip('onnxruntime').get_available_providers():
        pytest.skip('this ONNX Runtime has no provider that could do so without a GPU')
    with pytest.raises(UserError, match='AzureExecutionProvider does not run Add, .*Conv, .* on the CPU in its place'):
        backends.backend_forward(build_backbone(), torch.rand(1, 3, 64, 64), 'onnxruntime', 1, 'AzureExecutionProvider')


def test_shapes_belong_on_the_cpu(tmp_path):
    def node(name: str, provider: str, kind: str) -> dict:
        return dict(cat='Node', args=dict(op_name=name, provider=provider, output_type_shape=[{kind: [4]}]))

    convolution = node('Conv', 'CUDAExecutionProvider', 'float')
    nodes = [convolution, node('Shape', 'CPUExecutionProvider', 'int64'), dict(cat='Session', args=dict())]
    profile = write_json(tmp_path / 'profile.json', nodes)
    assert onnxruntime_precision(profile, 'CUDAExecutionProvider') == 'fp32'
    engine = node('TRTKernel_graph', 'TensorrtExecutionProvider', 'float')
    assert onnxruntime_precision(write_json(profile, [engine]), 'TensorrtExecutionProvider') is None
    quantized = [node('QLinearConv', 'CPUExecutionProvider', 'uint8')] * 2
    write_json(profile, [*quantized, node('Conv', 'CPUExecutionProvider', 'float')])
    assert onnxruntime_precision(profile, 'CPUExecutionProvider') == 'int8'


@pytest.mark.parametrize('name', ['bf16', 'fp16'])
def test_autocast_on_a_cpu_is_measured_where_the_cpu_has_it(name, records, monkeypatch):
    protocol = Protocol(**TINY, precision=name)
    try:
        measure_latencies([T0], protocol, records)
    except LackingError as error:
        assert name in str(error) and records.records == []
    else:
        (record,) = records.records
        assert record['computed_in'] == name and 1e-4 < record['max_difference'] < 0.1
    monkeypatch.setattr(torch.ops.mkldnn, f'_is_mkldnn_{name}_supported', lambda: False, raising=False)
    with pytest.raises(LackingError, match=f'{name}.* (only emulate|does not exist)'):
        measure_latencies([T0], replace(protocol, batch=2), records)


def test_fp32_is_not_tf32():
    """In a turn of the clock, and afterwards as before; TF32 is torch's default for convolutions on a GPU."""

    def flags() -> tuple:
        return (
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            torch.get_float32_matmul_precision(),
        )

    seen, before = [], flags()
    try:
        torch.set_float32_matmul_precision('high')
        chosen = flags()
        take_turn(Contender('flags', lambda: seen.append(flags())), Clock(warmup_s=0, turn_s=0))
        assert set(seen) == {(False, False, 'highest')} and flags() == chosen == (True, True, 'high')
    finally:
        torch.set_float32_matmul_precision(before[-1])


def test_a_compiler_that_is_missing_is_one_message(monkeypatch):
    monkeypatch.setattr('torch._inductor.config.cpp.cxx', ('no-such-compiler',))
    with pytest.raises(LackingError, match=r'torch.compile needs a C\+\+ compiler on the CPU'):
        backends.backend_forward(build_backbone(), torch.rand(1, 3, 64, 64), 'compile', 1)


def test_tool(mistake_of, tmp_path):
    out = tmp_path / 'records.json'
    command = [ROOT / 'tools/benchmark/latency.py', 'fasternet_t0', '--shape', 64, 96, '--scope', 'backbone']
    command += ['--rounds', 1, '--threads', 1, '--out']
    done = succeed(*command, out)
    assert 'FasterNet-T0' in done.stdout and Records.read(out).records[0]['threads'] == 1
    for wrong, message in (
        ([*command, '/dev/null/records.json'], 'error: cannot write /dev/null/'),
        ([command[0], 'nothing'], "error: 'nothing' is no row"),
    ):
        assert message in mistake_of(*wrong)
    out.write_text(out.read_text()[: out.stat().st_size // 2])
    assert 'is not JSON, or was cut off' in mistake_of(*command, out)

"""Where mmcv has no compiled operators, torchvision's compute the same, and the others say what is missing."""

import sys

import numpy as np
import pytest
import torch
from helpers.mmcv_ops import CASES, boxes, random, read_golden
from helpers.project import ROOT, run_tool
from torch.nn import functional as F

from mmfasternet.engine.ops import provide_ops
from mmfasternet.engine.torchvision_ops import TorchvisionOps
from mmfasternet.errors import UserError

pytest.importorskip('mmdet')
DEMO_CONFIG = ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'
STAND_IN = TorchvisionOps('mmcv._ext')


@pytest.fixture(autouse=True)
def replaced(monkeypatch):
    """mmcv.ops calls the stand-in, whether it has compiled operators or not."""
    import mmcv.ops  # noqa: F401

    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
            monkeypatch.setattr(module, 'ext_module', STAND_IN)


@pytest.mark.parametrize('case', CASES)
def test_equals_the_compiled_operator(case):
    golden = read_golden(case)
    found = {name: value.detach().numpy() for name, value in CASES[case]().items()}
    assert found.keys() == golden.keys()
    for name, expected in golden.items():
        assert found[name].shape == expected.shape and found[name].dtype == expected.dtype
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    """The result is that of float32 on the same inputs, rounded."""
    from mmcv.ops import roi_align

    maps, weights = random(1, 3, 16, 24).to(dtype), random(5, 3, 4, 4, seed=1).to(dtype)
    rois = F.pad(boxes(5), (1, 0)).to(dtype)
    results = {}
    for kind in (dtype, torch.float32):
        inputs = maps.to(kind, copy=True).requires_grad_()
        pooled = roi_align(inputs, rois.to(kind), (4, 4), 0.25, 0, 'avg', True)
        pooled.backward(weights.to(kind))
        results[kind] = pooled, inputs.grad
    for found, exact in zip(results[dtype], results[torch.float32], strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found, exact.to(dtype), rtol=0, atol=0)


def test_nms_of_half_precision_keeps_what_float32_keeps():
    from mmcv.ops import nms

    corners = (boxes(40) / 4).round() * 4  # which float16 holds exactly
    scores = torch.randperm(40, generator=torch.Generator().manual_seed(0)) / 64
    kept = nms(corners, scores, 0.4)[1]
    assert 1 < len(kept) < 40
    assert torch.equal(nms(corners.half(), scores.half(), 0.4)[1], kept)


def test_roi_align_reads_channels_last():
    from mmcv.ops import roi_align

    maps, rois = random(2, 3, 16, 24), torch.cat([torch.arange(6)[:, None] % 2, boxes(6)], dim=1)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        inputs = maps.clone(memory_format=layout).requires_grad_()
        pooled = roi_align(inputs, rois, 4, 0.25, 0, 'avg', True)
        pooled.square().sum().backward()
        found.append((pooled, inputs.grad))
    assert maps.contiguous(memory_format=torch.channels_last).stride() != maps.stride()
    torch.testing.assert_close(*found)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_focal_loss_equals_mmdets_own(dtype):
    """mmdet computes it by PyTorch on a CPU, and by mmcv's operator on a GPU."""
    from mmcv.ops import sigmoid_focal_loss
    from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

    logits = (4 * random(12, 5)).to(dtype)
    target = torch.arange(12) % 6  # 5 is the background
    ours = logits.clone().requires_grad_()
    loss = sigmoid_focal_loss(ours, target, 1.5, 0.3, None, 'none')
    # mmcv's gradient is multiplied by that of the sum, one for all.
    loss.sum().backward()
    theirs = logits.float().requires_grad_()
    expected = py_sigmoid_focal_loss(theirs, F.one_hot(target, 6)[:, :5], gamma=1.5, alpha=0.3, reduction='none')
    expected.sum().backward()
    assert loss.dtype == ours.grad.dtype == dtype
    tolerance = dict(rtol=1e-5, atol=1e-6) if dtype == torch.float32 else dict(rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(loss.float(), expected, **tolerance)
    torch.testing.assert_close(ours.grad.float(), theirs.grad, **tolerance)


def test_deformable_attention_equals_mmcvs_pytorch_form():
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch

    shapes = torch.tensor([[4, 6], [2, 3]])
    value = random(2, 30, 2, 4)
    locations, weights = random(2, 5, 2, 2, 3, 2, seed=1).sigmoid(), random(2, 5, 2, 2, 3, seed=2).softmax(-1)
    results = []
    for ours in (True, False):
        inputs = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
        if ours:
            out = MultiScaleDeformableAttnFunction.apply(inputs[0], shapes, torch.tensor([0, 24]), *inputs[1:], 64)
        else:
            out = multi_scale_deformable_attn_pytorch(inputs[0], shapes, *inputs[1:])
        out.backward(random(2, 5, 8, seed=3))
        results.append([out, *(tensor.grad for tensor in inputs)])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    'call, name',
    [
        (lambda ops: ops.soft_nms(boxes(3), torch.rand(3)), 'softnms'),
        (lambda ops: ops.roi_pool(random(1, 3, 8, 8), torch.tensor([[0.0, 0, 0, 4, 4]]), 2), 'roi_pool_forward'),
        (lambda ops: ops.roi_align(random(1, 3, 8, 8), torch.rand(1, 5), 2, 1.0, 0, 'max'), "pool_mode='max'"),
        (lambda ops: ops.sigmoid_focal_loss(random(2, 3), torch.zeros(2).long(), 2, 0.2, torch.ones(3)), 'weights'),
    ],
)
def test_what_torchvision_lacks_is_refused_by_name(call, name):
    import mmcv.ops

    with pytest.raises(UserError, match=name) as refused:
        call(mmcv.ops)
    assert 'make ops' in str(refused.value)


def test_compiled_operators_are_left_as_they_are(monkeypatch):
    compiled = object()
    monkeypatch.setitem(sys.modules, 'mmcv._ext', compiled)
    provide_ops()
    assert sys.modules['mmcv._ext'] is compiled


def test_torchvision_of_another_torch_is_one_message(monkeypatch):
    # What an import of either raises in such an environment.
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    monkeypatch.delitem(sys.modules, 'mmfasternet.engine.torchvision_ops')
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    with pytest.raises(UserError, match=rf'torchvision that fits torch {torch.__version__}'.replace('+', r'\+')):
        provide_ops()


def test_process_without_compiled_operators_detects(tmp_path):
    """mmdet is imported, and a detector built and run, where mmcv has no ``_ext`` as in mmcv-lite."""
    (tmp_path / 'sitecustomize.py').write_text("import sys\nsys.modules['mmcv._ext'] = None\n")
    script = tmp_path / 'detect.py'
    script.write_text(
        'import torch\nfrom mmfasternet.engine.build import build_model\n'
        f'_, model = build_model({str(DEMO_CONFIG)!r})\n'
        'from mmdet.structures import DetDataSample\n'
        'sample = DetDataSample(metainfo=dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0)))\n'
        'model.test_cfg.rcnn.score_thr = 0.0\n'
        'inputs = dict(inputs=[torch.zeros(3, 64, 96, dtype=torch.uint8)], data_samples=[sample])\n'
        'with torch.no_grad():\n'
        '    found = model.test_step(inputs)[0].pred_instances\n'
        'print(len(found), tuple(found.masks.shape[1:]))\n'
    )
    done = run_tool(script, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    count, shape = done.stdout.strip().split(' ', 1)
    assert int(count) > 0 and shape == '(64, 96)'

"""The optimized model computes what the trained one does, and changes nothing that others hold."""

import copy
import pickle

import pytest
import torch
from helpers.backbones import trained
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.benchmark.measure.paths import randomize_norms
from mmfasternet.deploy import backbone, optimize_for_inference
from mmfasternet.deploy.backbone import OptimizedFasterNet
from mmfasternet.deploy.fold import fold_norm_after, fold_norm_before, is_foldable
from mmfasternet.deploy.packed import PackedConv, is_product_faster

ARCHS = ('t0', 't1', 't2', 's', 'm', 'l')


def difference(maps, others) -> float:
    """The largest, over the largest value of the map."""
    assert [tuple(a.shape) for a in maps] == [tuple(b.shape) for b in others]
    return max(float((a.float() - b.float()).abs().max() / b.abs().max()) for a, b in zip(maps, others, strict=True))


@pytest.mark.parametrize('size', [(1, 32, 32), (2, 67, 93)])
@pytest.mark.parametrize('arch', ARCHS)
@torch.no_grad()
def test_every_variant(arch, size):
    model = trained(arch=arch)
    before = copy.deepcopy(model.state_dict())
    fast = optimize_for_inference(model)
    batch, height, width = size
    image = torch.rand(batch, 3, height, width)
    kept = image.clone()
    maps = fast(image)
    assert difference(maps, model(image)) < 1e-5
    assert all(torch.equal(a, b) for a, b in zip(maps, fast(image), strict=True))
    assert torch.equal(image, kept)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not fast.training and not any(parameter.requires_grad for parameter in fast.parameters())


@pytest.mark.parametrize(
    'arguments',
    [
        dict(out_norm=False),
        dict(out_indices=(3, 1)),
        dict(out_indices=(0,), out_norm=False),
        dict(layer_scale_init_value=0.5),
        dict(norm_cfg=dict(type='LN')),
        dict(norm_cfg=dict(type='GN', num_groups=2)),
        dict(norm_cfg=dict(type='SyncBN')),
        dict(act_cfg=dict(type='SiLU')),
        dict(in_channels=4),
        dict(arch=dict(embed_dims=24, depths=(1, 1, 1, 1), partial_ratio=1.0)),
        dict(arch=dict(embed_dims=24, depths=(2, 0, 1, 1), partial_ratio=1 / 8)),
        # One channel is convolved.
        dict(arch=dict(embed_dims=8, depths=(1, 1, 1, 1), partial_ratio=1 / 8)),
    ],
    ids=str,
)
@torch.no_grad()
def test_every_option(arguments):
    model = trained(**{'arch': 't0', **arguments})
    image = torch.rand(2, model.in_channels, 61, 90)
    assert difference(optimize_for_inference(model)(image), model(image)) < 1e-5


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('arch', ['t0', 's'])
@torch.no_grad()
def test_half_precision_is_as_good_as_the_references(arch, dtype):
    model = trained(arch=arch)
    image = torch.rand(2, 3, 96, 128)
    exact = model(image)
    try:
        theirs = difference(copy.deepcopy(model).to(dtype)(image.to(dtype)), exact)
    except RuntimeError as error:
        pytest.skip(f'torch {torch.__version__} has no convolution for it on the CPU: {error}')
    ours = difference(optimize_for_inference(model).to(dtype)(image.to(dtype)), exact)
    assert ours <= 2 * theirs


@torch.no_grad()
def test_autocast():
    model = trained(arch='t0')
    image = torch.rand(1, 3, 64, 64)
    exact = model(image)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert difference(optimize_for_inference(model)(image), exact) <= 2 * difference(model(image), exact)


@torch.no_grad()
def test_maps_that_are_handed_out_are_not_written_over():
    fast = optimize_for_inference(trained(arch='t0', out_norm=False))
    image = torch.rand(1, 3, 64, 64)
    first = fast(image)
    kept = [out.clone() for out in first]
    fast(torch.rand(1, 3, 64, 64))
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


@torch.no_grad()
def test_hooks_see_what_stays():
    model = trained(arch='t0')
    image = torch.rand(1, 3, 64, 64)
    # One block of a stage, a merging and the embedding: the block after each writes over what it is given.
    names = ['stages.4.blocks.1', 'stages.1', 'patch_embed']
    expected, seen = {}, {}

    def watch(model, outputs):
        for name in names:
            model.get_submodule(name).register_forward_hook(
                lambda module, inputs, out, name=name: outputs.setdefault(name, out)
            )

    fast = optimize_for_inference(model)
    watch(model, expected)
    watch(fast, seen)
    assert difference(fast(image), model(image)) < 1e-5
    assert difference([seen[name] for name in names], [expected[name] for name in names]) < 1e-5
    with pytest.raises(ValueError, match=r'remove the forward hooks on the backbone first: patch_embed, stages\.1, '):
        optimize_for_inference(model)


PACKED = torch.backends.mkldnn.is_available()


@pytest.mark.parametrize('products', [True, False])
@pytest.mark.parametrize('tile', [1, 4 * 80 * 37, 2**30])
@torch.no_grad()
def test_tiles_of_any_size(tile, products, monkeypatch):
    """One pixel, a number that leaves a rest, and everything at once; by products and by convolutions."""
    monkeypatch.setattr(backbone, '_PRODUCT_TILE' if products else '_TILE', tile)
    monkeypatch.setattr(backbone, 'is_product_faster', lambda channels: products)
    model = trained(arch=dict(embed_dims=40, depths=(1, 1, 1, 1)))
    image = torch.rand(2, 3, 61, 90)
    assert difference(optimize_for_inference(model)(image), model(image)) < 1e-5


@pytest.mark.skipif(not PACKED, reason='torch was built without oneDNN')
@pytest.mark.parametrize('act_cfg', [dict(type='GELU'), dict(type='ReLU')])
@torch.no_grad()
def test_products_follow_the_weights(act_cfg, monkeypatch):
    monkeypatch.setattr(backbone, 'is_product_faster', lambda channels: channels == 80)
    model = trained(arch='t0', act_cfg=act_cfg)
    fast = optimize_for_inference(model)
    image = torch.rand(2, 3, 64, 96)
    assert difference(fast(image), model(image)) < 1e-5
    by_products = [module.conv.out_channels for module in fast.modules() if 'columns' in getattr(module, 'packed', ())]
    assert by_products == [160, 80] * 2
    doubled = {key: 2 * value for key, value in fast.state_dict().items()}
    expected = copy.deepcopy(fast).double()
    expected.load_state_dict(doubled)
    fast.load_state_dict(doubled)
    assert difference(fast(image), expected(image.double())) < 1e-5


@pytest.mark.parametrize(
    ('mkl', 'capability', 'faster'), [(True, 'AVX2', True), (True, 'AVX512', False), (False, 'AVX2', False)]
)
def test_products_where_they_were_faster(mkl, capability, faster, monkeypatch):
    monkeypatch.setattr(torch.backends.mkl, 'is_available', lambda: mkl)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: capability)
    assert [is_product_faster(channels) for channels in (40, 80, 160, 64, 96, 144, 192, 320)] == [faster] * 3 + [
        False
    ] * 5


@pytest.mark.skipif(not PACKED, reason='torch was built without oneDNN')
@torch.no_grad()
def test_packed_weights_follow_the_weights_sizes_and_threads():
    model = trained(arch='t0')
    fast = optimize_for_inference(model)
    convs = [module for module in fast.modules() if isinstance(module, PackedConv)]
    image = torch.rand(1, 3, 64, 96)
    fast(image)
    assert all(len(conv.packed) == 1 for conv in convs)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert difference(fast(image), model(image)) < 1e-5
    finally:
        torch.set_num_threads(threads)
    for size in (32, 64, 96, 128):
        fast(torch.rand(1, 3, size, size))
    assert all(len(conv.packed) <= 2 for conv in convs)
    # A copy, and a file, hold no packed weights, and pack anew.
    for same in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert difference(same(image), model(image)) < 1e-5
    doubled = {key: 2 * value for key, value in fast.state_dict().items()}
    expected = copy.deepcopy(fast).double()
    expected.load_state_dict(doubled)
    fast.load_state_dict(doubled)
    assert difference(fast(image), expected(image.double())) < 1e-5


@torch.no_grad()
def test_compiled_and_traced():
    model = trained(arch='t0')
    image = torch.rand(1, 3, 64, 96)
    fast = optimize_for_inference(model)
    assert difference(torch.jit.trace(fast, image)(image), model(image)) < 1e-5
    assert difference(torch.compile(fast, backend='aot_eager')(image), model(image)) < 1e-5


def test_gradients_are_refused_and_not_lost():
    fast = optimize_for_inference(trained(arch='t0'))
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    with pytest.raises(RuntimeError, match='gives no gradients: use the model'):
        fast(image)
    with torch.no_grad():
        assert len(fast(image)) == 4
    with pytest.raises(ValueError, match='at least 32 × 32 pixels'):
        fast(torch.rand(1, 3, 16, 64))


@pytest.mark.parametrize('model', [nn.Linear(1, 1), nn.Sequential()])
def test_a_model_without_a_fasternet(model):
    with pytest.raises(TypeError, match='takes a FasterNet or TimmFeatures, or a model with one .*, but got a'):
        optimize_for_inference(model)
    model.backbone = nn.Conv2d(3, 3, 1)
    with pytest.raises(TypeError, match='with Conv2d'):
        optimize_for_inference(model)


def build(neck, scope='mmdet', **others):
    init_default_scope(scope)
    kind = dict(mmdet='SingleStageDetector', mmseg='EncoderDecoder')[scope]
    torch.manual_seed(0)
    model = MODELS.build(dict(type=kind, backbone=dict(type='FasterNet', arch='t0'), neck=neck, **others))
    randomize_norms(model)
    return model.eval()


FPN = dict(type='FPN', in_channels=[40, 80, 160, 320], out_channels=32)
RETINA = dict(type='RetinaHead', num_classes=3, in_channels=32)


@pytest.mark.parametrize(
    'neck, kept',
    [
        (dict(FPN, num_outs=5), []),
        (dict(FPN, num_outs=4, norm_cfg=dict(type='BN')), []),
        # The extra level starts from the map as the backbone gives it.
        (dict(FPN, num_outs=5, add_extra_convs='on_input'), ['3']),
        (dict(FPN, num_outs=5, add_extra_convs='on_output', start_level=1), ['0']),
        (dict(FPN, num_outs=2, start_level=1, end_level=2), ['0', '3']),
        (dict(type='ChannelMapper', in_channels=[40, 80, 160, 320], out_channels=32), ['0', '1', '2', '3']),
    ],
)
@torch.no_grad()
def test_output_norms_go_into_the_neck_where_it_alone_reads_the_maps(neck, kept):
    model = build(neck, bbox_head=RETINA)
    fast = optimize_for_inference(model)
    assert isinstance(fast.backbone, OptimizedFasterNet) and isinstance(model.backbone, FasterNet)
    norms = fast.backbone.output_norms
    assert [index for index in norms if not isinstance(norms[index], nn.Identity)] == kept
    image = torch.rand(2, 3, 96, 160)
    # mmcv's operators read memory as it lies.
    assert all(out.is_contiguous() for maps in (fast.backbone(image), fast.neck(fast.backbone(image))) for out in maps)
    assert difference(fast.neck(fast.backbone(image)), model.neck(model.backbone(image))) < 1e-5


@pytest.mark.parametrize('neck', [None, dict(FPN, num_outs=4)])
@torch.no_grad()
def test_a_segmentor(neck):
    channels = [40, 80, 160, 320] if neck is None else [32] * 4
    head = dict(type='UPerHead', in_channels=channels, in_index=[0, 1, 2, 3], channels=32, num_classes=5)
    head['norm_cfg'] = dict(type='BN')
    model = build(neck, 'mmseg', decode_head=head)
    fast = optimize_for_inference(model)
    folded = [isinstance(norm, nn.Identity) for norm in fast.backbone.output_norms.values()]
    assert folded == [neck is not None] * 4
    image = torch.rand(1, 3, 64, 96)
    logits = [network.decode_head(network.extract_feat(image)) for network in (fast, model)]
    assert difference(logits[:1], logits[1:]) < 1e-5


@torch.no_grad()
def test_folding_by_hand():
    x = torch.rand(2, 6, 9, 9)
    norm = nn.BatchNorm2d(6, affine=False).eval()
    nn.init.uniform_(norm.running_mean, -1, 1)
    conv = nn.Conv2d(6, 4, 1, bias=False)
    assert torch.allclose(fold_norm_before(norm, conv)(x), conv(norm(x)), atol=1e-6)
    back = nn.Conv2d(4, 6, 3, groups=2, padding=1, stride=2)
    y = torch.rand(2, 4, 9, 9)
    assert torch.allclose(fold_norm_after(back, norm)(y), norm(back(y)), atol=1e-6)
    with pytest.raises(ValueError, match='without padding and groups'):
        fold_norm_before(norm, nn.Conv2d(6, 6, 3, padding=1))
    assert not is_foldable(nn.BatchNorm2d(6, track_running_stats=False)) and not is_foldable(nn.GroupNorm(2, 6))

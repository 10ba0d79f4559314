"""The backbone: the function of the authors' code, its options, and its errors."""

import copy
import importlib
import sys
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from helpers.golden import GOLDEN_ARCHS, golden_image, golden_outputs, golden_shapes, golden_state_dict
from helpers.project import succeed
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from mmfasternet import FasterNet
from mmfasternet.models.variants import VARIANTS

ARCHS = ('t0', 't1', 't2', 's', 'm', 'l')
TINY = dict(embed_dims=8, depths=(1, 2, 1, 1))
NEW_TORCH = torch.__version__ >= '2.6'
needs_new_torch = pytest.mark.skipif(not NEW_TORCH, reason='torch before 2.6 exports without dynamic_shapes')


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randomize(model: nn.Module) -> nn.Module:
    """Give weights the scale that keeps maps from vanishing, and every norm parameters and statistics of its own."""
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dim() > 1:
                value.normal_(0, (1 / value[0].numel()) ** 0.5)
            elif key.endswith(('running_var', 'weight')):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point():
                value.uniform_(-0.2, 0.2)
            else:
                value.fill_(1)
    return model


def sum_of(outs: tuple[Tensor, ...]) -> Tensor:
    """A number that depends on every element of every map, and not through their mean alone."""
    return sum((out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum() for out in outs)


def buffers_of(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.named_buffers()}


# The same function as the authors' and as timm's.


@pytest.mark.parametrize('arch', GOLDEN_ARCHS)
def test_state_dict_is_the_authors(arch):
    shapes = {key: list(value.shape) for key, value in FasterNet(arch).state_dict().items()}
    assert shapes == golden_shapes(arch, 'detection')


@pytest.mark.parametrize('arch', GOLDEN_ARCHS)
def test_outputs_are_the_authors(arch):
    model = FasterNet(arch).eval()
    model.load_state_dict(golden_state_dict(arch))
    with torch.no_grad():
        outs = model(golden_image())
    golden = golden_outputs(arch)
    assert len(outs) == 4
    for i, out in enumerate(outs):
        out = out[0].numpy()
        assert (1, *out.shape) == tuple(golden[f'shape{i}'])
        parts = dict(mean=out.mean((1, 2)), std=out.std((1, 2)), corner=out[:16, :3, :3], last=out[-16:, -2:, -2:])
        # Maps of S reach 600, where float32 itself has steps of 6e-5: float64 is no nearer to the golden ones than
        # float32. So the error is measured against the map's largest value.
        largest = max(1, np.abs(out).max())
        for name, part in parts.items():
            assert np.abs(part - golden[f'{name}{i}']).max() / largest <= 1e-5, f'{name}{i}'


@pytest.mark.parametrize('arch', ARCHS)
def test_trunk_is_timms(arch, tmp_path):
    timm = pytest.importorskip('timm')
    with torch.device('meta'):  # spares timm's own initialization
        peer = timm.create_model(f'fasternet_{arch}', num_classes=7)
    peer = randomize(peer.to_empty(device='cpu')).eval()
    path = tmp_path / 'timm.pth'
    torch.save(peer.state_dict(), path)
    model = FasterNet(arch, out_norm=False, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()
    image = torch.randn(2, 3, 97, 130)
    with torch.no_grad():
        outs, expected = model.eval()(image), peer.forward_intermediates(image, intermediates_only=True)
    for out, peer_out in zip(outs, expected, strict=True):
        assert peer_out.std() > 0.1
        torch.testing.assert_close(out, peer_out, atol=1e-4, rtol=0)


@pytest.mark.parametrize(('arch', 'rate'), [('t0', 0.3), ('s', 0.15), ('m', 0.2)])
def test_drop_path_rates_are_timms(arch, rate):
    timm = pytest.importorskip('timm')

    def rates(model):
        return [getattr(block.drop_path, 'drop_prob', 0) for name, block in model.named_modules() if is_block(name)]

    def is_block(name):
        return name.split('.')[-2:-1] == ['blocks']

    found = rates(FasterNet(arch, drop_path_rate=rate))
    peer = rates(timm.create_model(f'fasternet_{arch}', drop_path_rate=rate))
    assert len(found) == sum(FasterNet.arch_settings[arch]['depths'])
    assert found == pytest.approx(peer, abs=1e-6)
    assert found[-1] == pytest.approx(rate)


@pytest.mark.parametrize(('arch', 'rate'), list(zip(ARCHS, (0, 0.02, 0.05, 0.15, 0.2, 0.3), strict=True)))
def test_drop_path_rate_of_each_variant(arch, rate):
    last = FasterNet(arch).stages[-1].blocks[-1].drop_path
    assert getattr(last, 'drop_prob', 0) == pytest.approx(rate)


# Shapes, outputs and gradients.


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (33, 47), (63, 64), (97, 130), (32, 200)])
def test_sizes_round_down(height, width):
    outs = FasterNet('t0').eval()(torch.rand(2, 3, height, width))
    assert [tuple(out.shape) for out in outs] == [
        (2, 40 * 2**i, height // (4 * 2**i), width // (4 * 2**i)) for i in range(4)
    ]


@pytest.mark.parametrize('out_norm', [True, False])
def test_any_out_indices(out_norm):
    whole = randomize(FasterNet(TINY, out_norm=out_norm)).eval()
    image = torch.randn(1, 3, 64, 64)
    expected = whole(image)
    for count in (1, 2, 3):
        for indices in combinations(range(4), count):
            part = FasterNet(TINY, out_indices=indices[::-1], out_norm=out_norm).eval()
            part.load_state_dict({key: whole.state_dict()[key] for key in part.state_dict()})
            outs = part(image)
            assert len(outs) == count and len(part.stages) == 2 * indices[-1] + 1
            assert all(torch.equal(out, expected[i]) for out, i in zip(outs, indices, strict=True))


def test_in_channels():
    assert FasterNet(TINY, in_channels=5)(torch.rand(2, 5, 64, 64))[0].shape == (2, 8, 16, 16)


@pytest.mark.parametrize('arch', ARCHS)
def test_gradients_reach_every_parameter(arch):
    model = FasterNet(arch, drop_path_rate=0.0)
    outs = model(torch.randn(2, 3, 64, 32))
    sum_of(outs).backward()
    assert all(out.isfinite().all() for out in outs)
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_initialization_is_the_authors():
    model = randomize(FasterNet('t2'))
    model.init_weights()
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
        else:
            assert (parameter == (1 if name.endswith('weight') else 0)).all(), name


def test_builds_without_memory():
    with torch.device('meta'):
        model = FasterNet('l')
    assert sum(p.numel() for p in model.parameters()) > 90e6


# Options.


@pytest.mark.parametrize('norm_cfg', [dict(type='BN'), dict(type='GN', num_groups=4), dict(type='LN')])
def test_recomputation_changes_nothing(norm_cfg):
    image = torch.randn(4, 3, 64, 64)
    results = []
    for with_cp in (False, True, 'elementwise'):
        torch.manual_seed(0)
        model = FasterNet(TINY, drop_path_rate=0.5, norm_cfg=norm_cfg, layer_scale_init_value=0.5, with_cp=with_cp)
        randomize(model)
        torch.manual_seed(1)
        outs = model(image)
        sum_of(outs).backward()
        results.append((outs, [p.grad for p in model.parameters()], buffers_of(model)))
    (outs, gradients, buffers), *recomputed = results
    for cp_outs, cp_gradients, cp_buffers in recomputed:
        torch.testing.assert_close(cp_outs, outs)
        torch.testing.assert_close(cp_gradients, gradients)
        torch.testing.assert_close(cp_buffers, buffers, atol=0, rtol=0)
        if norm_cfg['type'] == 'BN':
            assert cp_buffers['stages.0.blocks.0.mlp.1.num_batches_tracked'] == 2


class Storages(TorchDispatchMode):
    """Remembers the memory of every tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.made = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in tree_flatten(out)[0]:
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                self.made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return out


def bytes_for_backward(model: nn.Module, image: Tensor) -> int:
    """Bytes that the forward pass keeps for the backward pass, outputs included."""
    with Storages() as storages:
        outs = model(image)
        kept = sum(size for reference, size in storages.made.values() if not reference.expired())
    del outs
    return kept


def test_recomputation_saves_memory():
    bytes_held = {
        with_cp: bytes_for_backward(FasterNet('s', with_cp=with_cp, drop_path_rate=0), torch.randn(2, 3, 64, 64))
        for with_cp in (False, True, 'elementwise')
    }
    assert bytes_held[True] < 0.35 * bytes_held[False]
    assert bytes_held['elementwise'] < 0.65 * bytes_held[False]


def test_elementwise_recomputation_runs_no_convolution_twice():
    multiply_adds = {}
    for with_cp in (False, True, 'elementwise'):
        with FlopCounterMode(display=False) as counter:
            sum_of(FasterNet(TINY, with_cp=with_cp)(torch.randn(2, 3, 64, 64))).backward()
        multiply_adds[with_cp] = counter.get_total_flops()
    assert multiply_adds['elementwise'] == multiply_adds[False] < multiply_adds[True]


def test_recomputation_in_evaluation_leaves_statistics():
    model = FasterNet(TINY, with_cp=True).eval()
    before = buffers_of(model)
    sum_of(model(torch.randn(2, 3, 64, 64))).backward()
    assert model.stages[0].blocks[0].mlp[0].weight.grad.abs().sum() > 0
    torch.testing.assert_close(buffers_of(model), before, atol=0, rtol=0)


@pytest.mark.parametrize('with_cp', [False, True, 'elementwise'])
@pytest.mark.parametrize(
    ('frozen_stages', 'frozen'),
    [
        (-1, ()),
        (0, ('patch_embed.',)),
        (1, ('patch_embed.', 'stages.0.')),
        (2, ('patch_embed.', 'stages.0.', 'stages.1.', 'stages.2.')),
        (3, ('patch_embed.', *(f'stages.{i}.' for i in range(5)))),
        (4, ('patch_embed.', 'stages.')),
    ],
)
def test_frozen_stages(frozen_stages, frozen, with_cp):
    model = FasterNet(TINY, frozen_stages=frozen_stages, drop_path_rate=0.5, with_cp=with_cp)
    model.init_weights()
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sum_of(model(torch.randn(8, 3, 64, 64))).backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    after = model.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    # A block that drop path left out for the whole batch may keep its weights, but not its statistics.
    statistics = [key for key in after if 'running' in key or 'num_batches' in key]
    assert {key for key in statistics if key in changed} == {key for key in statistics if not key.startswith(frozen)}
    assert {key for key, p in model.named_parameters() if p.requires_grad} == {
        key for key, _ in model.named_parameters() if not key.startswith(frozen)
    }
    assert not any(key.startswith(frozen) for key in changed)
    assert {f'norm{2 * i}.weight' for i in range(4)} <= changed
    assert all(
        module.training != f'{name}.'.startswith(frozen) for name, module in model.named_modules() if '.' in name
    )


def test_freezing_survives_switching_modes():
    model = FasterNet(TINY, frozen_stages=2)
    model.eval().train()
    assert not model.patch_embed.norm.training and not model.stages[2].training and model.stages[3].training


def test_norm_eval_keeps_statistics_and_trains_the_rest():
    model = FasterNet(TINY, norm_eval=True, drop_path_rate=0.5)
    randomize(model)
    model.train()
    before = buffers_of(model)
    sum_of(model(torch.randn(2, 3, 64, 64))).backward()
    torch.testing.assert_close(buffers_of(model), before, atol=0, rtol=0)
    assert model.norm0.weight.grad.abs().sum() > 0
    assert model.stages[-1].blocks[-1].drop_path.training
    assert not any(m.training for m in model.modules() if isinstance(m, _BatchNorm))


def test_norm_eval_warns_of_fresh_output_norms_once():
    model = FasterNet(TINY, norm_eval=True)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model.eval()
    with pytest.warns(UserWarning, match='norm_eval=True .* output norms .*initial'):
        model.train()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model.train()


@pytest.mark.parametrize(
    'options', [dict(), dict(out_norm=False), dict(norm_cfg=dict(type='LN')), dict(norm_eval=False)]
)
def test_norm_eval_does_not_warn(options):
    model = FasterNet(TINY, **{'norm_eval': True, **options})
    if not options:
        randomize(model)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model.train()


@pytest.mark.parametrize(
    ('norm_cfg', 'norm'),
    [
        (dict(type='BN', eps=1e-3, momentum=0.5), nn.BatchNorm2d),
        (dict(type='SyncBN'), nn.SyncBatchNorm),
        (dict(type='GN', num_groups=4), nn.GroupNorm),
        (dict(type='LN'), nn.LayerNorm),
        (dict(type=nn.LayerNorm), nn.LayerNorm),
        (dict(type=nn.GroupNorm, num_groups=2), nn.GroupNorm),
    ],
)
def test_every_norm_is_of_the_asked_type(norm_cfg, norm):
    model = FasterNet(TINY, norm_cfg=norm_cfg)
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (_BatchNorm, nn.GroupNorm, nn.LayerNorm))
    }
    reference = [name for name, module in FasterNet(TINY).named_modules() if isinstance(module, _BatchNorm)]
    assert list(norms) == reference
    assert all(isinstance(module, norm) for module in norms.values())
    if 'eps' in norm_cfg:
        assert all(module.eps == 1e-3 and module.momentum == 0.5 for module in norms.values())


def test_norm_of_config_can_be_fixed():
    model = FasterNet(TINY, norm_cfg=dict(type='BN', requires_grad=False))
    fixed = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert fixed == {name for name, p in model.named_parameters() if p.dim() == 1}


def test_sync_bn_is_bn_in_evaluation():
    model, synced = FasterNet(TINY), FasterNet(TINY, norm_cfg=dict(type='SyncBN'))
    synced.load_state_dict(randomize(model).state_dict())
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(synced.eval()(image), model.eval()(image))


def test_layer_norm_normalizes_the_channels_of_each_pixel():
    model = randomize(FasterNet(TINY, norm_cfg=dict(type='LN', eps=1e-3)))
    compared = []

    def compare(norm, inputs, out):
        (x,) = inputs
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square().mean(1, keepdim=True)
        expected = (x - mean) / (variance + 1e-3).sqrt() * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
        torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)
        compared.append(norm)

    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(compare)
    model(torch.randn(2, 3, 64, 96))
    assert len(compared) == 1 + 3 + 5 + 4


def test_layer_scale_and_drop_path_are_the_authors():
    block = FasterNet(TINY, drop_path_rate=0.4, layer_scale_init_value=0.5).stages[-1].blocks[-1]
    assert torch.equal(block.layer_scale, torch.full((64,), 0.5))
    with torch.no_grad():
        block.layer_scale.uniform_(-1, 1)
    block.mlp.eval()
    x = torch.randn(400, 64, 2, 2)
    change = block.layer_scale.view(1, -1, 1, 1) * block.mlp(block.spatial_mixing(x))
    out = block(x)
    kept = [torch.allclose(o, expected, atol=1e-5) for o, expected in zip(out, x + change / 0.6, strict=True)]
    dropped = [torch.equal(o, expected) for o, expected in zip(out, x, strict=True)]
    assert all(k != d for k, d in zip(kept, dropped, strict=True))
    assert sum(kept) / 400 == pytest.approx(0.6, abs=0.1)
    torch.testing.assert_close(block.eval()(x), x + change)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_drop_path_draws_and_computes_what_mmcvs_does(dtype):
    block = FasterNet(TINY, drop_path_rate=0.4, layer_scale_init_value=0.5).stages[-1].blocks[-1].to(dtype)
    results = []
    for add in (block.add_to, lambda x, out: x + block.drop_path(0.5 * out)):
        x, out = (torch.randn(50, 64, 2, 2, dtype=dtype, generator=torch.Generator().manual_seed(i)) for i in range(2))
        torch.manual_seed(3)
        y = add(x.requires_grad_(), out.requires_grad_())
        results.append((y, *torch.autograd.grad(sum_of((y,)), (x, out)), torch.get_rng_state()))
    torch.testing.assert_close(*results)


def test_layer_scale_has_the_authors_keys():
    scaled, plain = FasterNet(TINY, layer_scale_init_value=1e-5).state_dict(), FasterNet(TINY).state_dict()
    blocks = [(0, 0), (2, 0), (2, 1), (4, 0), (6, 0)]
    assert set(scaled) - set(plain) == {f'stages.{i}.blocks.{j}.layer_scale' for i, j in blocks}
    assert scaled['stages.2.blocks.1.layer_scale'].shape == (16,)


@pytest.mark.parametrize('arch, act, warns', [('t0', 'ReLU', True), ('t0', 'GELU', False), ('t2', 'GELU', True)])
def test_released_weights_with_another_activation(arch, act, warns, tmp_path):
    """They load all the same, since an activation has no weights, and it is said that this is no trained network."""
    options = dict(arch=arch, out_norm=False, out_indices=(0,))
    path = tmp_path / VARIANTS[arch].file
    torch.save(FasterNet(**options).state_dict(), path)
    model = FasterNet(**options, act_cfg=dict(type=act), init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        model.init_weights()
    own = VARIANTS[arch].act
    message = f'the released weights of {arch.upper()} were trained with {own}, and are another network with {act}'
    assert [message in str(one.message) for one in caught if 'released weights' in str(one.message)] == [True] * warns
    # Weights of another name may have been trained with it.
    renamed = path.rename(tmp_path / 'epoch_1.pth')
    model = FasterNet(**options, act_cfg=dict(type=act), init_cfg=dict(type='Pretrained', checkpoint=str(renamed)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model.init_weights()


@pytest.mark.parametrize(
    ('options', 'activation'),
    [
        (dict(arch='t0'), nn.GELU),
        (dict(arch='t1'), nn.GELU),
        (dict(arch='T2'), nn.ReLU),
        (dict(arch='t0', act_cfg=dict(type='ReLU')), nn.ReLU),
        (dict(arch=TINY), nn.ReLU),
        (dict(arch={**TINY, 'act_cfg': dict(type='HSwish')}), nn.Hardswish),
    ],
)
def test_activation(options, activation):
    model = FasterNet(**options)
    found = {type(module.mlp[2]) for name, module in model.named_modules() if hasattr(module, 'mlp')}
    assert len(found) == 1 and issubclass(found.pop(), activation)


def test_arch_dict():
    arch = dict(embed_dims=12, depths=[2, 0, 1, 1], mlp_ratio=1.5, partial_ratio=1 / 3, drop_path_rate=0.3)
    model = FasterNet(arch)
    block = model.stages[0].blocks[1]
    assert block.mlp[0].weight.shape == (18, 12, 1, 1)
    assert block.spatial_mixing.partial_conv3.weight.shape == (4, 4, 3, 3)
    assert [len(model.stages[i].blocks) for i in (0, 2, 4, 6)] == [2, 0, 1, 1]
    assert block.drop_path.drop_prob == pytest.approx(0.1)
    assert model(torch.rand(2, 3, 64, 64))[1].shape == (2, 24, 8, 8)


def test_arch_in_any_case_and_numbers_of_numpy():
    assert FasterNet('T0').state_dict().keys() == FasterNet('t0').state_dict().keys()
    model = FasterNet(
        dict(embed_dims=np.int64(8), depths=tuple(np.array([1, 1, 1, 1]))),
        in_channels=np.int64(4),
        out_indices=(np.int32(1),),
        frozen_stages=np.int64(0),
        drop_path_rate=np.float32(0.1),
    )
    assert model(torch.rand(2, 4, 64, 64))[0].shape == (2, 16, 8, 8)
    assert type(model.in_channels) is int


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_arguments_are_never_modified(kind):
    arguments = dict(
        arch=kind(embed_dims=8, depths=[1, 1, 1, 1], act_cfg=kind(type='ReLU', inplace=True)),
        out_indices=[3, 1],
        norm_cfg=kind(type='GN', num_groups=2, requires_grad=True),
        act_cfg=kind(type='GELU'),
        init_cfg=[kind(type='Constant', layer='Conv2d', val=0.5), kind(type='Normal', layer='Linear', std=1)],
    )
    before, variants = copy.deepcopy(arguments), copy.deepcopy(FasterNet.arch_settings)
    model = FasterNet(**arguments)
    model.init_weights()
    model(torch.rand(2, 3, 64, 64))
    assert arguments == before
    assert FasterNet.arch_settings == variants
    assert (model.stages[0].blocks[0].mlp[0].weight == 0.5).all()


# What the model tells of itself.


@pytest.mark.parametrize('arch', [*ARCHS, {**TINY, 'partial_ratio': 1 / 2}, {**TINY, 'mlp_ratio': 3.5}])
def test_describe_is_the_inverse_of_building(arch):
    with torch.device('meta'):
        plain, other = FasterNet(arch), FasterNet(arch, 1, norm_cfg=dict(type='LN'), layer_scale_init_value=1)
    described = arch if isinstance(arch, str) else {'mlp_ratio': 2, 'partial_ratio': 1 / 4, **arch}
    expected = dict(arch=described, in_channels=3, has_bn=True, has_layer_scale=False)
    assert FasterNet.describe(plain.state_dict()) == expected
    expected = dict(arch=described, in_channels=1, has_bn=False, has_layer_scale=True)
    assert FasterNet.describe(other.state_dict()) == expected


def test_convolutions_are_all_of_the_models():
    model = FasterNet(TINY, out_indices=(1,))
    found = model.convolutions
    assert {part: len(convolutions) for part, convolutions in found.items()} == {
        'embedding': 1,
        'merging': 1,
        'PConv': 3,
        '1×1': 6,
    }
    theirs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert {*map(id, theirs)} == {id(convolution) for convolutions in found.values() for convolution in convolutions}


def test_arch_settings_are_the_variants():
    for name, variant in VARIANTS.items():
        with torch.device('meta'):
            model = FasterNet(name)
        assert tuple(norm.num_features for norm in model.output_norms) == variant.channels
        assert tuple(len(stage.blocks) for stage in model.stages[::2]) == variant.depths


# Registry and configs.


def test_registered_in_mmengines_root():
    assert MODELS.module_dict['FasterNet'] is FasterNet


@pytest.mark.parametrize('package', ['mmdet', 'mmseg', 'mmpretrain'])
def test_built_in_every_scope(package):
    pytest.importorskip(package)
    registry = importlib.import_module(f'{package}.registry').MODELS
    config = dict(type='FasterNet', arch=TINY)
    assert 'FasterNet' not in registry.module_dict
    assert type(registry.build(config)) is FasterNet
    with DefaultScope.overwrite_default_scope(registry.scope):
        assert type(MODELS.build(config)) is FasterNet
        assert type(registry.build(dict(config, type='mmengine.FasterNet'))) is FasterNet


def test_pure_python_config(tmp_path):
    (tmp_path / 'base.py').write_text(
        'from torch import nn\n'
        'from mmfasternet import FasterNet\n'
        "model = dict(backbone=dict(type=FasterNet, arch='s', norm_cfg=dict(type=nn.BatchNorm2d)))\n"
    )
    path = tmp_path / 'config.py'
    path.write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from .base import *\n'
        "model.update(backbone=dict(arch='t0', frozen_stages=1))\n"
    )
    model = MODELS.build(Config.fromfile(path).model.backbone)
    assert type(model) is FasterNet and model.arch == 't0' and model.frozen_stages == 1
    assert type(model.norm0) is nn.BatchNorm2d


def test_typo_in_config_is_named():
    with pytest.raises(TypeError, match='frozen_stage'):
        MODELS.build(dict(type='FasterNet', arch='t0', frozen_stage=1))


# Under torch's compilers and exporters.


def assert_equal_for_other_sizes(model: nn.Module, run) -> None:
    for shape in [(2, 3, 97, 130), (3, 3, 64, 80)]:
        image = torch.randn(shape)
        torch.testing.assert_close(tuple(run(image)), tuple(o.detach() for o in model(image)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('with_cp', [False, True, 'elementwise'])
def test_trace(with_cp):
    model = randomize(FasterNet(TINY, with_cp=with_cp)).eval()
    assert_equal_for_other_sizes(model, torch.jit.trace(model, torch.rand(1, 3, 64, 96)))


@needs_new_torch
@pytest.mark.parametrize('with_cp', [False, True, 'elementwise'])
def test_export(with_cp):
    model = randomize(FasterNet(TINY, with_cp=with_cp)).eval()
    # Below 64 pixels the last map is one pixel wide, which torch.export treats as another program.
    sizes = {0: torch.export.Dim('n'), **{i: torch.export.Dim(n, min=64, max=4096) for i, n in ((2, 'h'), (3, 'w'))}}
    exported = torch.export.export(model, (torch.rand(2, 3, 64, 96),), dynamic_shapes=(sizes,))
    assert_equal_for_other_sizes(model, exported.module())


@pytest.mark.parametrize('dynamo', [False, pytest.param(True, marks=needs_new_torch)])
def test_onnx(dynamo, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    model = randomize(FasterNet({**TINY, 'act_cfg': dict(type='GELU')})).eval()
    path = str(tmp_path / 'fasternet.onnx')
    sizes = {0: 'n', 2: 'h', 3: 'w'}
    if dynamo:
        shapes = {k: torch.export.Dim(v, min=2 if k == 0 else 64, max=4096) for k, v in sizes.items()}
        options = dict(dynamo=True, dynamic_shapes=(shapes,), verbose=False)
    else:
        options = dict(dynamic_axes={'image': sizes}, **(dict(dynamo=False) if NEW_TORCH else {}))
    torch.onnx.export(model, (torch.rand(2, 3, 64, 96),), path, input_names=['image'], **options)
    session = onnxruntime.InferenceSession(path)
    assert_equal_for_other_sizes(
        model, lambda image: [torch.from_numpy(out) for out in session.run(None, {'image': image.numpy()})]
    )


@pytest.mark.parametrize('with_cp', [False, True, 'elementwise'])
def test_compile(with_cp):
    """The graphs that torch.compile takes; test_pconv.py has the code that Inductor makes of them."""
    model = randomize(FasterNet(TINY, out_indices=(0, 1), with_cp=with_cp))
    peer = copy.deepcopy(model)
    compiled = torch.compile(model, dynamic=True, backend='aot_eager')
    for shape in [(2, 3, 64, 96), (3, 3, 97, 130)]:
        image = torch.randn(shape)
        outs, expected = compiled(image), peer(image)
        torch.testing.assert_close(outs, expected, atol=1e-4, rtol=1e-4)
        sum_of(outs).backward()
        sum_of(expected).backward()
    gradients, peer_gradients = ([p.grad for p in m.parameters()] for m in (model, peer))
    torch.testing.assert_close(gradients, peer_gradients, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(buffers_of(model), buffers_of(peer), atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not hasattr(torch.compiler, 'is_compiling'), reason='torch 2.1 cannot tell that it compiles')
def test_importing_does_not_load_the_compiler():
    """Which takes a second."""
    succeed(sys.executable, '-c', "import sys, mmfasternet; sys.exit('torch._dynamo' in sys.modules)")


def test_autocast():
    model = randomize(FasterNet(TINY)).eval()
    image = torch.randn(2, 3, 64, 64)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outs = model(image)
    for out, expected in zip(outs, model(image), strict=True):
        assert (out - expected).abs().max() <= 0.03 * expected.abs().max()


# Mistakes.


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(arch='S '), ValueError, "arch must be one of t0, t1, t2, s, m, l, or a dict .* but got 'S '"),
        (dict(arch='fasternet_s'), ValueError, "arch must be one of t0.* but got 'fasternet_s'"),
        (dict(arch=None), TypeError, 'arch must be one of t0.* but got None'),
        (dict(arch=5), TypeError, 'arch must be one of t0.* but got 5'),
        (dict(arch={}), ValueError, r"arch must have the keys \('embed_dims', 'depths'\)"),
        (dict(arch=dict(embed_dims=8)), ValueError, 'arch must have the keys .*depths'),
        (dict(arch=dict(depths=(1, 1, 1, 1))), ValueError, 'arch must have the keys .*embed_dims'),
        (dict(arch={**TINY, 'n_div': 4}), ValueError, 'arch must have the keys .*partial_ratio.* got .*n_div'),
        (
            dict(arch={**TINY, 'embed_dims': 10}),
            ValueError,
            'partial_ratio of arch must give a whole number .*10 · 0.25',
        ),
        (dict(arch={**TINY, 'embed_dims': 0}), ValueError, 'embed_dims of arch must be at least 1'),
        (dict(arch={**TINY, 'embed_dims': (8, 16, 32, 64)}), TypeError, 'embed_dims of arch must be an int'),
        (dict(arch={**TINY, 'depths': (1, 1, 1)}), ValueError, r'depths of arch must be four .* \(1, 1, 1\)'),
        (dict(arch={**TINY, 'depths': 4}), ValueError, 'depths of arch must be four'),
        (dict(arch={**TINY, 'depths': '1281'}), ValueError, 'depths of arch must be four'),
        (dict(arch={**TINY, 'depths': (1, 1, -1, 1)}), ValueError, 'depths of arch must be at least 0, but got -1'),
        (dict(arch={**TINY, 'depths': (1, 1, 1.5, 1)}), TypeError, 'depths of arch must be an int, but got 1.5'),
        (dict(arch={**TINY, 'mlp_ratio': 0}), ValueError, 'mlp_ratio of arch must leave at least one hidden'),
        (dict(arch={**TINY, 'mlp_ratio': float('inf')}), ValueError, 'mlp_ratio of arch must be finite'),
        (dict(arch={**TINY, 'mlp_ratio': '2'}), TypeError, 'mlp_ratio of arch must be a number'),
        (dict(arch={**TINY, 'partial_ratio': 4}), ValueError, r'partial_ratio must be in \(0, 1\]'),
        (dict(arch={**TINY, 'partial_ratio': '1/4'}), TypeError, 'partial_ratio of arch must be a number'),
        (dict(arch={**TINY, 'drop_path_rate': 1}), ValueError, 'drop_path_rate must be below 1, but got 1'),
        (dict(arch={**TINY, 'act_cfg': 'ReLU'}), TypeError, 'act_cfg must be a dict'),
        (dict(in_channels=0), ValueError, 'in_channels must be at least 1'),
        (dict(with_cp='all'), ValueError, "with_cp must be .*'elementwise', but got 'all'"),
        (dict(in_channels='3'), TypeError, 'in_channels must be an int'),
        (dict(in_channels=True), TypeError, 'in_channels must be an int'),
        (dict(out_indices=()), ValueError, 'out_indices must name at least one stage'),
        (dict(out_indices=(0, 1, 1)), ValueError, r'none twice, but got \(0, 1, 1\)'),
        (dict(out_indices=(1, 4)), ValueError, 'out_indices must be from 0 to 3, but got 4'),
        (dict(out_indices=(-1,)), ValueError, 'out_indices must be from 0 to 3, but got -1'),
        (dict(out_indices=3), TypeError, 'out_indices must be a sequence of stages'),
        (dict(out_indices='3'), TypeError, 'out_indices must be a sequence of stages'),
        (dict(out_indices=None), TypeError, 'out_indices must be a sequence of stages'),
        (dict(out_indices=(0.0, 1.0)), TypeError, 'out_indices must be an int'),
        (dict(frozen_stages=-2), ValueError, 'frozen_stages must be from -1 to 4'),
        (dict(frozen_stages=5), ValueError, 'frozen_stages must be from -1 to 4, but got 5'),
        (dict(frozen_stages=True), TypeError, 'frozen_stages must be an int'),
        (dict(frozen_stages=None), TypeError, 'frozen_stages must be an int'),
        (dict(drop_path_rate=-0.1), ValueError, 'drop_path_rate must be at least 0, but got -0.1'),
        (dict(drop_path_rate=1), ValueError, 'drop_path_rate must be below 1, but got 1'),
        (dict(drop_path_rate=float('nan')), ValueError, 'drop_path_rate must be finite'),
        (dict(drop_path_rate='0.1'), TypeError, 'drop_path_rate must be a number'),
        (dict(layer_scale_init_value=-1), ValueError, 'layer_scale_init_value must be at least 0, but got -1'),
        (dict(layer_scale_init_value=float('nan')), ValueError, 'layer_scale_init_value must be finite'),
        (dict(layer_scale_init_value=None), TypeError, 'layer_scale_init_value must be a number'),
        (dict(norm_cfg=None), TypeError, 'norm_cfg must be a dict'),
        (dict(norm_cfg='BN'), TypeError, 'norm_cfg must be a dict'),
        (dict(norm_cfg={}), ValueError, 'norm_cfg={} gives no norm .* BN, SyncBN, LN, or GN'),
        (dict(norm_cfg=dict(type='BM')), ValueError, "norm_cfg={'type': 'BM'} gives no norm .* BN, SyncBN, LN"),
        (dict(norm_cfg=dict(type='BN', epsilon=1)), ValueError, "norm_cfg=.*unexpected keyword argument 'epsilon'"),
        (dict(norm_cfg=dict(type='GN')), ValueError, 'norm_cfg=.* for 8 channels.*num_groups'),
        (dict(norm_cfg=dict(type='GN', num_groups=3)), ValueError, 'norm_cfg=.*must be divisible by num_groups'),
        (dict(norm_cfg=dict(type='GN', num_groups=0)), ValueError, 'norm_cfg=.* for 8 channels'),
        (dict(act_cfg='ReLU'), TypeError, 'act_cfg must be a dict'),
        (dict(act_cfg={}), ValueError, r"act_cfg={} gives no activation: .*type='ReLU'"),
        (dict(act_cfg=dict(type='Relu')), ValueError, "act_cfg={'type': 'Relu'} gives no activation"),
        (dict(act_cfg=dict(type='ReLU', slope=1)), ValueError, 'act_cfg=.*slope'),
        (dict(init_cfg='fasternet_s.pth'), TypeError, "init_cfg must be a dict such as dict.type='Pretrained'"),
        (dict(init_cfg=['fasternet_s.pth']), TypeError, 'init_cfg must be a dict'),
        (dict(pretrained='fasternet_s.pth'), TypeError, 'pretrained'),
        (dict(depth=50), TypeError, 'depth'),
    ],
)
def test_bad_argument(options, error, message):
    with pytest.raises(error, match=message):
        FasterNet(**{'arch': TINY, **options})


@pytest.mark.parametrize('with_cp', [False, True, 'elementwise'])
@pytest.mark.parametrize(
    ('image', 'error', 'message'),
    [
        (torch.zeros(3, 64, 64), ValueError, r'shape \(N, 3, H, W\), but got shape \(3, 64, 64\)'),
        (torch.zeros(1, 1, 3, 64, 64), ValueError, r'shape \(N, 3, H, W\)'),
        (torch.zeros(1, 1, 64, 64), ValueError, 'images of 3 channels, but got 1; set in_channels=1'),
        (torch.zeros(1, 64, 64, 3), ValueError, 'images of 3 channels, but got 64'),
        (torch.zeros(1, 3, 31, 64), ValueError, 'at least 32 × 32 pixels, but got height 31 and width 64'),
        (torch.zeros(1, 3, 64, 31), ValueError, 'at least 32 × 32 pixels, but got height 64 and width 31'),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), TypeError, 'floating-point type, but got torch.uint8'),
        (np.zeros((1, 3, 64, 64), np.float32), TypeError, 'a tensor of images, but got ndarray'),
        ([torch.zeros(3, 64, 64)], TypeError, 'a tensor of images, but got list'),
    ],
)
def test_bad_image(image, error, message, with_cp):
    with pytest.raises(error, match=message):
        FasterNet(TINY, with_cp=with_cp)(image)


def test_a_block_without_drop_path_adds_its_shortcut_and_no_product():
    """On a GPU a factor of ones takes a pass over the feature map in the backward pass, where timm has none."""
    for rate, name in ((0, 'AddBackward0'), (0.1, 'AddcmulBackward0')):
        block = FasterNet('t0', drop_path_rate=rate).stages[-1].blocks[-1]
        assert block(torch.rand(1, 320, 2, 2)).grad_fn.name() == name

"""The prediction: by hand for one block, by torch's own count for networks, and beside what timm has published."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmfasternet.benchmark.gpu.predict import (
    CARDS,
    FORMS,
    Work,
    block_operators,
    fit_published,
    floor_ms,
    network_work,
    predict,
    shares_of,
)
from mmfasternet.models import FasterNet

TINY = dict(embed_dims=8, depths=(1, 0, 1, 0), act_cfg=dict(type='GELU'))
CARDS_OF_TIMM = ('rtx4090', 'rtx5090')


def block_us(channels: int, pixels: int, form: str) -> float:
    """A block's floor on an H100 in half precision."""
    elements = channels * pixels
    works = [
        Work(
            (kernel.reads + kernel.writes) * elements + kernel.weights * channels**2,
            kernel.weights * channels * elements,
        )
        for kernel in block_operators(form)
    ]
    return 1000 * floor_ms(works, CARDS['h100'])


def test_each_kernel_by_hand():
    """Two images of 32 × 32: a feature map has 2 · 8 · 8 · 8 = 1024 elements, of 128 pixels."""
    works = list(network_work(TINY, 'eager', (32, 32), batch=2))
    assert [(work.elements, work.flops) for work in works[:13]] == [
        (6144 + 1024 + 384, 384 * 128),  # the embedding reads three channels of 2 · 32 · 32 pixels
        (2048, 0),  # its norm
        (512, 0),  # the copy of two of eight channels
        (512 + 36, 36 * 128),  # 3 · 3 · 2 · 2 weights
        (2048, 0),
        (1024 + 2048 + 128, 128 * 128),
        (4096, 0),
        (4096, 0),
        (2048 + 1024 + 128, 128 * 128),
        (3072, 0),
        (2048, 0),  # the norm of the output
        (1024 + 512 + 512, 512 * 32),  # merging: 2 · 2 · 8 · 16 weights, 32 pixels
        (1024, 0),
    ]
    products = list(network_work(TINY, 'products', (32, 32), batch=2, out_norm=False))
    # The activation, a GELU, is a kernel; norm and shortcut are none.
    assert [work.elements for work in products[2:8]] == [512, 548, 2048, 3200, 4096, 4096 + 128]


def test_a_pconv_of_all_channels_copies_nothing():
    assert [kernel.name for kernel in block_operators('max-autotune', partial_ratio=1)][0] == '3×3 convolution'
    (work, *_) = list(network_work(dict(TINY, partial_ratio=1.0), 'eager', (32, 32), batch=2))[2:]
    assert (work.elements, work.flops) == (2048 + 9 * 64, 9 * 64 * 128)


@pytest.mark.parametrize(('arch', 'shape'), [('t0', (224, 224)), ('s', (227, 301)), (TINY, (64, 96))])
@pytest.mark.parametrize('form', FORMS)
def test_multiply_adds_and_weights_are_those_of_the_network(arch, shape, form):
    model = FasterNet(arch).to('meta').eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(2, 3, *shape, device='meta'))
    works = {batch: list(network_work(arch, form, shape, batch)) for batch in (1, 2)}
    assert sum(work.flops for work in works[2]) == pytest.approx(counter.get_total_flops() / 2)
    # Everything but the weights doubles with the batch, the image too.
    elements = {batch: sum(work.elements for work in found) for batch, found in works.items()}
    odd = shape[0] % 4 or shape[1] % 4
    weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Conv2d))
    assert 2 * elements[1] - elements[2] == pytest.approx(weights, rel=1e-6 if odd else 1e-9)


@pytest.mark.parametrize(
    ('channels', 'size', 'ten', 'twenty'),
    [(128, 56, 685, 1370), (256, 28, 344, 687), (512, 14, 196, 382), (1024, 7, 172, 266)],
)
def test_floor_of_a_block_of_s(channels, size, ten, twenty):
    """Batch 256: 128 channels are bound by memory, 1024 by the products alone."""
    pixels = 256 * size * size
    assert block_us(channels, pixels, 'max-autotune') == pytest.approx(ten, abs=1)
    assert block_us(channels, pixels, 'eager') == pytest.approx(twenty, abs=1)


def test_floor_is_the_slower_of_memory_and_products():
    card = CARDS['rtx4090']
    assert floor_ms([Work(0.46e9, 0)], card) == pytest.approx(1)
    assert floor_ms([Work(0.46e9, 0)], card, value_bytes=4) == pytest.approx(2)
    assert floor_ms([Work(0.46e9, 165e9)], card, share=0.5) == pytest.approx(4)
    assert floor_ms([Work(1, 1), Work(0.46e9, 0)], card, launch_ms=0.25) == pytest.approx(1.25)


@pytest.mark.parametrize('card', CARDS_OF_TIMM)
@pytest.mark.parametrize(('mode', 'worst'), [('eager', 0.07), ('compiled', 0.10)])
def test_published_figures_are_met(card, mode, worst):
    found = fit_published(card, mode)
    assert len(found.errors) == 6 and max(map(abs, found.errors.values())) < worst
    # Nothing is faster than its floor, but for the rounding of the assumed ceilings.
    assert max(found.shares.values()) < 1.01


def test_the_default_mode_of_compile_writes_what_convolutions_compute():
    """The traffic of max-autotune explains timm's figures half as well."""
    for card in CARDS_OF_TIMM:
        errors = [
            max(map(abs, fit_published(card, 'compiled', form).errors.values()))
            for form in ('compiled', 'max-autotune')
        ]
        assert errors[0] < 0.6 * errors[1] and errors[1] < 0.22


def test_prediction():
    found = predict('t0', 'eager', batch=256)
    low, high = found.throughput
    assert 1000 * 256 / found.floor_ms * min(shares_of('eager')) == pytest.approx(low, rel=1e-3)
    assert low < high < 1000 * 256 / found.floor_ms
    # One small image is done before the next kernel could begin: 116 kernels of two microseconds.
    assert predict('t0', 'eager').fastest_ms == pytest.approx(0.232)
    assert predict('s', 'fused').throughput is None and shares_of('fused') == []
    # Stages of more channels than the fused kernel takes are products.
    assert predict('s', 'fused').launches == 102 - 4 * (1 + 2)

"""PConv alone, as somebody else's network would use it."""

from fractions import Fraction

import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn

from mmfasternet import PConv
from mmfasternet.models.pconv import num_convolved

NEW_TORCH = torch.__version__ >= '2.6'
needs_new_torch = pytest.mark.skipif(not NEW_TORCH, reason='torch before 2.6 exports without dynamic_shapes')

SHAPES = [(2, 8, 9, 11), (3, 8, 20, 14)]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def equal_full_convolution(pconv: PConv) -> nn.Conv2d:
    """A convolution of all channels that is the identity on those that PConv passes through."""
    conv = pconv.partial_conv3
    full = nn.Conv2d(
        pconv.channels, pconv.channels, conv.kernel_size, padding=conv.padding, dilation=conv.dilation, bias=False
    )
    middle = conv.kernel_size[0] // 2
    with torch.no_grad():
        full.weight.zero_()
        full.weight[range(pconv.channels), range(pconv.channels), middle, middle] = 1
        full.weight[: pconv.conv_channels] = 0
        full.weight[: pconv.conv_channels, : pconv.conv_channels] = conv.weight
    return full


def values_and_gradients(module: nn.Module, pconv: PConv, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients of one fixed function of it with respect to input and weight."""
    x = x.clone().requires_grad_()
    pconv.zero_grad()
    out = module(x)
    direction = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    (out * direction).sum().backward()
    return out.detach(), x.grad, pconv.partial_conv3.weight.grad.clone()


def assert_equal_to_eager(module: nn.Module, pconv: PConv, tolerance: float = 1e-4) -> None:
    for shape in SHAPES:
        x = torch.rand(shape)
        found, expected = values_and_gradients(module, pconv, x), values_and_gradients(pconv, pconv, x)
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    ('channels', 'ratio', 'kernel_size', 'dilation', 'convolved'),
    [
        (8, 1 / 4, 3, 1, 2),
        (40, 1 / 4, 3, 1, 10),
        (10, 1 / 3, 5, 1, 3),
        (7, 1 / 2, 3, 2, 3),
        (7, Fraction(2, 7), 1, 1, 2),
        (6, 0.99, 7, 3, 5),
        (5, 1, 3, 1, 5),
    ],
)
def test_equals_full_convolution_with_identity(channels, ratio, kernel_size, dilation, convolved):
    pconv = PConv(channels, ratio, kernel_size, dilation)
    full = equal_full_convolution(pconv)
    x = torch.randn(2, channels, 13, 17)
    out = pconv(x)
    assert pconv.conv_channels == convolved
    assert tuple(pconv.partial_conv3.weight.shape) == (convolved, convolved, kernel_size, kernel_size)
    torch.testing.assert_close(out, full(x))
    assert torch.equal(out[:, convolved:], x[:, convolved:])

    _, gradient, weight_gradient = values_and_gradients(pconv, pconv, x)
    copy = x.clone().requires_grad_()
    (full(copy) * torch.linspace(-1, 1, x.numel()).reshape(x.shape)).sum().backward()
    torch.testing.assert_close(gradient, copy.grad)
    torch.testing.assert_close(weight_gradient, full.weight.grad[:convolved, :convolved], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('ratio', [1 / 4, 1])
def test_in_place_gives_the_same(ratio):
    pconv, x = PConv(8, ratio), torch.randn(2, 8, 9, 11)
    with torch.no_grad():
        expected = pconv(x)
        out = pconv.convolve_in_place(x)
    assert out is x
    torch.testing.assert_close(x, expected)


def test_input_is_not_changed():
    x = torch.randn(1, 8, 5, 5)
    copy = x.clone()
    PConv(8)(x)
    assert torch.equal(x, copy)


@pytest.mark.parametrize('parts', [1, 2, 3, 4, 7, 8, 49])
def test_convolves_floor_of_ratio(parts):
    assert [num_convolved(c, 1 / parts) for c in range(parts, 1000)] == [c // parts for c in range(parts, 1000)]


@pytest.mark.parametrize(('channels', 'ratio', 'convolved'), [(100, 0.29, 29), (1000, 0.001, 1), (10, 0.999, 9)])
def test_convolves_floor_of_decimal_ratio(channels, ratio, convolved):
    assert num_convolved(channels, ratio) == convolved


def test_costs_are_those_of_the_paper():
    pconv = PConv(64, 1 / 4, kernel_size=5)
    assert pconv.flops(14, 20) == 14 * 20 * 5**2 * 16**2  # Eq. 4
    assert pconv.memory_accesses(14, 20) == 14 * 20 * 2 * 16 + 5**2 * 16**2  # Eq. 5
    # At the usual ratio, a sixteenth of a regular convolution's.
    assert 16 * PConv(64).flops(56, 56) == 56 * 56 * 3**2 * 64**2


@pytest.mark.parametrize('dilation', [1, 2])
def test_flops_are_the_multiply_adds_that_an_analyzer_counts(dilation):
    pconv = PConv(24, 1 / 3, kernel_size=3, dilation=dilation)
    assert FlopAnalyzer(pconv, torch.rand(1, 24, 14, 20)).total() == pconv.flops(14, 20)


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(channels=0), ValueError, 'channels must be at least 1'),
        (dict(channels=8.0), TypeError, 'channels must be an int'),
        (dict(channels='8'), TypeError, 'channels must be an int'),
        (dict(channels=True), TypeError, 'channels must be an int'),
        (dict(partial_ratio=0), ValueError, r'partial_ratio must be in \(0, 1\], but got 0'),
        (dict(partial_ratio=-0.25), ValueError, r'partial_ratio must be in \(0, 1\]'),
        (dict(partial_ratio=4), ValueError, r'partial_ratio must be in \(0, 1\], but got 4'),
        (dict(partial_ratio=float('nan')), ValueError, 'partial_ratio must be finite'),
        (dict(partial_ratio='1/4'), TypeError, 'partial_ratio must be a number'),
        (dict(partial_ratio=None), TypeError, 'partial_ratio must be a number'),
        (dict(partial_ratio=0.1), ValueError, 'partial_ratio=0.1 of 8 channels leaves none.* at least 1/8'),
        (dict(kernel_size=2), ValueError, 'kernel_size must be odd'),
        (dict(kernel_size=-3), ValueError, 'kernel_size must be at least 1'),
        (dict(kernel_size=(3, 3)), TypeError, 'kernel_size must be an int'),
        (dict(dilation=0), ValueError, 'dilation must be at least 1'),
        (dict(n_div=4), TypeError, 'n_div'),
    ],
)
def test_bad_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        PConv(**{'channels': 8, **arguments})


@pytest.mark.parametrize(
    ('shape', 'message'),
    [((8, 5, 5), r'shape \(N, 8, H, W\), but got 3 dimensions'), ((1, 9, 5, 5), 'made for 8 channels.* has 9')],
)
def test_bad_input(shape, message):
    with pytest.raises(ValueError, match=message):
        PConv(8)(torch.rand(shape))


def test_equals_eager_under_autocast():
    pconv = PConv(8)

    def autocast(x):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            return pconv(x)

    assert_equal_to_eager(autocast, pconv, tolerance=0.05)
    x = torch.rand(SHAPES[0])
    assert torch.equal(autocast(x)[:, 2:], x[:, 2:])


def test_equals_eager_under_compile():
    pconv = PConv(8)
    assert_equal_to_eager(torch.compile(pconv, dynamic=True, fullgraph=True), pconv)


def test_equals_eager_under_compile_with_batches_of_one():
    pconv = PConv(8)
    compiled = torch.compile(pconv, dynamic=True, options=dict(layout_optimization=False))
    for shape in [(1, 8, 9, 11), (1, 8, 20, 14)]:
        x = torch.rand(shape)
        torch.testing.assert_close(compiled(x), pconv(x))


@pytest.mark.parametrize('ratio', [1 / 4, 1])
def test_equals_eager_under_script(ratio):
    pconv = PConv(8, ratio)
    scripted = torch.jit.script(pconv)
    assert_equal_to_eager(scripted, pconv)
    with pytest.raises(torch.jit.Error, match='made for 8 channels'):
        scripted(torch.rand(1, 9, 5, 5))


def test_equals_eager_under_trace():
    pconv = PConv(8)
    assert_equal_to_eager(torch.jit.trace(pconv, torch.rand(1, 8, 6, 7)), pconv)


@needs_new_torch
def test_equals_eager_under_export():
    pconv = PConv(8)
    sizes = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    exported = torch.export.export(pconv, (torch.rand(2, 8, 6, 7),), dynamic_shapes=(sizes,))
    for shape in SHAPES:
        x = torch.rand(shape)
        torch.testing.assert_close(exported.module()(x), pconv(x))


@pytest.mark.parametrize('dynamo', [False, pytest.param(True, marks=needs_new_torch)])
def test_equals_eager_in_onnx(dynamo, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pconv = PConv(8).eval()
    path = str(tmp_path / 'pconv.onnx')
    sizes = {0: 'n', 2: 'h', 3: 'w'}
    if dynamo:
        options = dict(dynamo=True, dynamic_shapes=({k: torch.export.Dim(v) for k, v in sizes.items()},), verbose=False)
    else:
        options = dict(dynamic_axes={'x': sizes}, **(dict(dynamo=False) if NEW_TORCH else {}))
    torch.onnx.export(pconv, (torch.rand(2, 8, 6, 7),), path, input_names=['x'], **options)
    session = onnxruntime.InferenceSession(path)
    for shape in SHAPES:
        x = torch.rand(shape)
        (out,) = session.run(None, {'x': x.numpy()})
        torch.testing.assert_close(torch.from_numpy(out), pconv(x).detach())

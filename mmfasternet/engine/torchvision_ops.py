"""mmcv's operators, computed by torchvision and PyTorch."""

from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import torch
import torchvision  # noqa: F401, registers torch.ops.torchvision
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from mmfasternet.errors import UserError

__all__ = ['TorchvisionOps']


class TorchvisionOps(ModuleType):
    """A module to stand for ``mmcv._ext``.

    Its functions have the names, arguments and results of mmcv/ops/csrc/pytorch/pybind.cpp; most write into tensors
    that they are given. Half-precision inputs are computed in float32. It has every other name too, since mmcv.ops asks
    for all operators when it is imported, and refuses it when it is called.

    Args:
        name: The module's name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, self.__doc__)
        self.__spec__ = ModuleSpec(name, loader=None)

    def __getattr__(self, name: str) -> Any:
        # What Python itself asks of a module.
        if name.startswith('__'):
            raise AttributeError(name)
        return partial(_refuse, name)

    @staticmethod
    def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
        """Indices of the boxes that remain, highest score first."""
        boxes, scores = _widened(boxes, scores)
        # An offset of 1 counts the pixels of a box from x1 to x2 inclusive.
        return torch.ops.torchvision.nms(boxes + boxes.new_tensor([0, 0, offset, offset]), scores, iou_threshold)

    @staticmethod
    def roi_align_forward(
        input: Tensor,
        rois: Tensor,
        output: Tensor,
        argmax_y: Tensor,
        argmax_x: Tensor,
        aligned_height: int,
        aligned_width: int,
        spatial_scale: float,
        sampling_ratio: int,
        pool_mode: int,
        aligned: bool,
    ) -> None:
        """RoIAlign by averages (pool_mode 1), of maps in any memory format."""
        if pool_mode == 0:
            _refuse("RoIAlign with pool_mode='max'")
        maps, boxes = _widened(input, rois)
        size = (aligned_height, aligned_width)
        output.copy_(torch.ops.torchvision.roi_align(maps, boxes, spatial_scale, *size, sampling_ratio, aligned))

    @staticmethod
    def roi_align_backward(
        grad_output: Tensor,
        rois: Tensor,
        argmax_y: Tensor,
        argmax_x: Tensor,
        grad_input: Tensor,
        aligned_height: int,
        aligned_width: int,
        spatial_scale: float,
        sampling_ratio: int,
        pool_mode: int,
        aligned: bool,
    ) -> None:
        """Its gradient with respect to the maps."""
        grad, boxes = _widened(grad_output, rois)
        size = (aligned_height, aligned_width)
        grad_input.copy_(
            torch.ops.torchvision._roi_align_backward(
                grad, boxes, spatial_scale, *size, *grad_input.shape, sampling_ratio, aligned
            )
        )

    @staticmethod
    def sigmoid_focal_loss_forward(
        input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
    ) -> None:
        """The loss of every class (n, classes); a target of ``classes`` is the background."""
        output.copy_(_focal_loss(*_widened(input), target, weight, gamma, alpha))

    @staticmethod
    @torch.enable_grad()
    def sigmoid_focal_loss_backward(
        input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
    ) -> None:
        """The gradient of its sum."""
        logits = _widened(input.detach())[0].requires_grad_()
        loss = _focal_loss(logits, target, weight, gamma, alpha)
        grad_input.copy_(torch.autograd.grad(loss.sum(), logits)[0])

    @staticmethod
    def deform_conv_forward(
        input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **geometry: int
    ) -> None:
        """Deformable convolution, version 1."""
        output.copy_(_deform_conv(input, offset, weight, geometry))

    @staticmethod
    def deform_conv_backward_input(
        input: Tensor,
        offset: Tensor,
        grad_output: Tensor,
        grad_input: Tensor,
        grad_offset: Tensor,
        weight: Tensor,
        columns: Tensor,
        **geometry: int,
    ) -> None:
        """Its gradients with respect to the input and the offsets."""
        grads = _deform_conv_grads(grad_output, input, offset, weight, geometry)
        grad_input.copy_(grads['input'])
        grad_offset.copy_(grads['offset'])

    @staticmethod
    def deform_conv_backward_parameters(
        input: Tensor,
        offset: Tensor,
        grad_output: Tensor,
        grad_weight: Tensor,
        columns: Tensor,
        ones: Tensor,
        scale: float,
        **geometry: int,
    ) -> None:
        """Its gradient with respect to the weights."""
        # The weights' values don't enter into their gradient.
        grads = _deform_conv_grads(grad_output, input, offset, torch.zeros_like(grad_weight), geometry)
        grad_weight.add_(grads['weight'], alpha=scale)

    @staticmethod
    def modulated_deform_conv_forward(
        input: Tensor,
        weight: Tensor,
        bias: Tensor,
        ones: Tensor,
        offset: Tensor,
        mask: Tensor,
        output: Tensor,
        columns: Tensor,
        with_bias: bool,
        **geometry: int,
    ) -> None:
        """Deformable convolution, version 2: with a mask."""
        output.copy_(_deform_conv(input, offset, weight, geometry, mask, bias if with_bias else None))

    @staticmethod
    def modulated_deform_conv_backward(
        input: Tensor,
        weight: Tensor,
        bias: Tensor,
        ones: Tensor,
        offset: Tensor,
        mask: Tensor,
        columns: Tensor,
        grad_input: Tensor,
        grad_weight: Tensor,
        grad_bias: Tensor,
        grad_offset: Tensor,
        grad_mask: Tensor,
        grad_output: Tensor,
        with_bias: bool,
        **geometry: int,
    ) -> None:
        """Its gradients with respect to everything."""
        grads = _deform_conv_grads(grad_output, input, offset, weight, geometry, mask)
        targets = dict(input=grad_input, weight=grad_weight, offset=grad_offset, mask=grad_mask)
        if with_bias:
            targets['bias'] = grad_bias
        for name, target in targets.items():
            target.copy_(grads[name])

    @staticmethod
    def ms_deform_attn_forward(
        value: Tensor,
        value_spatial_shapes: Tensor,
        value_level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        im2col_step: int,
    ) -> Tensor:
        """Multi-scale deformable attention, by mmcv's own PyTorch form."""
        # Imported here, since mmcv.ops needs this module to be imported.
        from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

        value_, locations, weights = _widened(value, sampling_locations, attention_weights)
        return multi_scale_deformable_attn_pytorch(value_, value_spatial_shapes, locations, weights).to(value.dtype)

    @staticmethod
    @torch.enable_grad()
    def ms_deform_attn_backward(
        value: Tensor,
        value_spatial_shapes: Tensor,
        value_level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        grad_output: Tensor,
        grad_value: Tensor,
        grad_sampling_loc: Tensor,
        grad_attn_weight: Tensor,
        im2col_step: int,
    ) -> None:
        """Its gradients, for which it is computed again."""
        inputs = [tensor.detach().requires_grad_() for tensor in (value, sampling_locations, attention_weights)]
        value, locations, weights = inputs
        output = TorchvisionOps.ms_deform_attn_forward(
            value, value_spatial_shapes, value_level_start_index, locations, weights, im2col_step
        )
        targets = (grad_value, grad_sampling_loc, grad_attn_weight)
        for target, grad in zip(targets, torch.autograd.grad(output, inputs, grad_output), strict=True):
            target.copy_(grad)

    @staticmethod
    def get_compiler_version() -> str:
        """For reports about the environment."""
        return 'not compiled'

    @staticmethod
    def get_compiling_cuda_version() -> str:
        """For reports about the environment."""
        return 'not compiled'


def _refuse(name: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Refuse an operator that only mmcv's compiled ones have."""
    raise UserError(
        f'mmcv was installed without its compiled operators, and torchvision has no {name}; '
        'compile them (`make ops` in a clone of mmfasternet), or install an mmcv that has them'
    )


def _widened(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in float32, or in float64 if the first one is; not all kernels of torchvision have other types."""
    dtype = torch.float64 if tensors[0].dtype == torch.float64 else torch.float32
    return tuple(tensor.to(dtype) for tensor in tensors)


def _focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    """The loss of every class (n, classes); a target of ``classes`` is the background."""
    if weight.numel():
        _refuse('sigmoid_focal_loss with weights of classes')
    classes = torch.arange(logits.shape[1], device=logits.device)
    return sigmoid_focal_loss(logits, (target[:, None] == classes).to(logits), alpha, gamma)


# The geometry in the order of torchvision's arguments, by its names in mmcv's first and second deformable convolution.
_GEOMETRY = (
    ('dH', 'stride_h'),
    ('dW', 'stride_w'),
    ('padH', 'pad_h'),
    ('padW', 'pad_w'),
    ('dilationH', 'dilation_h'),
    ('dilationW', 'dilation_w'),
    ('group',),
    ('deformable_group',),
)


def _deform_arguments(
    input: Tensor, offset: Tensor, weight: Tensor, geometry: dict[str, int], mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor | int | bool, ...]:
    """The arguments of torchvision's deformable convolution and of its gradient."""
    numbers = (next(geometry[name] for name in names if name in geometry) for names in _GEOMETRY)
    use_mask = mask is not None
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    tensors = _widened(input, weight, offset, mask if use_mask else input.new_zeros(len(input), 1), bias)
    return *tensors, *numbers, use_mask


def _deform_conv(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    geometry: dict[str, int],
    mask: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    return torch.ops.torchvision.deform_conv2d(*_deform_arguments(input, offset, weight, geometry, mask, bias))


def _deform_conv_grads(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    geometry: dict[str, int],
    mask: Tensor | None = None,
) -> dict[str, Tensor]:
    arguments = _deform_arguments(input, offset, weight, geometry, mask, None)
    grads = torch.ops.torchvision._deform_conv2d_backward(*_widened(grad), *arguments)
    return dict(zip(('input', 'weight', 'offset', 'mask', 'bias'), grads, strict=True))

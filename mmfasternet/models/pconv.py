"""PConv, the operator that FasterNet is built of."""

import math

import torch
from torch import Tensor, nn

from .arguments import as_integer, check_number

__all__ = ['PConv', 'num_convolved']


def num_convolved(channels: int, partial_ratio: float) -> int:
    """Compute how many channels a PConv convolves: ``floor(channels * partial_ratio)``.

    Args:
        channels: Channels of the feature map.
        partial_ratio: Share of the channels to convolve, in (0, 1].

    Returns:
        The number of convolved channels, at least 1.

    Raises:
        ValueError: If the ratio is outside (0, 1] or leaves no channel to convolve.
        TypeError: If the ratio is not a number.

    Example:
        >>> num_convolved(40, 1 / 4)
        10
    """
    check_number('partial_ratio', partial_ratio)
    if not 0 < partial_ratio <= 1:
        raise ValueError(f'partial_ratio must be in (0, 1], but got {partial_ratio}')
    # 100 * 0.29 is 28.999…: without the small term, such a whole product would lose a channel.
    convolved = math.floor(channels * partial_ratio + 1e-6)
    if convolved < 1:
        raise ValueError(
            f'partial_ratio={partial_ratio} of {channels} channels leaves none to convolve; '
            f'use a ratio of at least 1/{channels}'
        )
    return convolved


class PConv(nn.Module):
    """Partial convolution of FasterNet: convolve the first channels, pass the others through.

    ::

        x ─┬─ first ⌊c·ratio⌋ channels ── k×k convolution ─┬─ concatenate ── y
           └─ the other channels, unchanged ───────────────┘

    This is the PConv of *Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks* (CVPR 2023,
    https://arxiv.org/abs/2303.03667), section 3.2 and Fig. 4, not the mask-aware "partial convolution" of image
    inpainting. Its convolution has stride 1 and no bias, and keeps height and width. The layer works in any network.

    For ``torch.compile`` with batches of one image of varying size, pass ``options=dict(layout_optimization=False)``:
    Inductor can't sort the strides of a convolution of a part of the channels.

    Args:
        channels: Channels c of input and output.
        partial_ratio: Share of the channels to convolve, in (0, 1]. Defaults to 1/4.
        kernel_size: Kernel size k, odd. Defaults to 3.
        dilation: Dilation of the kernel. Defaults to 1.

    Raises:
        ValueError: If an argument is out of its range, or the input is not an (N, c, H, W) feature map.
        TypeError: If a size is not an integer, or the ratio is not a number.

    Example:
        >>> import torch
        >>> pconv = PConv(64)
        >>> pconv(torch.rand(2, 64, 56, 56)).shape
        torch.Size([2, 64, 56, 56])
        >>> pconv.flops(56, 56), pconv.memory_accesses(56, 56)
        (7225344, 102656)
    """

    def __init__(self, channels: int, partial_ratio: float = 1 / 4, kernel_size: int = 3, dilation: int = 1) -> None:
        super().__init__()
        channels = as_integer('channels', channels, 1)
        kernel_size = as_integer('kernel_size', kernel_size, 1)
        dilation = as_integer('dilation', dilation, 1)
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, so that height and width are kept, but got {kernel_size}')
        self.channels = channels
        self.conv_channels = num_convolved(channels, partial_ratio)
        self.pass_channels = channels - self.conv_channels
        # The authors' name: the keys of released checkpoints contain it.
        self.partial_conv3 = nn.Conv2d(
            self.conv_channels,
            self.conv_channels,
            kernel_size,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the partial convolution.

        Args:
            x: Feature map of shape (N, channels, H, W).

        Returns:
            Feature map of the same shape.
        """
        if x.dim() != 4:
            raise ValueError(
                f'PConv takes a feature map of shape (N, {self.channels}, H, W), but got {x.dim()} dimensions'
            )
        # While tracing, sizes are tensors, and comparing them would only warn.
        if not torch.jit.is_tracing() and x.shape[1] != self.channels:
            raise ValueError(f'PConv was made for {self.channels} channels, but the input has {x.shape[1]}')
        if self.pass_channels == 0:
            return self.partial_conv3(x)
        convolved, passed = torch.split(x, [self.conv_channels, self.pass_channels], dim=1)
        return torch.cat((self.partial_conv3(convolved), passed), dim=1)

    def convolve_in_place(self, x: Tensor) -> Tensor:
        """Compute the partial convolution by overwriting the input, which saves copying the other channels.

        The values are those of :meth:`forward`. Only for inference, and where nothing else needs ``x``: autograd may
        need the channels that are overwritten.

        Args:
            x: Feature map of shape (N, channels, H, W). Its first channels are overwritten.

        Returns:
            The same tensor.

        Example:
            >>> import torch
            >>> pconv, x = PConv(8), torch.rand(1, 8, 5, 5)
            >>> with torch.no_grad():
            ...     y = pconv(x)
            ...     bool((pconv.convolve_in_place(x) == y).all()), bool((x == y).all())
            (True, True)
        """
        convolved = x[:, : self.conv_channels]
        convolved.copy_(self.partial_conv3(convolved))
        return x

    def flops(self, height: int, width: int) -> int:
        """Count the multiply-adds for one feature map: h·w·k²·c_p² (the paper's Eq. 4).

        Args:
            height: Height h of the feature map in pixels.
            width: Width w of the feature map in pixels.

        Returns:
            Number of multiply-adds.
        """
        return height * width * self.partial_conv3.weight.numel()

    def memory_accesses(self, height: int, width: int) -> int:
        """Count the elements read and written for one feature map: h·w·2·c_p + k²·c_p² (the paper's Eq. 5).

        Channels that pass through need no access and are not counted.

        Args:
            height: Height h of the feature map in pixels.
            width: Width w of the feature map in pixels.

        Returns:
            Number of elements.
        """
        return height * width * 2 * self.conv_channels + self.partial_conv3.weight.numel()

    def extra_repr(self) -> str:
        return f'channels={self.channels}, convolved={self.conv_channels}'

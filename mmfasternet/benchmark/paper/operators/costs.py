"""What the operators of the paper's section 3 cost for a map, in whole numbers (Eq. 2 to 7)."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    'Cost',
    'conv_cost',
    'dwconv_cost',
    'dwconv_pwconv_cost',
    'pconv_cost',
    'pconv_pwconv_cost',
    'pwconv_cost',
    'tconv_cost',
    'width_for',
]


@dataclass(frozen=True)
class Cost:
    """What an operator costs for one map.

    Args:
        flops: Multiply-adds.
        map_accesses: Elements of maps that are read and written.
        weights: Elements of weights that are read, once for all maps of a batch.
    """

    flops: int
    map_accesses: int
    weights: int

    def __add__(self, other: 'Cost') -> 'Cost':
        """The cost of one operator and then another."""
        return Cost(self.flops + other.flops, self.map_accesses + other.map_accesses, self.weights + other.weights)

    def memory_accesses(self, batch: int = 1) -> int:
        """Elements that are read and written for a batch.

        Args:
            batch: Maps in the batch. Defaults to 1, for which the paper gives its equations.

        Returns:
            Number of elements.
        """
        return batch * self.map_accesses + self.weights


def conv_cost(channels: int, height: int, width: int, kernel_size: int = 3, groups: int = 1) -> Cost:
    """A convolution: h·w·k²·c²/g multiply-adds and h·w·2c + k²·c²/g memory accesses (Eq. 3 with g = 1).

    Args:
        channels: Channels c of input and output.
        height: Height h of the map in pixels.
        width: Width w of the map in pixels.
        kernel_size: Kernel size k. Defaults to 3.
        groups: Groups g. Defaults to 1.

    Returns:
        The cost.

    Raises:
        ValueError: If the groups don't divide the channels.

    Example:
        >>> conv_cost(96, 56, 56).flops
        260112384
    """
    if channels % groups:
        raise ValueError(f'{groups} groups do not divide {channels} channels')
    weights = kernel_size**2 * channels * (channels // groups)
    return Cost(height * width * weights, height * width * 2 * channels, weights)


def dwconv_cost(channels: int, height: int, width: int, kernel_size: int = 3) -> Cost:
    """A depthwise convolution: h·w·k²·c' multiply-adds and h·w·2c' + k²·c' memory accesses (Eq. 2).

    Args:
        channels: Channels c' of input and output.
        height: Height h of the map in pixels.
        width: Width w of the map in pixels.
        kernel_size: Kernel size k. Defaults to 3.

    Returns:
        The cost.

    Example:
        >>> dwconv_cost(96, 56, 56)
        Cost(flops=2709504, map_accesses=602112, weights=864)
    """
    return conv_cost(channels, height, width, kernel_size, groups=channels)


def pwconv_cost(channels: int, height: int, width: int) -> Cost:
    """A pointwise convolution: h·w·c² multiply-adds and h·w·2c + c² memory accesses (Eq. 3 with k = 1).

    Args:
        channels: Channels c of input and output.
        height: Height h of the map in pixels.
        width: Width w of the map in pixels.

    Returns:
        The cost.

    Example:
        >>> pwconv_cost(96, 56, 56).flops
        28901376
    """
    return conv_cost(channels, height, width, kernel_size=1)


def pconv_cost(convolved: int, height: int, width: int, kernel_size: int = 3) -> Cost:
    """A PConv: h·w·k²·c_p² multiply-adds (Eq. 4) and h·w·2c_p + k²·c_p² memory accesses (Eq. 5).

    Args:
        convolved: Channels c_p that are convolved; the others cost nothing.
        height: Height h of the map in pixels.
        width: Width w of the map in pixels.
        kernel_size: Kernel size k. Defaults to 3.

    Returns:
        The cost.

    Example:
        >>> conv_cost(96, 56, 56).flops // pconv_cost(24, 56, 56).flops
        16
    """
    return conv_cost(convolved, height, width, kernel_size)


def tconv_cost(channels: int, convolved: int, height: int, width: int, kernel_size: int = 3) -> Cost:
    """A T-shaped convolution: h·w·(k²·c_p·c + c·(c − c_p)) multiply-adds (Eq. 6).

    The paper gives no memory accesses. Here each element of both maps and of the weights counts once.

    Args:
        channels: Channels c of input and output.
        convolved: Channels c_p of the input that are convolved k×k; the others are convolved 1×1.
        height: Height h of the map in pixels.
        width: Width w of the map in pixels.
        kernel_size: Kernel size k. Defaults to 3.

    Returns:
        The cost.

    Example:
        >>> tconv_cost(96, 24, 56, 56).flops
        86704128
    """
    weights = kernel_size**2 * convolved * channels + channels * (channels - convolved)
    return Cost(height * width * weights, height * width * 2 * channels, weights)


def pconv_pwconv_cost(channels: int, convolved: int, height: int, width: int, kernel_size: int = 3) -> Cost:
    """A PConv and then a PWConv: h·w·(k²·c_p² + c²) multiply-adds (Eq. 7).

    Args:
        channels: Channels c of input and output.
        convolved: Channels c_p that the PConv convolves.
        height: Height h of the map in pixels.
        width: Width w of the map in pixels.
        kernel_size: Kernel size k of the PConv. Defaults to 3.

    Returns:
        The cost.

    Example:
        >>> pconv_pwconv_cost(96, 24, 56, 56).flops
        45158400
    """
    return pconv_cost(convolved, height, width, kernel_size) + pwconv_cost(channels, height, width)


def dwconv_pwconv_cost(channels: int, height: int, width: int, kernel_size: int = 3) -> Cost:
    """A DWConv and then a PWConv: h·w·(k²·c' + c'²) multiply-adds.

    Args:
        channels: Channels c' of input and output.
        height: Height h of the map in pixels.
        width: Width w of the map in pixels.
        kernel_size: Kernel size k of the DWConv. Defaults to 3.

    Returns:
        The cost.

    Example:
        >>> dwconv_pwconv_cost(116, 56, 56).flops
        45472000
    """
    return dwconv_cost(channels, height, width, kernel_size) + pwconv_cost(channels, height, width)


def width_for(flops: int, flops_of: Callable[[int], int], step: int = 1) -> int:
    """The width at which multiply-adds are nearest to a number.

    Args:
        flops: Multiply-adds to come near to.
        flops_of: Width → multiply-adds, which grow with the width.
        step: What the width must be a multiple of. Defaults to 1.

    Returns:
        The width, at least ``step``.

    Example:
        >>> width_for(pconv_pwconv_cost(96, 24, 56, 56).flops, lambda width: dwconv_pwconv_cost(width, 56, 56).flops)
        116
    """
    highest = step
    while flops_of(highest) < flops:
        highest *= 2
    widths = range(step, highest + step, step)
    above = bisect_left(widths, flops, key=flops_of)
    return min(widths[max(0, above - 1) : above + 1], key=lambda width: abs(flops_of(width) - flops))

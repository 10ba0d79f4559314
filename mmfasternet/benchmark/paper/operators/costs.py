"""What the operators of the paper's section 3 cost for one feature map, as integers (Eq. 2 to 7)."""

from dataclasses import dataclass

__all__ = ['Cost', 'conv_cost', 'dwconv_cost', 'pconv_cost', 'pwconv_cost', 'tconv_cost']


@dataclass(frozen=True)
class Cost:
    """Multiply-adds, elements of feature maps that are read and written, and elements of weights that are read."""

    flops: int
    map_accesses: int
    weights: int

    def __add__(self, other: 'Cost') -> 'Cost':
        """The cost of one operator and then another."""
        return Cost(self.flops + other.flops, self.map_accesses + other.map_accesses, self.weights + other.weights)

    def memory_accesses(self, batch: int = 1) -> int:
        """Elements that are read and written for a batch, which reads the weights once; the equations are for 1."""
        return batch * self.map_accesses + self.weights


def conv_cost(channels: int, height: int, width: int, kernel_size: int = 3, groups: int = 1) -> Cost:
    """A convolution: h·w·k²·c²/g multiply-adds and h·w·2c + k²·c²/g memory accesses (Eq. 3 with g = 1)."""
    if channels % groups:
        raise ValueError(f'{groups} groups do not divide {channels} channels')
    weights = kernel_size**2 * channels * (channels // groups)
    return Cost(height * width * weights, height * width * 2 * channels, weights)


def dwconv_cost(channels: int, height: int, width: int, kernel_size: int = 3) -> Cost:
    """A depthwise convolution: h·w·k²·c' multiply-adds and h·w·2c' + k²·c' memory accesses (Eq. 2)."""
    return conv_cost(channels, height, width, kernel_size, groups=channels)


def pwconv_cost(channels: int, height: int, width: int) -> Cost:
    """A pointwise convolution: h·w·c² multiply-adds and h·w·2c + c² memory accesses (Eq. 3 with k = 1)."""
    return conv_cost(channels, height, width, kernel_size=1)


def pconv_cost(convolved: int, height: int, width: int, kernel_size: int = 3) -> Cost:
    """A PConv of c_p channels: h·w·k²·c_p² multiply-adds (Eq. 4) and h·w·2c_p + k²·c_p² memory accesses (Eq. 5).

    With the cost of a pointwise convolution added it is Eq. 7.
    """
    return conv_cost(convolved, height, width, kernel_size)


def tconv_cost(channels: int, convolved: int, height: int, width: int, kernel_size: int = 3) -> Cost:
    """A T-shaped convolution: h·w·(k²·c_p·c + c·(c − c_p)) multiply-adds (Eq. 6).

    The paper gives no memory accesses. Here each element of both maps and of the weights counts once.
    """
    weights = kernel_size**2 * convolved * channels + channels * (channels - convolved)
    return Cost(height * width * weights, height * width * 2 * channels, weights)

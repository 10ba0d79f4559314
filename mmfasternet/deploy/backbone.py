"""FasterNet optimized for inference: norms folded, and blocks that overwrite their input."""

import torch
from torch import Tensor, nn

from mmfasternet.models import FasterNet
from mmfasternet.models.arguments import check_image
from mmfasternet.models.fasternet import FasterNetBlock

from .cuda import compute_by_products, has_products_for
from .fold import fold_norm_after, is_foldable
from .packed import PackedConv, as_rows, is_packed_for, is_product_faster

__all__ = ['OptimizedFasterNet', 'has_hooks']

# Bytes of hidden channels in a tile. On two cores with 32 MB of third-level cache, 2 to 16 MiB are equally fast;
# smaller tiles lose up to a tenth to the calls, and complete maps of 800 × 1280 pixels as much to memory accesses.
_TILE = 4 * 2**20
# A product's activation reads them once more: nearer to the second-level cache is faster.
_PRODUCT_TILE = 2**20


class _OptimizedBlock(nn.Module):
    """A block that overwrites its input, on the CPU tile by tile.

    With x₁ the convolved channels of x, and x₂ the others, a block computes mlp([PConv(x₁), x₂]) + x. Writing
    p = PConv(x₁) over x₁ replaces the concatenation, and destroys a quarter of the shortcut. The difference
    d = x₁ − p, a quarter of the feature map, is kept and added at the end.

    Everything after the 3×3 convolution works on one pixel at a time. Large feature maps are processed in tiles of
    pixels, so that the hidden channels, twice as many as the map's, stay in the cache.

    On a GPU, where each operator is a launch, the concatenation is cheaper than these copies.
    """

    def __init__(self, block: FasterNetBlock) -> None:
        super().__init__()
        expand, norm, activation, project = block.mlp
        self.conv_channels = block.spatial_mixing.conv_channels
        self.partial_conv3 = PackedConv(block.spatial_mixing.partial_conv3)
        expand, norm = _fold(expand, norm)
        self.expand = PackedConv(expand, activation if norm is None else None)
        self.norm_act = nn.Identity() if norm is None else nn.Sequential(norm, activation)
        self.by_products = norm is None and is_product_faster(expand.in_channels)
        # A norm that is not folded may need the complete map. A value has four bytes.
        tile = _PRODUCT_TILE if self.by_products else _TILE
        self.max_pixels = max(1, tile // (4 * expand.out_channels)) if norm is None else None
        if block.layer_scale is not None:
            project.weight.data *= block.layer_scale.data.reshape(-1, 1, 1, 1)
        self.project = PackedConv(project)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != 'cpu':
            return self.forward_on_gpu(x.contiguous(memory_format=torch.channels_last))
        p = self.partial_conv3(x[:, : self.conv_channels])
        for tile, p_tile in zip(self.tiles(x), self.tiles(p), strict=True):
            convolved = tile[:, : self.conv_channels]
            lost = convolved - p_tile
            convolved.copy_(p_tile)
            self.add_mlp(tile)
            convolved += lost
        return x

    def add_mlp(self, x: Tensor) -> None:
        """Add what the 1×1 convolutions make of a feature map to it."""
        if self.by_products and is_packed_for(x):
            pixels = as_rows(x)
            hidden = torch.addmm(self.expand.conv.bias, pixels, self.expand.columns())
            pixels.addmm_(self.expand.activate(hidden), self.project.columns())
        else:
            self.project.add_to(x, self.norm_act(self.expand(x)))

    def forward_on_gpu(self, x: Tensor) -> Tensor:
        if isinstance(self.norm_act, nn.Identity) and has_products_for(x):
            return compute_by_products(x, self.partial_conv3, self.expand, self.project)
        mixed = self.partial_conv3(x[:, : self.conv_channels])
        if self.conv_channels < x.shape[1]:
            mixed = torch.cat((mixed, x[:, self.conv_channels :]), dim=1)
        return x + self.project(self.norm_act(self.expand(mixed)))

    def tiles(self, x: Tensor) -> list[Tensor]:
        """Views of the map that hold at most ``max_pixels`` each."""
        n, c, h, w = x.shape
        if self.max_pixels is None or not is_packed_for(x) or n * h * w <= self.max_pixels:
            return [x]
        pixels = x.permute(0, 2, 3, 1).view(1, 1, -1, c)
        return [tile.permute(0, 3, 1, 2) for tile in pixels.split(self.max_pixels, dim=2)]


class _OptimizedStage(nn.Module):
    """The blocks of one resolution. Each is given a feature map that nothing else holds."""

    def __init__(self, blocks: nn.Sequential) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_OptimizedBlock(block) for block in blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = _call(block, x)
        return x


def has_hooks(module: nn.Module) -> bool:
    """Whether forward hooks are registered on a module.

    Args:
        module: Any module.

    Returns:
        True for hooks before or after its forward.

    Example:
        >>> has_hooks(nn.ReLU())
        False
    """
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _call(module: nn.Module, x: Tensor) -> Tensor:
    """Call a module. Its hooks may keep what they are given, so they get copies of what will be overwritten."""
    return module(x.clone()).clone() if has_hooks(module) else module(x)


class _ConvNorm(nn.Module):
    """A convolution and the norm after it, as one convolution where possible."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__()
        conv, self.norm = _fold(conv, norm)
        self.conv = PackedConv(conv)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)


def _fold(conv: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Module | None]:
    """The folded convolution and None, or both as they are."""
    return (fold_norm_after(conv, norm), None) if is_foldable(norm) else (conv, norm)


class OptimizedFasterNet(nn.Module):
    """What :func:`~mmfasternet.deploy.optimize_for_inference` makes of a FasterNet: the same feature maps, faster.

    Args:
        model: The backbone; it is taken apart, so pass a copy.
        contiguous: Whether the feature maps have the default memory format, which operators need that read memory
            without checking, such as mmcv's RoIAlign. Defaults to False, which means channels_last.

    Raises:
        RuntimeError: If an input requires gradients.

    Example:
        >>> optimized = OptimizedFasterNet(FasterNet('t0').eval())
        >>> [tuple(out.shape) for out in optimized(torch.rand(1, 3, 64, 96))]
        [(1, 40, 16, 24), (1, 80, 8, 12), (1, 160, 4, 6), (1, 320, 2, 3)]
    """

    def __init__(self, model: FasterNet, contiguous: bool = False) -> None:
        super().__init__()
        self.memory_format = torch.contiguous_format if contiguous else torch.channels_last
        self.in_channels = model.in_channels
        self.out_indices = model.out_indices
        self.patch_embed = _ConvNorm(model.patch_embed.proj, model.patch_embed.norm)
        self.stages = nn.ModuleList(
            _OptimizedStage(stage.blocks) if i % 2 == 0 else _ConvNorm(stage.reduction, stage.norm)
            for i, stage in enumerate(model.stages)
        )
        norms = model.output_norms or [nn.Identity() for _ in self.out_indices]
        # By the index of the stage. An Identity stands for a norm that is missing, or folded into the neck.
        self.output_norms = nn.ModuleDict({str(i): norm for i, norm in zip(self.out_indices, norms, strict=True)})
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of the chosen stages.

        Args:
            x: Images of shape (N, in_channels, H, W), H and W at least 32 pixels.

        Returns:
            One feature map per out index, as the backbone that it was made from gives them.
        """
        if not torch.jit.is_tracing():
            check_image(x, self.in_channels)
        if torch.is_grad_enabled() and x.requires_grad:
            raise RuntimeError(
                'a backbone optimized for inference overwrites its feature maps and gives no gradients: use the model '
                'that it was made from, or torch.no_grad()'
            )
        x = _call(self.patch_embed, x.contiguous(memory_format=torch.channels_last))
        outs = []
        for i, stage in enumerate(self.stages):
            # A merging layer only reads, so a map that is an output stays as it is.
            x = _call(stage, x)
            if str(i // 2) in self.output_norms and i % 2 == 0:
                outs.append(self.output_norms[str(i // 2)](x).contiguous(memory_format=self.memory_format))
        return tuple(outs)

"""FasterNet in its inference form: norms folded, and a PConv that neither clones nor concatenates."""

import torch
from torch import Tensor, nn

from mmfasternet.models import FasterNet
from mmfasternet.models.fasternet import FasterNetBlock, check_image

from .fold import fold_norm_after, is_foldable
from .packed import PackedConv, is_packed_for

__all__ = ['InferenceFasterNet']

# Bytes of hidden channels in a tile. On two cores with 32 MB of third-level cache, 2 to 16 MiB are equally fast;
# smaller tiles lose to the calls, whole maps of 800 × 1280 pixels to the memory, by up to a tenth.
TILE = 4 * 2**20


class InferenceBlock(nn.Module):
    """A block that writes over its input, tile by tile.

    With x₁ the convolved channels of x, and x₂ the others, a block computes mlp([PConv(x₁), x₂]) + x. Writing p =
    PConv(x₁) over x₁ makes the concatenation and destroys a quarter of the shortcut. What is lost is kept as
    d = x₁ − p, which is a quarter of the map, and added at the end.

    Everything behind the 3×3 convolution looks at one pixel at a time. Large maps are taken in tiles of pixels, so that
    the hidden channels, twice as many as the map's, stay in the cache.
    """

    def __init__(self, block: FasterNetBlock) -> None:
        super().__init__()
        expand, norm, activation, project = block.mlp
        self.split = block.spatial_mixing.conv_channels
        self.partial_conv3 = PackedConv(block.spatial_mixing.partial_conv3)
        expand, norm = fold(expand, norm)
        self.expand = PackedConv(expand, activation if norm is None else None)
        self.norm_act = nn.Identity() if norm is None else nn.Sequential(norm, activation)
        # A norm may look at the whole map.
        self.max_pixels = max(1, TILE // (4 * expand.out_channels)) if norm is None else None
        if block.layer_scale is not None:
            project.weight.data *= block.layer_scale.data.reshape(-1, 1, 1, 1)
        self.project = PackedConv(project)

    def forward(self, x: Tensor) -> Tensor:
        p = self.partial_conv3(x[:, : self.split])
        for tile, p_tile in zip(self.tiles(x), self.tiles(p), strict=True):
            convolved = tile[:, : self.split]
            lost = convolved - p_tile
            convolved.copy_(p_tile)
            self.project.add_to(tile, self.norm_act(self.expand(tile)))
            convolved += lost
        return x

    def tiles(self, x: Tensor) -> list[Tensor]:
        """Views of the map that hold at most ``max_pixels`` each."""
        n, c, h, w = x.shape
        if self.max_pixels is None or not is_packed_for(x) or n * h * w <= self.max_pixels:
            return [x]
        pixels = x.permute(0, 2, 3, 1).view(1, 1, -1, c)
        return [tile.permute(0, 3, 1, 2) for tile in pixels.split(self.max_pixels, dim=2)]


class InferenceStage(nn.Module):
    """The blocks of one resolution. Each is given a map that nobody else holds."""

    def __init__(self, blocks: nn.Sequential) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(InferenceBlock(block) for block in blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = call(block, x)
        return x


def has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def call(module: nn.Module, x: Tensor) -> Tensor:
    """Call a module. Its hooks may keep what they are shown, and get copies of what will be written over."""
    return module(x.clone()).clone() if has_hooks(module) else module(x)


class Folded(nn.Module):
    """A convolution and the norm behind it, as one convolution where that can be done."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__()
        conv, self.norm = fold(conv, norm)
        self.conv = PackedConv(conv)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)


def fold(conv: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Module | None]:
    """The folded convolution and nothing, or both as they are."""
    return (fold_norm_after(conv, norm), None) if is_foldable(norm) else (conv, norm)


class InferenceFasterNet(nn.Module):
    """What :func:`~mmfasternet.deploy.optimize_for_inference` makes of a FasterNet: the same maps, sooner.

    Args:
        model: The backbone; it is taken apart, so give a copy.
        contiguous: Whether maps are handed out in the default memory format, as those who read their memory without
            asking need it: mmcv's RoIAlign does. Defaults to False, which means channels_last.

    Raises:
        RuntimeError: If it is given an input that asks for gradients.
    """

    def __init__(self, model: FasterNet, contiguous: bool = False) -> None:
        super().__init__()
        self.memory_format = torch.contiguous_format if contiguous else torch.channels_last
        self.in_channels = model.in_channels
        self.out_indices = model.out_indices
        self.patch_embed = Folded(model.patch_embed.proj, model.patch_embed.norm)
        self.stages = nn.ModuleList(
            InferenceStage(stage.blocks) if i % 2 == 0 else Folded(stage.reduction, stage.norm)
            for i, stage in enumerate(model.stages)
        )
        norms = model.output_norms or [nn.Identity() for _ in self.out_indices]
        # By the index of the stage; an Identity stands for a norm that the neck has taken over.
        self.output_norms = nn.ModuleDict({str(i): norm for i, norm in zip(self.out_indices, norms, strict=True)})
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of the chosen stages.

        Args:
            x: Images of shape (N, in_channels, H, W), H and W at least 32 pixels.

        Returns:
            One map per out index, as the backbone that it was made of.
        """
        if not torch.jit.is_tracing():
            check_image(x, self.in_channels)
        if torch.is_grad_enabled() and x.requires_grad:
            raise RuntimeError(
                'a backbone optimized for inference writes over its maps and gives no gradients: use the model it was '
                'made of, or torch.no_grad()'
            )
        x = call(self.patch_embed, x.contiguous(memory_format=torch.channels_last))
        outs = []
        for i, stage in enumerate(self.stages):
            # A merging only reads, so a map that is handed out stays as it is.
            x = call(stage, x)
            if str(i // 2) in self.output_norms and i % 2 == 0:
                outs.append(self.output_norms[str(i // 2)](x).contiguous(memory_format=self.memory_format))
        return tuple(outs)

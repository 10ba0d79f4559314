"""FasterNet in its inference form: norms folded, and a PConv that neither clones nor concatenates."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import FasterNet
from ..models.fasternet import FasterNetBlock, check_image
from .fold import fold_norm_after, is_foldable

__all__ = ['InferenceFasterNet']


class InferenceBlock(nn.Module):
    """A block that writes over its input.

    With x₁ the convolved channels of x, and x₂ the others, a block computes mlp([PConv(x₁), x₂]) + x. Writing p =
    PConv(x₁) over x₁ makes the concatenation and destroys a quarter of the shortcut. What is lost is kept as
    d = x₁ − p, which is a quarter of the map, and added at the end.
    """

    def __init__(self, block: FasterNetBlock) -> None:
        super().__init__()
        expand, norm, activation, project = block.mlp
        self.split = block.spatial_mixing.conv_channels
        self.partial_conv3 = block.spatial_mixing.partial_conv3
        self.expand, self.norm = fold(expand, norm)
        self.activation = activation
        self.project = project
        if block.layer_scale is not None:
            self.project.weight.data *= block.layer_scale.data.reshape(-1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        convolved = x[:, : self.split]
        p = self.partial_conv3(convolved)
        lost = convolved - p
        convolved.copy_(p)
        hidden = self.expand(x)
        if self.norm is not None:
            hidden = self.norm(hidden)
        hidden = F.relu_(hidden) if isinstance(self.activation, nn.ReLU) else self.activation(hidden)
        out = self.project(hidden)
        out += x
        out[:, : self.split] += lost
        return out


class InferenceStage(nn.Module):
    """The blocks of one resolution. Each is given a map that nobody else holds, but for hooks, which get a copy."""

    def __init__(self, blocks: nn.Sequential) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(InferenceBlock(block) for block in blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            # A hook may keep what it is shown, which the next block would write over.
            x = block(x.clone() if has_hooks(block) else x)
        return x


def has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


class Folded(nn.Module):
    """A convolution and the norm behind it, as one convolution where that can be done."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = fold(conv, norm)

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

    Raises:
        RuntimeError: If it is given an input that asks for gradients.
    """

    def __init__(self, model: FasterNet) -> None:
        super().__init__()
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
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
        outs = []
        for i, stage in enumerate(self.stages):
            # A merging only reads, so a map that is handed out stays as it is.
            x = stage(x)
            if str(i // 2) in self.output_norms and i % 2 == 0:
                outs.append(self.output_norms[str(i // 2)](x))
        return tuple(outs)

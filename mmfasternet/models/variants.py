"""The facts of every variant, once: its architecture and its released weights."""

from dataclasses import dataclass

__all__ = ['VARIANTS', 'Variant']

_RELEASE = 'https://github.com/JierunChen/FasterNet/releases/download/v1.0'


@dataclass(frozen=True)
class Variant:
    """A variant of FasterNet (Tables 6 to 8 of the paper).

    Args:
        label: What tables call it.
        embed_dims: Channels of stage 1, doubled at each stage.
        depths: Blocks of the four stages.
        act: Activation in the blocks.
        drop_path_rate: Stochastic depth rate: that of the detectors on COCO for S, M and L, of the classifiers on
            ImageNet for T0 to T2, which the paper trains no detector with.
        file: The authors' ImageNet weights, a file of their release v1.0.
    """

    label: str
    embed_dims: int
    depths: tuple[int, int, int, int]
    act: str
    drop_path_rate: float
    file: str

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the four feature maps."""
        return tuple(self.embed_dims * 2**stage for stage in range(4))

    @property
    def checkpoint(self) -> str:
        """URL of the authors' ImageNet weights."""
        return f'{_RELEASE}/{self.file}'

    @property
    def arch(self) -> dict:
        """What :class:`FasterNet` takes as its ``arch``."""
        return dict(
            embed_dims=self.embed_dims,
            depths=self.depths,
            act_cfg=dict(type='ReLU', inplace=True) if self.act == 'ReLU' else dict(type=self.act),
            drop_path_rate=self.drop_path_rate,
        )


VARIANTS = {
    't0': Variant('T0', 40, (1, 2, 8, 2), 'GELU', 0.0, 'fasternet_t0-epoch.281-val_acc1.71.9180.pth'),
    't1': Variant('T1', 64, (1, 2, 8, 2), 'GELU', 0.02, 'fasternet_t1-epoch.291-val_acc1.76.2180.pth'),
    't2': Variant('T2', 96, (1, 2, 8, 2), 'ReLU', 0.05, 'fasternet_t2-epoch.289-val_acc1.78.8860.pth'),
    's': Variant('S', 128, (1, 2, 13, 2), 'ReLU', 0.15, 'fasternet_s-epoch.299-val_acc1.81.2840.pth'),
    'm': Variant('M', 144, (3, 4, 18, 3), 'ReLU', 0.2, 'fasternet_m-epoch.291-val_acc1.82.9620.pth'),
    'l': Variant('L', 192, (3, 4, 18, 3), 'ReLU', 0.3, 'fasternet_l-epoch.299-val_acc1.83.5060.pth'),
}

"""The trained network that an experiment looks at: any config or network of timm, or a detector trained here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.comparison.runs import (
    Run,
    TrainingPlan,
    generate_data,
    train_in_turn,
    training_lock,
)
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.engine.build import build_model, load_model
from mmfasternet.errors import UserError
from mmfasternet.weights.reader import read_checkpoint
from mmfasternet.weights.state_dict import StateDict, load_exactly, unwrap

__all__ = [
    'QUICK_OPTIONS',
    'QUICK_SHAPES',
    'RGBNetwork',
    'Subject',
    'choose_subject',
    'digest',
    'generated_images',
    'record_maps',
    'train_once',
]

# The default is the detector that compare-trained trains; the quick form trains one for an epoch on a dozen images.
_OPTIONS = {'data_root': 'data/shapes/'}
QUICK_OPTIONS = {'data_root': 'data/paper_quick/', 'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1}
QUICK_SHAPES = dict(num_train=12, num_val=4)


class RGBNetwork(nn.Module):
    """A backbone or classifier in eval mode that takes RGB images as they are; mean and std are for 0 to 255."""

    def __init__(self, body: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], bgr: bool) -> None:
        super().__init__()
        self.body = body
        self.bgr = bgr
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> object:
        """What the network returns for RGB images of shape (N, 3, H, W), 0 to 255."""
        images = images.flip(1) if self.bgr else images
        return self.body((images.float() - self.mean) / self.std)


@dataclass(frozen=True)
class Subject:
    """The network that is looked at: the config of any model, or timm's name of a classifier, and its weights."""

    config: str | Path | None = None
    timm: str | None = None
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.config is None) == (self.timm is None):
            raise UserError('give the network either as --config or, by its name in timm, as --timm')
        if self.config and not self.checkpoint:
            raise UserError(f'{self.config} needs weights: give those that were trained with it as --checkpoint')

    @property
    def name(self) -> str:
        """What it is called."""
        return self.timm or Path(self.config).stem

    def build(self, trained: bool = True) -> RGBNetwork:
        """The backbone of the config's model, or timm's classifier, with its weights or with random ones of seed 0."""
        torch.manual_seed(0)
        return self._from_timm(trained) if self.timm else self._from_config(trained)

    def _from_config(self, trained: bool) -> RGBNetwork:
        cfg, model = build_model(self.config)
        if trained:
            load_model(model, self.checkpoint)
        else:
            # Where a training from random weights begins.
            model.backbone.init_weights()
        settings = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
        # The second is mmpretrain's name for it.
        rgb = settings.get('bgr_to_rgb', settings.get('to_rgb', False))
        return RGBNetwork(model.backbone, settings.get('mean', (0.0,)), settings.get('std', (1.0,)), not rgb)

    def _from_timm(self, trained: bool) -> RGBNetwork:
        if find_spec('timm') is None:
            raise UserError("--timm needs timm, which is not installed: pip install 'mmfasternet[compare]'")
        import timm

        if not timm.is_model(self.timm):
            raise UserError(f'timm has no network {self.timm!r}; timm.list_models() lists the names')
        try:
            model = timm.create_model(self.timm, pretrained=trained and not self.checkpoint)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f'timm cannot load the weights of {self.timm} ({error}); give a file of them as --checkpoint'
            ) from error
        if trained and self.checkpoint:
            found = unwrap(read_checkpoint(self.checkpoint), str(self.checkpoint))
            load_exactly(model, found, str(self.checkpoint), f"timm's {self.timm}")
        data = timm.data.resolve_model_data_config(model)
        mean, std = (tuple(255 * value for value in data[key]) for key in ('mean', 'std'))
        return RGBNetwork(model, mean, std, bgr=False)


def choose_subject(
    config: str | None, timm: str | None, checkpoint: str | None, default: str, quick: bool = False
) -> Subject:
    """The network that a tool's arguments ask for.

    Args:
        config: See :class:`Subject`.
        timm: See :class:`Subject`.
        checkpoint: See :class:`Subject`.
        default: Row of compare-trained that is trained if neither a config nor a name is given.
        quick: Whether that training is very short. Defaults to False.

    Returns:
        The network.

    Raises:
        UserError: If the arguments don't fit together, or the training fails.
    """
    if config or timm:
        return Subject(config, timm, checkpoint)
    if checkpoint:
        raise UserError(f'{checkpoint} needs its network: give the --config, or the name in timm as --timm')
    run = train_once(default, quick)
    return Subject(run.row.config_path, checkpoint=run.checkpoint())


def train_once(row: str, quick: bool = False) -> Run:
    """Train a detector of compare-trained with seed 0, unless that is done already.

    Args:
        row: Its name, such as 'trained_resnet18'.
        quick: Whether to train for one epoch on a dozen images, which shows that everything runs. Defaults to False.

    Returns:
        The training; its ``checkpoint()`` exists.

    Raises:
        UserError: If it fails.
    """
    plan = _plan(row, quick)
    (run,) = plan.runs()
    with training_lock(plan.out_dir) as lock:
        generate_data(plan)
        for _ in train_in_turn([run], [run], lock, test=False):
            pass
    return run


def generated_images(quick: bool = False) -> Path:
    """Generate the images that :func:`train_once` trains on, unless they exist.

    Args:
        quick: See :func:`train_once`. Defaults to False.

    Returns:
        Their folder.
    """
    plan = _plan('trained_resnet18', quick)
    generate_data(plan)
    return Path(plan.options['data_root']) / 'train'


def _plan(row: str, quick: bool) -> TrainingPlan:
    if quick:
        return TrainingPlan((find_row(row),), (0,), 'work_dirs/paper/quick', QUICK_OPTIONS, QUICK_SHAPES)
    return TrainingPlan((find_row(row),), (0,), 'work_dirs/compare_trained', _OPTIONS)


def digest(state_dict: StateDict) -> str:
    """What tells weights apart, wherever their file lies."""
    found = sha256()
    for key, value in state_dict.items():
        found.update(key.encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:8]


@contextmanager
def record_maps(layers: dict[str, nn.Module], keep: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Pass the input and output of layers to a function, whenever the network runs."""

    def hook(name: str, layer: nn.Module, inputs: tuple, output: object) -> None:
        # What a hook returns would replace the output.
        keep(name, inputs[0], output)

    handles = [layer.register_forward_hook(partial(hook, name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""The network that is studied: any config or network of timm with a checkpoint, or a detector trained here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.comparison.trained import Run, Study, generate, only_one, train, training_progress
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.engine.build import build_model, load_model
from mmfasternet.errors import UserError
from mmfasternet.weights.reader import read_checkpoint
from mmfasternet.weights.state_dict import CheckpointError, StateDict, compare, unwrap

__all__ = ['Network', 'Subject', 'choose_subject', 'digest', 'generated_pictures', 'record_maps', 'train_once']

# Folder of the study of backbones, whose trainings these are, its data and its settings; and all of it very small.
FULL = ('work_dirs/compare_trained', {'data_root': 'data/shapes/'}, {})
QUICK = (
    'work_dirs/paper/quick',
    {'data_root': 'data/paper_quick/', 'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1},
    dict(num_train=12, num_val=4),
)


class Network(nn.Module):
    """A backbone, or a whole classifier, in eval mode, that takes RGB pictures as they are.

    Args:
        body: The network.
        mean: What is subtracted from each channel, in the order that ``body`` takes them, for values from 0 to 255.
        std: What each is divided by.
        bgr: Whether ``body`` takes blue first.
    """

    def __init__(self, body: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], bgr: bool) -> None:
        super().__init__()
        self.body = body
        self.bgr = bgr
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> object:
        """Run the network.

        Args:
            pictures: RGB pictures of shape (N, 3, H, W), 0 to 255.

        Returns:
            What ``body`` puts out.
        """
        pictures = pictures.flip(1) if self.bgr else pictures
        return self.body((pictures.float() - self.mean) / self.std)


@dataclass(frozen=True)
class Subject:
    """What is studied.

    Args:
        config: Config file of a detector, segmentor or classifier. None means a network of timm. Defaults to None.
        timm: timm's name of a classifier. Defaults to None.
        checkpoint: Path or http(s) address of its weights. None means those that timm downloads. Defaults to None.

    Raises:
        UserError: If not exactly one of ``config`` and ``timm`` is given, or a config without a checkpoint.

    Example:
        >>> Subject(timm='resnet18').name
        'resnet18'
    """

    config: str | Path | None = None
    timm: str | None = None
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.config is None) == (self.timm is None):
            raise UserError('a network is given either by its config, --config, or by its name in timm, --timm')
        if self.config and not self.checkpoint:
            raise UserError(f'{self.config} needs weights: give those that were trained with it as --checkpoint')

    @property
    def name(self) -> str:
        """What it is called."""
        return self.timm or Path(self.config).stem

    def build(self, trained: bool = True) -> Network:
        """Build the network.

        Args:
            trained: Whether to load the weights, or to leave them random, of seed 0. Defaults to True.

        Returns:
            The backbone of the config's model, or timm's classifier.

        Raises:
            UserError: If there is no such network, or a package is missing.
            CheckpointError: If the checkpoint can't be read or does not fit.
        """
        torch.manual_seed(0)
        return self._from_timm(trained) if self.timm else self._from_config(trained)

    def _from_config(self, trained: bool) -> Network:
        cfg, model = build_model(self.config)
        if trained:
            load_model(model, self.checkpoint)
        else:
            # As where training from random weights begins.
            model.backbone.init_weights()
        settings = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
        # mmpretrain's name of it is the second.
        rgb = settings.get('bgr_to_rgb', settings.get('to_rgb', False))
        return Network(model.backbone, settings.get('mean', (0.0,)), settings.get('std', (1.0,)), not rgb)

    def _from_timm(self, trained: bool) -> Network:
        if find_spec('timm') is None:
            raise UserError("--timm needs timm, which is not installed: pip install 'mmfasternet[compare]'")
        import timm

        if not timm.is_model(self.timm):
            raise UserError(f'timm has no network {self.timm!r}; timm.list_models() gives the names')
        try:
            model = timm.create_model(self.timm, pretrained=trained and not self.checkpoint)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f'timm can not get the weights of {self.timm} ({error}); give a file of them as --checkpoint'
            ) from error
        if trained and self.checkpoint:
            found = unwrap(read_checkpoint(self.checkpoint), str(self.checkpoint))
            if problems := compare(found, model.state_dict()):
                raise CheckpointError(f"{self.checkpoint} does not fit timm's {self.timm}: {'; '.join(problems)}")
            model.load_state_dict(found)
        data = timm.data.resolve_model_data_config(model)
        mean, std = (tuple(255 * value for value in data[key]) for key in ('mean', 'std'))
        return Network(model, mean, std, bgr=False)


def choose_subject(
    config: str | None, timm: str | None, checkpoint: str | None, default: str, quick: bool = False
) -> Subject:
    """What a tool's arguments ask to study.

    Args:
        config: See :class:`Subject`.
        timm: See :class:`Subject`.
        checkpoint: See :class:`Subject`.
        default: Without a config or a name: the row of the study of backbones that is trained, and studied.
        quick: Whether that training is a very short one. Defaults to False.

    Returns:
        The subject.

    Raises:
        UserError: If they don't fit together, or the training fails.
    """
    if config or timm:
        return Subject(config, timm, checkpoint)
    if checkpoint:
        raise UserError(f'{checkpoint} needs the network that it is of: name its --config, or its name in --timm')
    run = train_once(default, quick)
    return Subject(run.row.config_path, checkpoint=run.checkpoint())


def train_once(row: str, quick: bool = False) -> Run:
    """Train a detector of the study of backbones, with seed 0, unless that study or an earlier call has trained it.

    Args:
        row: Its name, such as 'trained_resnet18'.
        quick: Whether to train for one epoch on a dozen pictures, which shows that all runs. Defaults to False.

    Returns:
        The training; its ``checkpoint()`` is there.

    Raises:
        UserError: If it fails.
    """
    out_dir, options, shapes = QUICK if quick else FULL
    study = Study((find_row(row),), seeds=(0,), out_dir=out_dir, options=options, shapes=shapes)
    (run,) = study.runs()
    with only_one(out_dir) as lock, training_progress() as progress:
        task = progress.add_task(f'training {run.row.label} on the generated data', total=1)
        generate(study)
        for share in train(run, lock):
            progress.update(task, completed=share)
        progress.update(task, completed=1)
    return run


def generated_pictures(quick: bool = False) -> Path:
    """The pictures that :func:`train_once` trains on, made if they are missing.

    Args:
        quick: See :func:`train_once`. Defaults to False.

    Returns:
        Their folder.
    """
    out_dir, options, shapes = QUICK if quick else FULL
    generate(Study((find_row('trained_resnet18'),), seeds=(0,), out_dir=out_dir, options=options, shapes=shapes))
    return Path(options['data_root']) / 'train'


def digest(state_dict: StateDict) -> str:
    """What tells weights apart, wherever their file lies.

    Args:
        state_dict: Tensors by key.

    Returns:
        Eight hexadecimal digits.

    Example:
        >>> len(digest(dict(weight=torch.ones(2))))
        8
    """
    found = sha256()
    for key, value in state_dict.items():
        found.update(key.encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:8]


@contextmanager
def record_maps(layers: dict[str, nn.Module], keep: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Hand what goes into layers and comes out of them to a function, whenever the network runs.

    Args:
        layers: Name → layer that takes one map.
        keep: Takes the name, the input and the output.

    Example:
        >>> layer, seen = nn.Conv2d(3, 2, 1), []
        >>> with record_maps(dict(conv=layer), lambda name, x, y: seen.append((name, *y.shape))):
        ...     _ = layer(torch.rand(1, 3, 4, 4))
        >>> seen
        [('conv', 1, 2, 4, 4)]
    """

    def hook(name: str, layer: nn.Module, inputs: tuple, output: object) -> None:
        # What a hook returns would replace the output.
        keep(name, inputs[0], output)

    handles = [layer.register_forward_hook(partial(hook, name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""The reader of every checkpoint: from a path or URL to what the file holds, without running code in it."""

import argparse
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from mmengine.infer import BaseInferencer
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from torch import nn

from mmfasternet.errors import UserError

from .containers import TorchScriptError, read_contents
from .download import DownloadError, download, is_url, without_secrets
from .hub import fetch_from_hub, is_hub_name
from .materialize import materialize, outline
from .saved import RefusedObject, printable

__all__ = [
    'CheckpointError',
    'MissingCheckpointError',
    'UntrustedCheckpointError',
    'add_trust_checkpoint',
    'read_checkpoint',
    'read_metadata',
    'trust_checkpoints',
    'use_safe_reader',
]

# Set by trust_checkpoints.
_trusted = False


class CheckpointError(UserError):
    """A checkpoint can't be read or does not fit the model; the message says why and what to do."""


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """There is no such checkpoint."""


class UntrustedCheckpointError(CheckpointError):
    """A checkpoint was refused because it holds more than weights and plain records."""


def trust_checkpoints(trust: bool = True) -> None:
    """Trust every checkpoint that is read from now on, or none.

    The switch holds for this process and for whatever reads through :func:`read_checkpoint`: ``init_cfg`` of this
    project's models, and after :func:`use_safe_reader` all of mmengine. A trusted file may run any code.

    Args:
        trust: Whether to unpickle anything that a file asks for. Defaults to True.

    Example:
        >>> from fractions import Fraction
        >>> torch.save(dict(weight=torch.ones(1), scale=Fraction(1, 2)), 'fraction.pth')
        >>> trust_checkpoints()
        >>> read_checkpoint('fraction.pth')['scale']
        Fraction(1, 2)
        >>> trust_checkpoints(False)
        >>> read_checkpoint('fraction.pth')
        Traceback (most recent call last):
        mmfasternet.weights.reader.UntrustedCheckpointError: fraction.pth was refused: ...
    """
    global _trusted
    _trusted = trust


def add_trust_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint`` to a tool, whose value goes to :func:`trust_checkpoints`.

    Args:
        parser: The tool's parser.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_trust_checkpoint(parser)
        >>> trust_checkpoints(parser.parse_args([]).trust_checkpoint)
    """
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='unpickle anything that checkpoints ask for, which may run any code; default: weights and plain records',
    )


def read_checkpoint(source: str | Path, map_location: Any = 'cpu', trust: bool = False) -> Any:
    """Read a checkpoint file without running any code in it, unless it is trusted.

    Tensors, numpy scalars and arrays, plain containers and mmengine's ``HistoryBuffer`` are read. Any other object is
    refused before it is created, wherever in the file it is. torch's own reader gets to see a trusted file only.

    Args:
        source: Path or http(s) URL of a ``torch.save`` or ``.safetensors`` file, or the name of one on Hugging Face's
            hub, 'hf-hub:owner/repository' or 'timm://name'. A URL is downloaded once, into torch hub's folder, by the
            first process of each machine; a name into the hub's own cache.
        map_location: Device that tensors are read to, or a function of a storage and the device that it was saved from,
            as in ``torch.load``. None is the CPU. Defaults to 'cpu'.
        trust: Whether to unpickle anything that this file asks for, which may run any code. False leaves the decision
            to :func:`trust_checkpoints`. Defaults to False.

    Returns:
        What was saved, usually a dict.

    Raises:
        MissingCheckpointError: If there is no such file.
        UntrustedCheckpointError: If the file holds anything but weights and plain records.
        CheckpointError: If the file is truncated or no checkpoint at all.

    Example:
        >>> import torch
        >>> torch.save(dict(state_dict=dict(weight=torch.ones(2))), 'example.pth')
        >>> read_checkpoint('example.pth')['state_dict']['weight']
        tensor([1., 1.])
    """
    path = _find(source)
    with _reading(path):
        if path.suffix.lower() == '.safetensors':
            # mmengine also passes functions as map_location; safetensors knows devices only.
            device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
            return safetensors.torch.load_file(path, device=str(device))
        if trust or _trusted:
            _check_form(path)
            return torch.load(path, map_location=map_location, weights_only=False)
        with path.open('rb') as file:
            return materialize(read_contents(file), map_location)


def read_metadata(source: str | Path) -> dict:
    """Read what a checkpoint says beside its weights, in a fraction of the time: the weights are not read.

    Args:
        source: As for :func:`read_checkpoint`. A ``.safetensors`` file holds nothing but weights.

    Returns:
        What was saved, with tensors on the meta device, which have shapes and no values. An object that is no dict
        comes back as an empty one.

    Raises:
        MissingCheckpointError: If there is no such file.
        UntrustedCheckpointError: If the file holds anything but weights and plain records, even if it is trusted.
        CheckpointError: If the file is truncated or no checkpoint at all.

    Example:
        >>> import torch
        >>> torch.save(dict(meta=dict(iter=12), state_dict=dict(weight=torch.ones(2))), 'iter_12.pth')
        >>> read_metadata('iter_12.pth')['meta']
        {'iter': 12}
    """
    path = _find(source)
    with _reading(path):
        if path.suffix.lower() == '.safetensors':
            found = {key: value.to('meta') for key, value in safetensors.torch.load_file(path).items()}
        else:
            with path.open('rb') as file:
                found = outline(read_contents(file))
    return found if isinstance(found, dict) else {}


def _find(source: str | Path) -> Path:
    """The file of a path or URL."""
    try:
        if is_hub_name(source):
            return fetch_from_hub(str(source))
        path = download(str(source)) if is_url(source) else Path(source).expanduser()
        if path.is_file():
            return path
    except DownloadError as error:
        raise MissingCheckpointError(f'checkpoint {error}') from None
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError):  # a name that is too long, has a NUL, or the home of nobody
        pass
    raise MissingCheckpointError(
        f'checkpoint {without_secrets(source)} not found; pass the path of a file or an http(s) URL'
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a file does to its readers into one message."""
    try:
        yield
    except RefusedObject as refused:
        raise UntrustedCheckpointError(
            f'{path} was refused: besides weights and plain records it asks for {refused}, which could run code. None '
            'was run. If you trust the source of the file, pass --trust-checkpoint to the tool, or in Python call '
            'mmfasternet.weights.trust_checkpoints() first. For this file alone, '
            '`mmfasternet convert_checkpoint --trust-checkpoint` writes the weights of its FasterNet to a file that is '
            'never refused.'
        ) from None
    except TorchScriptError:
        raise CheckpointError(
            f'{path} is a TorchScript program, not a checkpoint; pass the file of its state dict'
        ) from None
    except CheckpointError:
        raise
    except MemoryError:
        raise CheckpointError(
            f'{path} does not fit into memory (it has {path.stat().st_size:,} bytes); use a machine with more'
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint ({type(error).__name__}: {printable(error, 300)}); it may be '
            f'truncated (it has {path.stat().st_size:,} bytes) or another kind of file. Download or save it again.'
        ) from error


def _check_form(path: Path) -> None:
    """Keep from ``torch.load``, which a trusted file is read by, what it would not read as a checkpoint."""
    if os.environ.get('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0').lower() in ('1', 'y', 'yes', 'true'):
        raise CheckpointError(
            'TORCH_FORCE_WEIGHTS_ONLY_LOAD forbids torch to trust any file; unset it, or drop --trust-checkpoint'
        )
    with path.open('rb') as file:
        start = file.read(512)
    if start[:4] == b'PK\3\4':
        # torch would run the program; its own zip reader decides.
        if 'constants.pkl' in torch._C.PyTorchFileReader(str(path)).get_all_records():
            raise TorchScriptError
        return
    try:
        tarfile.TarInfo.frombuf(start, 'utf-8', 'surrogateescape')
    except tarfile.HeaderError:
        return
    # torch extracts it, and with it the modes and owners of any files that it links to.
    raise CheckpointError(
        f'{path} is a tar file, as torch wrote before 0.1.10; reading it could change other files, so it is refused. '
        'Convert it with the torch of its time.'
    )


def use_safe_reader() -> None:
    """Make mmengine read every checkpoint through :func:`read_checkpoint`.

    From then on ``load_from``, ``resume``, ``init_cfg`` of any model, ``init_detector`` and the inferencers read local
    files, http(s) URLs and names of model zoos safely; the other schemes, such as ``s3://``, are refused. An inferencer
    needs its config: mmengine would run the one in the checkpoint, which is Python code.

    Example:
        >>> use_safe_reader()
        >>> CheckpointLoader.load_checkpoint('absent.pth')
        Traceback (most recent call last):
        mmfasternet.weights.reader.MissingCheckpointError: checkpoint absent.pth not found; ...
    """
    register = partial(CheckpointLoader.register_scheme, force=True)
    register(prefixes=list(CheckpointLoader._schemes), loader=_refuse_scheme)
    register(prefixes=['', 'http://', 'https://', 'timm://', 'hf-hub:'], loader=_load_file)
    register(prefixes=['modelzoo://', 'torchvision://'], loader=_load_torchvision)
    register(prefixes=['open-mmlab://', 'openmmlab://'], loader=_load_openmmlab)
    register(prefixes=['mmcls://'], loader=_load_mmcls)
    BaseInferencer._init_model = _init_model_of_config


def _refuse_scheme(filename: str, map_location: Any = None) -> Any:
    """The loader of everything else; mmengine prescribes the names of the arguments."""
    scheme = printable(filename.partition('://')[0])
    raise CheckpointError(
        f'checkpoints of {scheme}:// are not read, since mmengine would run code in them; download the file, and pass '
        'its path'
    )


def _load_file(filename: str, map_location: Any = None) -> Any:
    """The loader of files and URLs."""
    return read_checkpoint(filename, map_location)


def _load_torchvision(filename: str, map_location: Any = None) -> Any:
    """The loader of torchvision's zoo."""
    return read_checkpoint(_url_of(filename, get_torchvision_models()), map_location)


def _load_openmmlab(filename: str, map_location: Any = None) -> Any:
    """The loader of OpenMMLab's zoo."""
    urls, current = get_external_models(), get_deprecated_model_names()
    urls |= {old: urls[new] for old, new in current.items() if new in urls}
    return read_checkpoint(_url_of(filename, urls), map_location)


def _load_mmcls(filename: str, map_location: Any = None) -> Any:
    """The loader of mmcls's zoo: classifiers, whose backbones are loaded."""
    found = read_checkpoint(_url_of(filename, get_mmcls_models()), map_location)
    state_dict = found.get('state_dict', found)
    lead = 'backbone.'
    return dict(state_dict={key[len(lead) :]: value for key, value in state_dict.items() if key.startswith(lead)})


def _url_of(filename: str, zoo: dict[str, str]) -> str:
    scheme, _, name = filename.partition('://')
    if name not in zoo:
        raise MissingCheckpointError(f'{scheme}:// has no model {printable(name)}; its names are those of its zoo')
    return zoo[name]


_init_model: Callable[..., nn.Module] = BaseInferencer._init_model


def _init_model_of_config(self: BaseInferencer, cfg: dict, weights: str | None, device: str = 'cpu') -> nn.Module:
    """``BaseInferencer._init_model`` that does not run a config out of the checkpoint."""
    if not cfg:
        raise UserError(
            'pass the config too, as the argument model: without it the inferencer would run the one that the '
            'checkpoint holds, and a config is Python code'
        )
    return _init_model(self, cfg, weights, device)

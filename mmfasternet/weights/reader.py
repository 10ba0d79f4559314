"""The reader of every checkpoint: from a path or URL to what the file holds, without running code in it."""

import argparse
import os
import re
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import safetensors.torch
import torch
from mmengine.dist import barrier
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_deprecated_model_names, get_external_models, get_torchvision_models

from mmfasternet.errors import UserError

from . import unpickler

__all__ = [
    'CheckpointError',
    'MissingCheckpointError',
    'UntrustedCheckpointError',
    'add_trust_checkpoint',
    'read_checkpoint',
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
    refused before it is created, wherever in the file it is.

    Args:
        source: Path or http(s) URL of a ``torch.save`` or ``.safetensors`` file. A URL is downloaded once, into torch
            hub's folder, by the first process of each machine.
        map_location: Device that tensors are read to, as in ``torch.load``. Defaults to 'cpu'.
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
    url = str(source)
    path = _download(url) if url.startswith(('http://', 'https://')) else Path(source).expanduser()
    if not path.is_file():
        raise MissingCheckpointError(f'checkpoint {source} not found; pass the path of a file or an http(s) URL')
    try:
        if path.suffix == '.safetensors':
            # mmengine also passes functions as map_location; safetensors knows devices only.
            device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
            return safetensors.torch.load_file(path, device=str(device))
        if _is_torchscript(path):
            raise CheckpointError(f'{path} is a TorchScript program, not a checkpoint; pass the file of its state dict')
        if trust or _trusted:
            return torch.load(path, map_location=map_location, weights_only=False)
        return torch.load(path, map_location=map_location, weights_only=False, pickle_module=unpickler)
    except unpickler.RefusedGlobal as refused:
        raise UntrustedCheckpointError(
            f'{path} was refused: besides weights and plain records it asks for {refused}, which could run code. None '
            'was run. If you trust the source of the file, pass --trust-checkpoint to the tool, or in Python call '
            'mmfasternet.weights.trust_checkpoints() first. For this file alone, '
            '`mmfasternet convert_checkpoint --trust-checkpoint` writes the weights of its FasterNet to a file that is '
            'never refused.'
        ) from None
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle can raise anything
        reason = ' '.join(str(error).split())
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint ({type(error).__name__}: {reason}); it may be truncated (it has '
            f'{path.stat().st_size:,} bytes) or another kind of file. Download or save it again.'
        ) from error


def _is_torchscript(path: Path) -> bool:
    """Whether ``torch.load`` would run the file as a program; torch's own zip reader decides."""
    with path.open('rb') as file:
        if file.read(4) != b'PK\3\4':
            return False
    return 'constants.pkl' in torch._C.PyTorchFileReader(str(path)).get_all_records()


def _download(url: str) -> Path:
    """Download a URL into torch hub's folder, once per machine, unless the file is there."""
    name = Path(urlparse(url).path).name
    if not re.search(r'-[0-9a-f]{8,}\.', name):
        # A name without a hash, such as model.safetensors, may belong to many files.
        name = f'{sha256(url.encode()).hexdigest()[:8]}-{name}'
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    # mmengine's get_local_rank needs a group of each machine's processes, which it does not create by itself.
    if os.environ.get('LOCAL_RANK', '0') == '0' and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # torch writes to a temporary name and renames the file.
            torch.hub.download_url_to_file(url, str(path))
        except OSError as error:
            raise MissingCheckpointError(f'checkpoint {url} cannot be downloaded ({error})') from error
    barrier()
    return path


def use_safe_reader() -> None:
    """Make mmengine read every local file, http(s) URL and model zoo name through :func:`read_checkpoint`.

    From then on ``load_from``, ``resume``, ``init_cfg`` of any model, ``init_detector``, and the inferencers are safe.

    Example:
        >>> use_safe_reader()
        >>> CheckpointLoader.load_checkpoint('absent.pth')
        Traceback (most recent call last):
        mmfasternet.weights.reader.MissingCheckpointError: checkpoint absent.pth not found; ...
    """
    register = partial(CheckpointLoader.register_scheme, force=True)
    register(prefixes=['', 'http://', 'https://'], loader=_load_file)
    register(prefixes=['modelzoo://', 'torchvision://'], loader=_load_torchvision)
    register(prefixes=['open-mmlab://', 'openmmlab://'], loader=_load_openmmlab)


def _load_file(filename: str, map_location: Any = None) -> Any:
    """The loader of files and URLs; mmengine prescribes the names of the arguments."""
    return read_checkpoint(filename, map_location)


def _load_torchvision(filename: str, map_location: Any = None) -> Any:
    """The same for torchvision's zoo."""
    return read_checkpoint(get_torchvision_models()[filename.split('://')[1]], map_location)


def _load_openmmlab(filename: str, map_location: Any = None) -> Any:
    """The same for OpenMMLab's zoo."""
    name = filename.split('://')[1]
    return read_checkpoint(get_external_models()[get_deprecated_model_names().get(name, name)], map_location)

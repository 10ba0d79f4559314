"""One reader for every checkpoint: an address or a path in, what the file holds out, no code of the file's run."""

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

from . import unpickler as safe_pickle

__all__ = [
    'CheckpointError',
    'MissingCheckpointError',
    'UntrustedCheckpointError',
    'read_checkpoint',
    'use_safe_reader',
]


class CheckpointError(UserError):
    """A checkpoint can't be read, or does not fit the model; the message says why and what to do."""


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """There is no such checkpoint."""


class UntrustedCheckpointError(CheckpointError):
    """A checkpoint was refused because it holds more than weights and plain records."""


def read_checkpoint(source: str | Path, map_location: Any = 'cpu', trust: bool = False) -> Any:
    """Read a checkpoint file without running anything it holds.

    Tensors, numpy scalars and arrays, plain containers and mmengine's ``HistoryBuffer`` are read. Any other object is
    refused before it is made, wherever in the file it stands.

    Args:
        source: Path, or http(s) address, of a ``torch.save`` or ``.safetensors`` file. An address is downloaded once
            into torch hub's folder, by the first process of each machine.
        map_location: Where tensors go, as in ``torch.load``. Defaults to 'cpu'.
        trust: Whether to unpickle anything the file asks for, which may run any code. Defaults to False.

    Returns:
        What was saved, mostly a dict.

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
    address = str(source)
    path = download(address) if address.startswith(('http://', 'https://')) else Path(source).expanduser()
    if not path.is_file():
        raise MissingCheckpointError(f'checkpoint {source} is not there; give the path of a file or an http(s) address')
    try:
        if path.suffix == '.safetensors':
            # mmengine also passes functions as map_location; safetensors knows devices only.
            device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
            return safetensors.torch.load_file(path, device=str(device))
        if is_torchscript(path):
            raise CheckpointError(f'{path} is a TorchScript program, not a checkpoint; give the file of its state dict')
        if trust:
            return torch.load(path, map_location=map_location, weights_only=False)
        return torch.load(path, map_location=map_location, weights_only=False, pickle_module=safe_pickle)
    except safe_pickle.RefusedGlobal as refused:
        raise UntrustedCheckpointError(
            f'{path} was refused: besides weights and plain records it asks for {refused}, and building that could '
            'run code. Nothing of it was run. If you trust whoever made the file, read it with trust=True: '
            '--trust-checkpoint of the tools, or trust=True in init_cfg. tools/convert_checkpoint.py then writes a '
            'file of the weights alone.'
        ) from None
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        reason = ' '.join(str(error).split())
        raise CheckpointError(
            f'{path} can not be read as a checkpoint ({type(error).__name__}: {reason}); it may be truncated '
            f'({path.stat().st_size:,} bytes here) or of another kind. Download or save it again.'
        ) from error


def is_torchscript(path: Path) -> bool:
    """Whether ``torch.load`` would run the file as a program, seen by the eyes of its own zip reader."""
    with path.open('rb') as file:
        if file.read(4) != b'PK\3\4':
            return False
    return 'constants.pkl' in torch._C.PyTorchFileReader(str(path)).get_all_records()


def download(address: str) -> Path:
    """Fetch an address into torch hub's folder, unless it is there, once per machine."""
    name = Path(urlparse(address).path).name
    if not re.search(r'-[0-9a-f]{8,}\.', name):
        # Without a hash of its own, as in model.safetensors, a name may be that of many files.
        name = f'{sha256(address.encode()).hexdigest()[:8]}-{name}'
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    # mmengine's get_local_rank asks for a group of each machine's processes, which it does not make by itself.
    if os.environ.get('LOCAL_RANK', '0') == '0' and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written under a temporary name and renamed by torch.
        try:
            torch.hub.download_url_to_file(address, str(path))
        except OSError as error:
            raise MissingCheckpointError(f'checkpoint {address} can not be downloaded ({error})') from error
    barrier()
    return path


def use_safe_reader(trust: bool = False) -> None:
    """Make mmengine read every local file, http(s) address and name of a model zoo through :func:`read_checkpoint`.

    From then on ``load_from``, ``resume``, ``init_cfg`` of any model, ``init_detector`` and the inferencers are safe.

    Args:
        trust: As in :func:`read_checkpoint`. Defaults to False.
    """

    def load_from_local(filename: str, map_location: Any = None) -> Any:
        return read_checkpoint(filename, map_location, trust)

    def load_from_torchvision(filename: str, map_location: Any = None) -> Any:
        return read_checkpoint(get_torchvision_models()[filename.split('://')[1]], map_location, trust)

    def load_from_openmmlab(filename: str, map_location: Any = None) -> Any:
        name = filename.split('://')[1]
        address = get_external_models()[get_deprecated_model_names().get(name, name)]
        return read_checkpoint(address, map_location, trust)

    register = partial(CheckpointLoader.register_scheme, force=True)
    register(prefixes=['', 'http://', 'https://'], loader=load_from_local)
    register(prefixes=['modelzoo://', 'torchvision://'], loader=load_from_torchvision)
    register(prefixes=['open-mmlab://', 'openmmlab://'], loader=load_from_openmmlab)

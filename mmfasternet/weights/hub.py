"""Weights by their names on Hugging Face's hub, through its own client and cache."""

from importlib.util import find_spec
from pathlib import Path

from mmfasternet.errors import UserError

from .download import DownloadError
from .saved import printable

__all__ = ['fetch_from_hub', 'is_hub_name']

_TIMM = 'timm://'
_HUB = 'hf-hub:'
_SAFE, _PICKLED = 'model.safetensors', 'pytorch_model.bin'


def is_hub_name(source: str | Path) -> bool:
    """Tell whether a checkpoint is named as on the hub.

    Args:
        source: Path, URL or name.

    Returns:
        Whether it is.

    Example:
        >>> is_hub_name('timm://repvit_m1_1.dist_300e_in1k'), is_hub_name('hf-hub:timm/repvit_m1_1.dist_300e_in1k')
        (True, True)
        >>> is_hub_name('model.pth')
        False
    """
    return str(source).startswith((_TIMM, _HUB))


def fetch_from_hub(name: str) -> Path:
    """Download the weights of a repository of the hub, unless they are in its cache already.

    ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE`` and ``HF_TOKEN`` have their usual meaning. ``model.safetensors`` is
    preferred to ``pytorch_model.bin``.

    Args:
        name: 'hf-hub:owner/repository', with '@revision' where it is another than the newest, or 'timm://' and a name
            of timm's, such as 'timm://repvit_m1_1.dist_300e_in1k'; without a tag, timm's default.

    Returns:
        Path of the file.

    Raises:
        DownloadError: If it can't be downloaded; the message says which file to bring.
        UserError: If a package is missing.

    Example:
        >>> fetch_from_hub('hf-hub:a name of nothing')
        Traceback (most recent call last):
        mmfasternet.weights.download.DownloadError: hf-hub:a name of nothing cannot be downloaded ...
    """
    if find_spec('huggingface_hub') is None:
        raise UserError(f"{printable(name)} needs huggingface_hub and timm: pip install 'mmfasternet[compare]'")
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, files = _files_of_timm(name) if name.startswith(_TIMM) else (name[len(_HUB) :], [_SAFE, _PICKLED])
    repository, _, revision = repository.partition('@')
    # Its client raises what its libraries do, which differ between its versions.
    try:
        for file in files:
            try:
                return Path(hf_hub_download(repository, file, revision=revision or None))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                continue
        reason = f'it has no {" and no ".join(files)}'
    except Exception as error:
        reason = _reason(error)
    page = f'{constants.ENDPOINT}/{repository}/resolve/{revision or "main"}/{files[0]}'
    raise DownloadError(
        f'{printable(name)} cannot be downloaded ({reason}); download {printable(page, 300)} on another machine, and '
        'pass its path'
    )


def _files_of_timm(name: str) -> tuple[str, list[str]]:
    """The repository of a name of timm's, and its files, the best first."""
    if find_spec('timm') is None:
        raise UserError(f"{printable(name)} needs timm: pip install 'mmfasternet[compare]'")
    import timm

    model = name[len(_TIMM) :]
    try:
        cfg = timm.models.get_pretrained_cfg(model)
    except RuntimeError:
        cfg = None
    if cfg is None or not cfg.hf_hub_id:
        arch = model.partition('.')[0]
        known = timm.list_models(f'{arch}.*', pretrained=True) if timm.is_model(arch) else []
        raise DownloadError(
            f'{printable(name)} cannot be downloaded (timm has no such weights); it has '
            + (', '.join(f'{_TIMM}{other}' for other in known) or 'none of this network, see timm.list_pretrained()')
        )
    if not cfg.hf_hub_filename:
        return cfg.hf_hub_id, [_SAFE, _PICKLED]
    safe = Path(cfg.hf_hub_filename).with_suffix('.safetensors').name
    return cfg.hf_hub_id, list(dict.fromkeys([safe, cfg.hf_hub_filename]))


def _reason(error: Exception) -> str:
    """The first line of why, and of what is behind it."""
    texts = [str(cause).strip().partition('\n')[0] for cause in (error, error.__cause__) if cause is not None]
    return printable(': '.join(filter(None, texts)) or type(error).__name__, 300)

"""The weights that a training starts from, fetched before time is spent."""

from mmengine.config import Config

from mmfasternet.errors import UserError
from mmfasternet.weights.download import DownloadError, download, is_url

__all__ = ['fetch_weights']


def fetch_weights(cfg: Config) -> None:
    """Download what ``load_from`` names, if it is a URL.

    Args:
        cfg: Config of a training.

    Raises:
        UserError: If the download fails; the message says which file to bring.
    """
    if not cfg.get('load_from') or not is_url(cfg.load_from):
        return
    try:
        download(cfg.load_from)
    except DownloadError as error:
        raise UserError(
            f'{error}. Download the file elsewhere and name its path as load_from in config.py, which own_data writes '
            'without --train; or start from random weights by --from scratch'
        ) from error

"""FasterNet for OpenMMLab. Importing the package registers the backbone in mmengine's root registry."""

try:
    import mmcv  # noqa: F401
    import mmengine  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'mmfasternet needs mmengine and mmcv ({error}). Install one of the two tested package sets: '
        "pip install 'mmfasternet[onedl]' or pip install 'mmfasternet[openmmlab]'."
    ) from error

from mmfasternet.models import FasterNet, PConv

from .version import __version__

__all__ = ['FasterNet', 'PConv', '__version__']

"""Images of several sizes in one batch, which mmseg can't put together."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmfasternet.datasets.annotations import DataError

__all__ = ['explain_sizes']

# How torch says it of a training, and mmseg of a test.
_SEVERAL = ('stack expects each tensor to be equal size', 'image size in a batch should be the same')


@contextmanager
def explain_sizes() -> Iterator[None]:
    """Say what to change in a config whose batches hold images of several sizes.

    Raises:
        DataError: If that ended the block.

    Example:
        >>> with explain_sizes():
        ...     pass
    """
    try:
        yield
    except (AssertionError, RuntimeError) as error:
        if not any(words in str(error) for words in _SEVERAL):
            raise
        raise DataError(
            'the images of a batch have several sizes, and cannot be put together. To train, let the pipeline end in '
            'one size: add RandomCrop(crop_size=(H, W)), and set model.data_preprocessor.size=(H, W), to which smaller '
            'images are padded. To evaluate, set val_dataloader.batch_size=1 and test_dataloader.batch_size=1'
        ) from error

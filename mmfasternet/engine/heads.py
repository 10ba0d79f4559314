"""The number of classes of a model's heads against that of a data set."""

from typing import Any

from torch import nn

from mmfasternet.datasets.annotations import DataError

__all__ = ['check_heads']

# Parts of a model whose num_classes are not those of the data: RPN tells objects from background, HTC's semantic head
# knows stuff, and a backbone for ImageNet may have its own.
_OTHERS = ('rpn_head', 'semantic_head', 'backbone', 'data_preprocessor')


def check_heads(model: nn.Module, dataset: Any) -> None:
    """Make sure that each head of a model has the classes of a data set.

    Args:
        model: The model.
        dataset: The data set; if it does not know its classes, nothing is checked.

    Raises:
        DataError: If a head has another number of classes.

    Example:
        >>> from types import SimpleNamespace
        >>> head = nn.Identity()
        >>> head.num_classes = 80
        >>> model = nn.ModuleDict(dict(bbox_head=head))
        >>> check_heads(model, SimpleNamespace(metainfo=dict(classes=('cat', 'dog'))))
        Traceback (most recent call last):
        mmfasternet.datasets.annotations.DataError: the data set has 2 classes (cat, dog), but bbox_head has \
num_classes=80; set model.bbox_head.num_classes=2
    """
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not classes or isinstance(classes, str):
        return
    wrong = {}
    for name, module in model.named_modules():
        count = getattr(module, 'num_classes', None)
        # A head of one mask for all classes does not read the number.
        if type(count) is not int or count == len(classes) or getattr(module, 'class_agnostic', False):
            continue
        if not any(part in name.split('.') for part in _OTHERS) and name:
            wrong[name.removeprefix('module.')] = count
    if wrong:
        names = ', '.join(map(str, classes[:10])) + (', …' if len(classes) > 10 else '')
        raise DataError(
            f'the data set has {len(classes)} classes ({names}), but '
            + ' and '.join(f'{name} has num_classes={count}' for name, count in wrong.items())
            + '; set '
            + ' '.join(f'model.{name}.num_classes={len(classes)}' for name in wrong)
        )

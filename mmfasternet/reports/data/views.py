"""What the objects of each class look like."""

from mmfasternet.datasets.formats import Source
from mmfasternet.reports.page import Gallery

from .measures import Measures
from .objects import choose_objects, show_object
from .samples import choose_classes, readable, unreadable

__all__ = ['show_classes']

# Objects of each class: more where there are few classes.
_FEW, _OF_FEW, _OF_MANY = 4, 6, 3


def show_classes(source: Source, measured: Measures) -> list[str | Gallery]:
    """Show objects of each class.

    Args:
        source: The data.
        measured: Its objects.

    Returns:
        Parts of a page; what can't be read is skipped and said.
    """
    counts = measured.count(len(source.classes)).sum(1)
    order, cut = choose_classes(counts)
    each = _OF_FEW if len(order) <= _FEW else _OF_MANY
    parts = [f'Up to {each} objects of each class, from small to large, with all that is annotated near them.{cut}']
    faults: list[str] = []
    for kind in order:
        places = choose_objects(measured, kind, each)
        images = readable([lambda place=place: show_object(source, measured, place) for place in places], faults)
        if images:
            parts.append(
                Gallery(images, f'{source.classes[kind]}: {counts[kind]:,} object{"s" * int(counts[kind] > 1)}')
            )
    return [*parts, *unreadable(faults)]

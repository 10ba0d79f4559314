"""What all figures share: colours, markers, matplotlib's settings, and how a figure becomes a PNG file."""

import io
from collections.abc import Iterable
from zlib import crc32

import PIL.Image
from matplotlib.figure import Figure

__all__ = ['COLOURS', 'MARKERS', 'STYLE', 'encode', 'family_styles']

# Okabe and Ito's colours for all kinds of colour vision, their yellow darkened for a white ground, a grey, and Tol's
# wine.
COLOURS = ('#D55E00', '#0072B2', '#56B4E9', '#009E73', '#CC79A7', '#E69F00', '#000000', '#8F7F00', '#777777', '#882255')
MARKERS = ('o', 's', 'D', '^', 'v', 'P', 'X', '*', 'p', 'h')
# A colour belongs to a family by its name, whatever else is drawn.
_FAMILIES = dict(
    zip(
        ('FasterNet', 'ResNet', 'ResNeXt', 'PVT', 'PoolFormer', 'RepViT', 'Swin', 'ConvNeXt', 'MobileNet'),
        zip(COLOURS, MARKERS, strict=True),
        strict=False,
    )
)
# Those that came later have the same colours with other markers; FasterNet keeps its own to itself.
_LATER = ('SwiftFormer', 'FastViT', 'PVTv2', 'iFormer', 'Next-ViT', 'MambaOut', 'CPUBone', 'RepNeXt', 'EfficientFormer')
_FAMILIES |= {family: (COLOURS[1 + i], MARKERS[(6 + i) % 10]) for i, family in enumerate(_LATER)}
_FAMILIES |= {family: (COLOURS[1 + i], MARKERS[4 + i]) for i, family in enumerate(('MogaNet', 'LSNet', 'TinyViM'))}
# Any other family has one of these: Tol's muted colours that are none of the above.
_OTHERS = tuple(
    (colour, marker)
    for marker in ('h', '<', '>', 'd')
    for colour in ('#882255', '#332288', '#44AA99', '#999933', '#AA4499', '#661100')
)
# Texts come from files: a dollar is a dollar.
STYLE = {
    'text.parse_math': False,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '#e8e8e8',
    'axes.axisbelow': True,
}


def family_styles(families: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of families, the same in all figures.

    Args:
        families: Their names.

    Returns:
        Family, each once and in the given order → colour and matplotlib's marker. A family that is not known has a
        style by its name, and the next one if another unknown family has that already.

    Example:
        >>> family_styles(['Mine', 'FasterNet'])['FasterNet']
        ('#D55E00', 'o')
    """
    families = list(dict.fromkeys(families))
    styles = dict(_FAMILIES)
    for family in sorted(set(families) - set(_FAMILIES)):
        first = crc32(family.encode(errors='replace')) % len(_OTHERS)
        turned = (*_OTHERS[first:], *_OTHERS[:first])
        # More unknown families than styles share them.
        styles[family] = next((style for style in turned if style not in styles.values()), turned[0])
    return {family: styles[family] for family in families}


def encode(figure: Figure) -> bytes:
    """A figure as a PNG file with a palette, which is a third of the size; the same figure gives the same bytes.

    Args:
        figure: Any figure.

    Returns:
        The file's content.

    Example:
        >>> encode(Figure())[1:4]
        b'PNG'
    """
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format='png', dpi=150)
    image = PIL.Image.open(drawn).convert('RGB')
    # Unlike the default method, this one keeps colours that few pixels have, such as those of markers.
    image = image.quantize(256, PIL.Image.Quantize.MAXCOVERAGE, kmeans=2, dither=PIL.Image.Dither.NONE)
    image.save(file, format='PNG', optimize=True)
    return file.getvalue()

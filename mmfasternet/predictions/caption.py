"""An image above a legend of what was found in it."""

from functools import cache

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

__all__ = ['add_legend', 'text_font']

# Pixels of the smallest text, and the share of the image's width that a text is high.
_SMALLEST, _SHARE = 12, 1 / 40


def add_legend(image: Image.Image, rows: list[tuple[tuple[int, int, int], str]]) -> Image.Image:
    """Write a legend below an image, on white; a small image gets white at its right, so that texts fit.

    Args:
        image: The image, RGB.
        rows: The colour and the text of each entry.

    Returns:
        The image with its legend.

    Example:
        >>> add_legend(Image.new('RGB', (64, 48)), [((255, 0, 0), 'cat 0.93')]).size[1] > 48
        True
    """
    size = max(_SMALLEST, round(image.width * _SHARE))
    font, gap = text_font(size), size // 2
    widths = [round(size + gap + font.getlength(text) + 2 * gap) for _, text in rows]
    width = max([image.width, *(gap + wide for wide in widths)])
    places, x, y = [], gap, gap
    for wide in widths:
        if x > gap and x + wide > width:
            x, y = gap, y + size + gap
        places.append((x, y))
        x += wide
    drawn = Image.new('RGB', (width, image.height + (y + size + gap if rows else 0)), 'white')
    drawn.paste(image, (0, 0))
    draw = ImageDraw.Draw(drawn)
    for (colour, text), (x, y) in zip(rows, places, strict=True):
        top = image.height + y
        draw.rectangle((x, top, x + size, top + size), fill=tuple(colour), outline='black')
        draw.text((x + size + gap, top + size // 2), text, fill='black', font=font, anchor='lm')
    return drawn


@cache
def text_font(size: int) -> ImageFont.FreeTypeFont:
    """The font of texts in drawings.

    Args:
        size: Its height in pixels.

    Returns:
        The font.

    Example:
        >>> text_font(12).size
        12
    """
    return ImageFont.truetype(font_manager.findfont('DejaVu Sans'), size)

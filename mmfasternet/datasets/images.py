"""The images in a folder."""

from pathlib import Path

from PIL import Image

from mmfasternet.errors import UserError

__all__ = ['find_images']

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def find_images(path: str | Path) -> dict[Path, tuple[int, int]]:
    """Find the images at a path, and their sizes.

    Args:
        path: An image, or a folder of images.

    Returns:
        Path → (width, height) in pixels, in alphabetical order.

    Raises:
        UserError: If there is no image, or one can't be read.

    Example:
        >>> Image.new('RGB', (64, 48)).save('example.png')
        >>> find_images('example.png')
        {PosixPath('example.png'): (64, 48)}
    """
    path = Path(path)
    paths = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
    if not paths:
        raise UserError(f'no image in {path}: looked for {", ".join(_SUFFIXES)}')
    sizes = {}
    for file in paths:
        try:
            with Image.open(file) as image:
                sizes[file] = image.size
        except OSError as error:
            raise UserError(f'{file} cannot be read as an image: {error}') from error
    return sizes

"""Checkpoints from URLs: downloaded once per machine, completely and with the right hash, or not at all."""

import os
import re
from hashlib import sha256
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from uuid import uuid4

import torch
from mmengine.dist import barrier, is_distributed

from mmfasternet.errors import UserError
from mmfasternet.files import file_digest

from .saved import printable

__all__ = ['DownloadError', 'download', 'is_url', 'without_secrets']

_PART = 1 << 20
# Seconds without a byte.
_PATIENCE = 60


class DownloadError(UserError):
    """A URL can't be downloaded; the message says why."""


def is_url(source: str | Path) -> bool:
    """Tell whether a checkpoint is named by an http(s) URL.

    Args:
        source: Path or URL.

    Returns:
        Whether it is a URL.

    Example:
        >>> is_url('https://host/model.pth'), is_url('model.pth')
        (True, False)
    """
    return str(source).startswith(('http://', 'https://'))


def without_secrets(source: str | Path) -> str:
    """Name a checkpoint in a message: a URL without its user, password, and query, which may be a signature.

    Args:
        source: Path or URL.

    Returns:
        The path as it is, or the rest of the URL.

    Example:
        >>> without_secrets('https://user:password@host/model.pth?signature=1')
        'https://host/model.pth'
    """
    if not is_url(source):
        return str(source)
    scheme, _, rest = str(source).partition('://')
    place, slash, path = re.split('[?#]', rest, maxsplit=1)[0].partition('/')
    return printable(f'{scheme}://{place.rpartition("@")[2]}{slash}{path}', 300)


def download(url: str) -> Path:
    """Download a URL into torch hub's folder, unless it is there already.

    The file is named after the complete URL, so that one host's file is never taken for another's. If its name ends in
    a hash, as in ``resnet50-08e53e55.pth``, the content must have it, and then a file that torch has downloaded under
    that name is used as well.

    Args:
        url: The URL, http or https.

    Returns:
        Path of the file, which is complete. Where several processes run on a machine, the first of them downloads.

    Raises:
        DownloadError: If it can't be downloaded, ends early, or has another hash.

    Example:
        >>> download('http://[')
        Traceback (most recent call last):
        mmfasternet.weights.download.DownloadError: http://[ cannot be downloaded (it is not a valid URL)
    """
    try:
        name = Path(urlsplit(url).path).name
    except ValueError:
        raise DownloadError(f'{without_secrets(url)} cannot be downloaded (it is not a valid URL)') from None
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    expected = _hash_in(name)
    # The end of a long name, which has the suffix.
    plain = re.sub(r'[^\w.=+-]', '_', name, flags=re.ASCII)[-100:]
    path = folder / f'{sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:16]}-{plain}'

    def is_there(found: Path) -> bool:
        # Under the plain name lies whatever URL torch has downloaded first.
        return found.is_file() and (found == path or (expected != '' and file_digest(found).startswith(expected)))

    try:
        is_first = not is_distributed() or os.environ.get('LOCAL_RANK', '0') == '0'
        if is_first and not any(map(is_there, (path, folder / plain))):
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(url, path, expected)
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(f'{without_secrets(url)} cannot be downloaded ({_reason(error)})') from None
    finally:
        # The others wait for the file, and for its failure too.
        barrier()
    return path if is_there(path) or not is_there(folder / plain) else folder / plain


def _hash_in(name: str) -> str:
    """The start of the SHA-256 that a file's name ends in, as torch and OpenMMLab name files; not a date."""
    match = re.search(r'-(?!20\d{6}\.)([0-9a-f]{8,64})\.[^.]+$', name)
    return match[1] if match else ''


class _SameProtocol(HTTPRedirectHandler):
    """Follows redirects from http to http(s), and from https to https alone."""

    def redirect_request(self, request: Request, *args: Any) -> Request | None:
        target = args[-1]
        if not target.startswith(('https://', f'{request.type}://')):
            raise URLError(f'it redirects to {without_secrets(target)}, which is not as safe')
        return super().redirect_request(request, *args)


def _fetch(url: str, path: Path, expected: str) -> None:
    """Download to a temporary name, which becomes the file once it is complete."""
    part = path.with_name(f'{path.name}.{uuid4().hex}.part')
    digest, received = sha256(), 0
    request = Request(url, headers={'User-Agent': 'mmfasternet'})
    try:
        with build_opener(_SameProtocol).open(request, timeout=_PATIENCE) as response, part.open('xb') as file:
            length = response.headers.get('Content-Length')
            total = None if length is None else int(length)
            with torch.hub.tqdm(total=total, unit='B', unit_scale=True, desc=printable(path.name)) as bar:
                while content := response.read(_PART):
                    file.write(content)
                    digest.update(content)
                    received += len(content)
                    bar.update(len(content))
        if total is not None and received != total:
            raise URLError(f'the connection was cut after {received:,} of {total:,} bytes; try again')
        if not digest.hexdigest().startswith(expected):
            raise URLError(
                f'its SHA-256 starts with {digest.hexdigest()[: len(expected)]} and not with {expected}, as its name '
                'says: it was damaged or replaced'
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Why a download failed, in words that hold nothing of the URL."""
    if isinstance(error, HTTPError):
        return f'the server answers {error.code} {printable(error.reason)}'
    if isinstance(error, URLError):
        return printable(error.reason, 300)
    if isinstance(error, OSError):
        return printable(error.strerror or error)
    if isinstance(error, (ValueError, InvalidURL)):
        return 'the URL or the answer is not valid'
    return f'the server answers {type(error).__name__}'

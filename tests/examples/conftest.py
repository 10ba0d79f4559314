"""Exported detectors and a photograph for the tests of docs/examples."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.complete_models import build_small, write_small
from helpers.project import EXPORTS
from PIL import Image


@pytest.fixture(scope='session')
def export(slim, tmp_path_factory) -> Callable[..., Path]:
    """Export a small detector with a head, or Mask R-CNN; its images are resized to 192 × 128 pixels."""
    if not EXPORTS:
        pytest.skip('the export is tested with the default package set alone')
    from mmfasternet.deploy.export import export_onnx

    folder = tmp_path_factory.mktemp('exported')
    resize = dict(type='Resize', scale=(192, 192), keep_ratio=True)
    # RTMDet takes sides of a multiple of 32 alone.
    pad = dict(type='Pad', size=(192, 192), pad_val=dict(img=(114, 114, 114)))
    steps = [dict(type='LoadImageFromFile'), resize, pad, dict(type='PackDetInputs')]

    def export(head: str, **options) -> Path:
        base = slim if head == 'Mask R-CNN' else write_small(head, folder / f'{head}.py')
        config, checkpoint = folder / 'small.py', folder / 'epoch_1.pth'
        config.write_text(f'_base_ = {str(base)!r}\ntest_dataloader = dict(dataset=dict(pipeline={steps!r}))\n')
        torch.save(dict(state_dict=build_small(config).state_dict()), checkpoint)
        return export_onnx(config, folder / 'detector.onnx', checkpoint=str(checkpoint), **options).path

    return export


@pytest.fixture(scope='session')
def photo(tmp_path_factory) -> Path:
    """A photograph of 300 × 200 pixels that lies on its side, as its EXIF data says."""
    import skimage

    path, exif = tmp_path_factory.mktemp('photo') / 'photo.png', Image.Exif()
    exif[0x0112] = 6
    upright = Image.fromarray(skimage.data.coffee()).resize((300, 200))
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    return path

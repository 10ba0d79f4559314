"""A batch of images of several sizes is one message that says what to change."""

import pytest
import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.structures import SegDataSample

from mmfasternet.datasets.annotations import DataError
from mmfasternet.engine.sizes import explain_sizes


@pytest.mark.parametrize('training', [True, False])
def test_several_sizes_in_a_batch(training):
    prepare = SegDataPreProcessor(size=(32, 32))
    batch = dict(
        inputs=[torch.zeros(3, 40, 48), torch.zeros(3, 48, 40)], data_samples=[SegDataSample(), SegDataSample()]
    )
    with pytest.raises(DataError, match=r'add RandomCrop\(crop_size=.*val_dataloader.batch_size=1'), explain_sizes():
        prepare(batch, training)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match='other'), explain_sizes():
        raise RuntimeError('other')

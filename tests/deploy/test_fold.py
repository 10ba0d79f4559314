"""One fold for every network: fewer batch norms, the same values, and an error where that fails."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mmfasternet.benchmark.measure.paths import randomize_norms
from mmfasternet.deploy import fold
from mmfasternet.deploy.fold import (
    TOLERANCE,
    check_same,
    count_norms,
    fold_model,
    largest_difference,
    merge_branches,
)
from mmfasternet.errors import UserError
from mmfasternet.models.timm_features import TimmFeatures


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8)).eval()
    nn.init.uniform_(model[1].running_mean, -1, 1)
    return model


def maps(model: nn.Module) -> list[torch.Tensor]:
    return [model(torch.ones(1, 3, 16, 16))]


def test_a_norm_behind_a_convolution_is_folded_and_another_is_not():
    model = network()
    before = copy.deepcopy(model.state_dict())
    folded, count, difference = fold_model(model, maps, 'example')
    assert (count, count_norms(folded)) == (1, 1) and difference <= TOLERANCE
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def convolutions(model: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d) for module in model.modules())


def test_branches_of_timm_are_merged_in_a_copy():
    torch.manual_seed(0)
    backbone = TimmFeatures('repvit_m0_9').eval()
    randomize_norms(backbone)
    before = convolutions(backbone)
    for model in (backbone, nn.Sequential(backbone)):
        merged = merge_branches(model)
        assert convolutions(merged) < before == convolutions(backbone)
        check_same(model, merged, lambda one: one(torch.ones(1, 3, 64, 96)), 'repvit')


def test_a_wrong_fold_is_refused(monkeypatch):
    monkeypatch.setattr(fold, 'fuse_conv_bn', lambda model: nn.Sequential(model[0], *model[2:]))
    with pytest.raises(UserError, match='example folded computes something else'):
        fold_model(network(), maps, 'example')


def test_nan_is_no_agreement():
    nan, one = torch.tensor([float('nan')]), torch.ones(1)
    assert np.isnan(largest_difference([one, nan, one], [one, one, one]))
    with pytest.raises(UserError):
        check_same(nn.Identity(), nn.ReLU(), lambda model: [nan], 'example')


def test_arrays_and_tensors_of_any_type():
    expected = np.array([[2.0, -4.0]], np.float32)
    assert largest_difference([expected + 1], [expected]) == pytest.approx(0.25)
    assert largest_difference([torch.tensor([2.0, -3.0]).bfloat16()], [torch.tensor([2.0, -4.0])]) == 0.25

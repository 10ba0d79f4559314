"""Every family of timm is a backbone, or is listed with the reason why not."""

import pytest
from helpers.timm_families import PAGES, families, find_out, read_tables

TABLES = {to: read_tables(page) for to, page in PAGES.items()}


@pytest.mark.slow
@pytest.mark.parametrize('family', families())
def test_row(family):
    arch = families()[family]
    fits, rests = find_out(arch)
    for to, (backbones, others) in TABLES.items():
        row = (backbones if fits else others)[family]
        assert row == (arch, rests[to].rstrip('| ')), to
        assert family not in (others if fits else backbones)


def test_tables_list_every_family_once():
    for backbones, others in TABLES.values():
        assert sorted([*backbones, *others]) == list(families())
        # 98 families in timm 1.0.31, three quarters of them backbones.
        assert len(backbones) > 2 * len(others) > 0

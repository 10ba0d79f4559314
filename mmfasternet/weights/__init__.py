"""Weights: how a checkpoint is read without running code in it, converted, checked, and loaded into a model."""

from .convert import save_backbone
from .initialize import load_pretrained
from .reader import CheckpointError, read_checkpoint, read_metadata, trust_checkpoints, use_safe_reader

__all__ = [
    'CheckpointError',
    'load_pretrained',
    'read_checkpoint',
    'read_metadata',
    'save_backbone',
    'trust_checkpoints',
    'use_safe_reader',
]

"""The same function, faster: optimized for inference, exported, quantized."""

from .optimize import optimize_for_inference

__all__ = ['optimize_for_inference']

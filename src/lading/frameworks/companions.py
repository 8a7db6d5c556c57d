"""Packages that are compiled against torch: where PyTorch's index has a build of them for torch's label, they come from there with it."""

from __future__ import annotations

COMPANIONS = (
    "torchtext",
    "torchao",
    "torchcodec",
    "torchdata",
    "torchrec",
    "torchtune",
    "torch-tensorrt",
    "fbgemm-gpu",
    "fbgemm-gpu-genai",
    "xformers",
    "flash-attn",
    "flash-attn-3",
    "triton",
    "pytorch-triton",
    "pytorch-triton-rocm",
    "pytorch-triton-xpu",
    "triton-rocm",
    "triton-xpu",
)
"""As PyTorch's indexes host them beside torch, torchvision and torchaudio (uv routes the same names, 2026-08)."""

COMPILED = frozenset(
    {"torchao", "torchcodec", "torch-tensorrt", "fbgemm-gpu", "fbgemm-gpu-genai", "xformers", "flash-attn", "flash-attn-3"}
)
"""Those that hold compiled code of their own, so that a build for another torch or CUDA does not load."""

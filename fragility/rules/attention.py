"""Attention as the products and the softmax that it is made of, so that a function mode sees each of them.

Torch's fused functions are one call to a mode. `OPENED` gives for each of them a function that computes the same by
calls of its own; run inside the mode, it shows the mode what a model that writes attention out would show it.
"""

from types import FunctionType

import torch
import torch.nn.functional as F
from torch import Tensor


def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None,
                                 enable_gqa=False) -> Tensor:
    """Torch's function of that name, by two matrix products and a softmax; dropout is refused before."""
    if enable_gqa:
        key, value = (one.repeat_interleave(query.shape[-3] // one.shape[-3], -3) for one in (key, value))
    scores = torch.matmul(query * (query.shape[-1] ** -0.5 if scale is None else scale), key.transpose(-2, -1))
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:       # a sum, not a choice: what is added does not depend on x
            allowed = attn_mask
            attn_mask = torch.zeros(allowed.shape, dtype=scores.dtype, device=scores.device)
            attn_mask = attn_mask.masked_fill(~allowed, -torch.inf)
        scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), value)


def _baddbmm(input, batch1, batch2, *, beta=1, alpha=1, out=None) -> Tensor:
    product = torch.matmul(batch1, batch2)
    return (input if beta == 1 else beta * input) + (product if alpha == 1 else alpha * product)


# Torch's own code, which would hand itself over to the mode as a whole if it asked whether one is running.
_multi_head = FunctionType(F.multi_head_attention_forward.__code__,
                           {**vars(F), "has_torch_function": lambda tensors: False}, "multi_head_attention_forward",
                           F.multi_head_attention_forward.__defaults__)
_multi_head.__kwdefaults__ = F.multi_head_attention_forward.__kwdefaults__

OPENED = {F.scaled_dot_product_attention: scaled_dot_product_attention, torch.baddbmm: _baddbmm,
          Tensor.baddbmm: _baddbmm, F.multi_head_attention_forward: _multi_head}

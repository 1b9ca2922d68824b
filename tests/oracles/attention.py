"""Slow twin of AttnLRP, from the equations of Achtibat et al. (2024): one image, one token and one number at a time.

Relevance itself goes back here, not multipliers. A weighted layer and a matrix product are stabilised by epsilon with
the sign of what they give, a product halves its relevance first; sums, norms and functions of single values are not.
Beside each relevance the leak is counted: what a bias, a constant summand or the softmax keeps.
"""

import math

import torch


def _sign(value):
    return -1.0 if value < 0 else 1.0


class Leaks(dict):
    """Name -> relevance that is not passed on."""

    def note(self, name, before, after):
        self[name] = self.get(name, 0.0) + float(before.sum()) - sum(float(one.sum()) for one in after)


def linear(values, weight, bias, relevance, epsilon, leaks, name="layers"):
    """R_i = sum_j x_i w_ji R_j / (z_j + epsilon sign z_j) for one token; z_j with its bias."""
    passed = torch.zeros_like(values)
    for j in range(len(weight)):
        z = float(sum(values[i] * weight[j, i] for i in range(len(values)))) + (0.0 if bias is None else float(bias[j]))
        for i in range(len(values)):
            passed[i] += values[i] * weight[j, i] / (z + epsilon * _sign(z)) * relevance[j]
    leaks.note(name, relevance, [passed])
    return passed


def product(left, right, relevance, epsilon, leaks):
    """Both relevances of O = left right, (rows, inner) and (inner, columns): R(A_ji) = sum_p A_ji V_ip R_jp / (2 O_jp +
    epsilon sign O_jp), the same for V."""
    to_left, to_right = torch.zeros_like(left), torch.zeros_like(right)
    for j in range(left.shape[0]):
        for p in range(right.shape[1]):
            out = float(sum(left[j, i] * right[i, p] for i in range(left.shape[1])))
            for i in range(left.shape[1]):
                share = left[j, i] * right[i, p] / (2 * out + epsilon * _sign(out)) * relevance[j, p]
                to_left[j, i] += share
                to_right[i, p] += share
    leaks.note("products", relevance, [to_left, to_right])
    return to_left, to_right


def softmax(values, relevance, leaks):
    """R_i = x_i (R'_i - s_i sum_j R'_j), a row at a time."""
    passed = torch.zeros_like(values)
    for row in range(len(values)):
        exponentials = [math.exp(float(one)) for one in values[row]]
        whole = float(relevance[row].sum())
        for i, one in enumerate(exponentials):
            passed[row, i] = values[row, i] * (relevance[row, i] - one / sum(exponentials) * whole)
    leaks.note("softmax", relevance, [passed])
    return passed


def norm(values, layer, relevance, leaks):
    """Layer norm of one token as a linear layer: the standard deviation is a constant, the mean is not."""
    d, passed = len(values), torch.zeros_like(values)
    mean = float(values.mean())
    deviation = math.sqrt(float(((values - mean) ** 2).mean()) + layer.eps)
    for j in range(d):
        z = float((values[j] - mean) / deviation * layer.weight[j] + layer.bias[j])
        for i in range(d):
            weight = float(layer.weight[j]) * ((i == j) - 1 / d) / deviation
            passed[i] += values[i] * weight / z * relevance[j]
    leaks.note("norms", relevance, [passed])
    return passed


def share(part, whole, relevance):
    """What a summand gets: in proportion."""
    return part / whole * relevance


def _gelu(z):
    return torch.tensor([0.5 * float(one) * (1 + math.erf(float(one) / math.sqrt(2))) for one in z], dtype=z.dtype)


def attention_forward(block, normed):
    """(output before the projection, [(q, k, v, scores, weights) of each head]) of one image's tokens."""
    inner, d = block.attention, normed.shape[1]
    size = d // inner.num_heads
    qkv = torch.stack([inner.in_proj_weight @ token + inner.in_proj_bias for token in normed])
    heads, outputs = [], []
    for h in range(inner.num_heads):
        q, k, v = (qkv[:, part * d + h * size:part * d + (h + 1) * size] for part in range(3))
        scores = q / math.sqrt(size) @ k.T
        weights = torch.stack([row.exp() / row.exp().sum() for row in scores])
        heads.append((q, k, v, scores, weights))
        outputs.append(weights @ v)
    return torch.cat(outputs, 1), heads


def block_forward(block, tokens):
    """All values of one block that its relevance needs, the last being its output."""
    normed = torch.stack([block.norm(one) for one in tokens])
    mixed, heads = attention_forward(block, normed)
    attended = torch.stack([block.attention.out_proj(one) for one in mixed])
    middle = tokens + attended
    second = torch.stack([block.second_norm(one) for one in middle])
    hidden = torch.stack([block.layers[0](one) for one in second])
    active = torch.stack([_gelu(one) for one in hidden])
    last = torch.stack([block.layers[2](one) for one in active])
    return normed, mixed, heads, attended, middle, second, hidden, active, last, middle + last


def block_relevance(block, tokens, relevance, epsilon, leaks):
    """Relevance of a block's input tokens, from that of its output."""
    normed, mixed, heads, attended, middle, second, hidden, active, last, out = block_forward(block, tokens)
    inner, d = block.attention, tokens.shape[1]

    def each(function, *columns):
        return torch.stack([function(*row) for row in zip(*columns)])

    def layer(values, one, r):
        return each(lambda v, part: linear(v, one.weight, one.bias, part, epsilon, leaks), values, r)
    to_middle, to_last = share(middle, out, relevance), share(last, out, relevance)
    to_active = layer(active, block.layers[2], to_last)
    to_second = layer(second, block.layers[0], to_active)           # an element-wise function passes it on as it is
    to_middle = to_middle + each(lambda v, r: norm(v, block.second_norm, r, leaks), middle, to_second)
    to_tokens, to_attended = share(tokens, middle, to_middle), share(attended, middle, to_middle)
    to_mixed = layer(mixed, inner.out_proj, to_attended)
    size, to_qkv = d // inner.num_heads, torch.zeros(len(tokens), 3 * d, dtype=tokens.dtype)
    for h, (q, k, v, scores, weights) in enumerate(heads):
        to_weights, to_v = product(weights, v, to_mixed[:, h * size:(h + 1) * size], epsilon, leaks)
        to_q, to_k = product(q / math.sqrt(size), k.T, softmax(scores, to_weights, leaks), epsilon, leaks)
        for part, one in enumerate((to_q, to_k.T, to_v)):
            to_qkv[:, part * d + h * size:part * d + (h + 1) * size] = one
    weight, bias = inner.in_proj_weight, inner.in_proj_bias
    to_normed = each(lambda v, r: linear(v, weight, bias, r, epsilon, leaks), normed, to_qkv)
    return to_tokens + each(lambda v, r: norm(v, block.norm, r, leaks), tokens, to_normed)


def attn_lrp(model, x, labels, epsilon):
    """Maps (n, c, h, w) of a `tests.networks.Transformer`, and the leaks of each image."""
    maps, leaks_of = torch.zeros_like(x), []
    for image, label in zip(range(len(x)), labels):
        leaks = Leaks()
        patches = model.patches(x[image:image + 1])[0]
        rows, columns = patches.shape[1:]
        places = patches.flatten(1).T
        summed = places if model.token is None else torch.cat([model.token[0], places])
        stream = [summed + model.positions[0]]
        for block in model.blocks:
            stream.append(block_forward(block, stream[-1])[-1])
        normed = torch.stack([model.norm(one) for one in stream[-1]])
        pooled = normed.mean(0) if model.token is None else normed[0]
        logits = model.head(pooled)
        relevance = torch.zeros_like(logits)
        relevance[label] = logits[label]
        to_pooled = linear(pooled, model.head.weight, model.head.bias, relevance, epsilon, leaks)
        to_normed = torch.zeros_like(normed)
        if model.token is None:
            for token in range(len(normed)):
                to_normed[token] = share(normed[token] / len(normed), pooled, to_pooled)
        else:
            to_normed[0] = to_pooled
        to_stream = torch.stack([norm(v, model.norm, r, leaks) for v, r in zip(stream[-1], to_normed)])
        for block, tokens in zip(reversed(model.blocks), reversed(stream[:-1])):
            to_stream = block_relevance(block, tokens, to_stream, epsilon, leaks)
        to_summed = share(summed, stream[0], to_stream)
        leaks.note("positions", to_stream, [to_summed])
        if model.token is not None:
            leaks.note("class token", to_summed[0], [])
            to_summed = to_summed[1:]
        weight, stride = model.patches.weight.flatten(1), model.patches.stride[0]
        for i in range(rows):
            for j in range(columns):
                window = (image, slice(None), slice(i * stride, (i + 1) * stride), slice(j * stride, (j + 1) * stride))
                values = x[window].flatten()
                maps[window] = linear(values, weight, model.patches.bias, to_summed[i * columns + j], epsilon,
                                      leaks).view_as(x[window])
        leaks_of.append(leaks)
    return maps, leaks_of


def modified_gradients(model, x, labels):
    """The same for a vanishing epsilon as input times a modified gradient: constants are detached, products halved.

    With d for "without derivative": f(z) becomes z d(f(z) / z), a layer norm's standard deviation is d(...), and of a
    product A V half is A d(V), half is d(A) V.
    """
    def halved(a, b):
        return (a @ b.detach() + a.detach() @ b) / 2

    def normalise(z, layer):
        centred = z - z.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt().detach()
        return centred / deviation * layer.weight + layer.bias

    leaf = x.clone().requires_grad_()
    z = model.patches(leaf).flatten(2).transpose(1, 2)
    if model.token is not None:
        z = torch.cat([model.token.expand(len(z), -1, -1), z], 1)
    z = z + model.positions
    for block in model.blocks:
        inner = block.attention
        qkv = normalise(z, block.norm) @ inner.in_proj_weight.T + inner.in_proj_bias
        q, k, v = (one.unflatten(2, (inner.num_heads, -1)).transpose(1, 2) for one in qkv.chunk(3, 2))
        mixed = halved((halved(q, k.mT) / q.shape[-1] ** 0.5).softmax(-1), v)
        z = z + inner.out_proj(mixed.transpose(1, 2).flatten(2))
        hidden = block.layers[0](normalise(z, block.second_norm))
        z = z + block.layers[2](hidden * (torch.nn.functional.gelu(hidden) / hidden).detach())
    z = normalise(z, model.norm)
    logits = model.head(z.mean(1) if model.token is None else z[:, 0])
    return x * torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), leaf)[0]

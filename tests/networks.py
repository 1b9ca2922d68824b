"""Small networks for the tests: plain ones with their layers written down, ReLU in every style, and leaks."""

import copy
import inspect
import threading

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from fragility import attribution


def build(make, seed=0, dtype=torch.float64):
    """A model from `make()`, in eval mode, its random weights fixed by `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(dtype).eval()


def images(n=3, size=8, channels=3, seed=0, dtype=torch.float64):
    """Uniform noise images in [0, 1]."""
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Normalise(nn.Module):
    """(x - mean) / std, a channel at a time, as a model does inside itself."""

    def __init__(self, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64).view(-1, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.std


class Skip(nn.Module):
    """x + body(x)."""

    def __init__(self, *body):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return x + self.body(x)


def plain(activation=nn.ReLU, bias=True):
    """Two convolutions, a max-pool, a linear layer."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=bias), activation(), nn.MaxPool2d(2),
                         nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=bias), activation(), nn.Flatten(),
                         nn.Linear(32, 5, bias=bias))


def unpooled(activation=nn.ReLU, bias=True):
    """Strides in place of pools."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, bias=bias), activation(), nn.Conv2d(6, 8, 2, bias=bias),
                         activation(), nn.Flatten(), nn.Linear(32, 12, bias=bias), activation(),
                         nn.Linear(12, 5, bias=bias))


def mlp(activation=nn.ReLU, bias=True):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(192, 20, bias=bias),
        activation(),
        nn.Linear(20, 12, bias=bias),
        activation(),
        nn.Linear(12, 5, bias=bias),
    )


def overlapping(activation=nn.ReLU, bias=True):
    """Max-pool windows that overlap and stick out."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, bias=bias), activation(), nn.MaxPool2d(3, 2, 1), nn.Flatten(),
                         nn.Linear(54, 12, bias=bias), activation(), nn.Linear(12, 5, bias=bias))


def averaged(activation=nn.ReLU, bias=True):
    """Average pool; a grouped, dilated convolution."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=bias), activation(), nn.AvgPool2d(2),
                         nn.Conv2d(6, 8, 2, dilation=2, groups=2, bias=bias), activation(), nn.Flatten(),
                         nn.Linear(32, 5, bias=bias))


def residual(activation=nn.ReLU, bias=True):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, bias=bias),
        activation(),
        Skip(nn.Conv2d(6, 6, 3, padding=1, bias=bias), activation()),
        nn.MaxPool2d(3),
        nn.Flatten(),
        nn.Linear(6, 12, bias=bias),
        activation(),
        nn.Linear(12, 5, bias=bias),
    )


def normalised(activation=nn.ReLU, bias=True):
    return nn.Sequential(Normalise(), *plain(activation, bias))


def wide(activation=nn.ReLU):
    """For 12 x 12 images: no pool, so smooth where the activation is; many ReLUs, so that maps can change."""
    return nn.Sequential(nn.Conv2d(3, 16, 3), activation(), nn.Conv2d(16, 32, 3), activation(), nn.Flatten(),
                         nn.Linear(2048, 5))


SMALL = {make.__name__: make for make in (plain, unpooled, mlp, overlapping, averaged, residual, normalised)}


def batch_normed():
    """Batch norm with statistics of its own, and dropout: what evaluation mode must keep fixed."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values, low, high in ((norm.weight, 0.5, 2), (norm.bias, -1, 1), (norm.running_mean, -1, 1),
                                      (norm.running_var, 0.5, 2)):
                nn.init.uniform_(values, low, high)
    return model


# ------------------------------------------------------------------------------------- attention, in many spellings
def _heads(z, attention):
    """q, k and v (n, heads, tokens, d / heads) by the weights of an nn.MultiheadAttention."""
    qkv = F.linear(z, attention.in_proj_weight, attention.in_proj_bias)
    return qkv.reshape(*z.shape[:2], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)


def _fused(z, attention):
    return F.scaled_dot_product_attention(*_heads(z, attention))


def _plain_attention(z, attention):
    q, k, v = _heads(z, attention)
    return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1) @ v


def _by_einsum(z, attention):
    q, k, v = _heads(z, attention)
    weights = torch.softmax(torch.einsum("nhid,nhjd->nhij", q, k) * q.shape[-1] ** -0.5, dim=-1)
    return torch.einsum("nhij,nhjd->nhid", weights, v)


def _by_bmm(z, attention):
    q, k, v = (one.flatten(0, 1) for one in _heads(z, attention))
    weights = F.softmax(torch.bmm(q / q.shape[-1] ** 0.5, k.mT), dim=2)
    return torch.bmm(weights, v).unflatten(0, (len(z), -1))


ATTENTION = {"module": None, "with its weights": None, "fused": _fused, "plain": _plain_attention,
             "einsum": _by_einsum, "bmm": _by_bmm}


class Block(nn.Module):
    """Attention and two layers, each behind a norm and beside a skip."""

    def __init__(self, dim, heads, spelling):
        super().__init__()
        self.norm, self.second_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.layers = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.spelling = spelling
        for one in (self.norm, self.second_norm):
            nn.init.uniform_(one.weight, 0.5, 1.5)
            nn.init.uniform_(one.bias, -0.5, 0.5)
        nn.init.normal_(self.attention.in_proj_weight, std=0.6)     # weights of attention far from equal
        nn.init.normal_(self.attention.in_proj_bias, std=0.2)
        nn.init.normal_(self.attention.out_proj.bias, std=0.2)

    def attend(self, z):
        if (attend := ATTENTION[self.spelling]) is None:
            return self.attention(z, z, z, need_weights=self.spelling == "with its weights")[0]
        return self.attention.out_proj(attend(z, self.attention).transpose(1, 2).flatten(2))

    def forward(self, z):
        z = z + self.attend(self.norm(z))
        return z + self.layers(self.second_norm(z))


class Transformer(nn.Module):
    """Patches of two pixels as tokens, a class token or the mean over places; the weights of every spelling agree."""

    def __init__(self, spelling="module", class_token=True, blocks=2, dim=12, heads=3, size=8):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, dim)) if class_token else None
        self.positions = nn.Parameter(torch.randn(1, (size // 2) ** 2 + class_token, dim) / 2)
        self.blocks = nn.Sequential(*(Block(dim, heads, spelling) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 5)

    def forward(self, x):
        z = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            z = torch.cat([self.token.expand(len(z), -1, -1), z], 1)
        z = self.norm(self.blocks(z + self.positions))
        return self.head(z.mean(1) if self.token is None else z[:, 0])


def transformer(**options):
    """A factory of a :class:`Transformer`, for `build`."""
    return lambda: Transformer(**options)


OF_ATTENTION = ("attention_rollout", "gradient_attention_rollout")      # maps of transformers alone


def options(method, **offered):
    """Those of the offered options that a method of the table takes."""
    taken = inspect.signature(attribution.METHODS[method]).parameters
    return {name: value for name, value in offered.items() if name in taken}


def taken_by(method):
    """A factory of a network that a method takes: convolutions, or attention where it is made of that."""
    return Transformer if method in OF_ATTENTION else batch_normed


def write_down(model):
    """The layers of a sequential model as tests.oracles.rules wants them."""
    layers = []
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            bias = None if layer.bias is None else layer.bias.detach()
            layers.append(("conv2d", layer.weight.detach(), bias, layer.stride[0], layer.padding[0],
                           layer.dilation[0], layer.groups))
        elif isinstance(layer, nn.Linear):
            layers.append(
                ("linear", layer.weight.detach(), None if layer.bias is None else layer.bias.detach())
            )
        elif isinstance(layer, nn.MaxPool2d):
            layers.append(("maxpool", layer.kernel_size, layer.stride, layer.padding))
        elif isinstance(layer, nn.AvgPool2d):
            layers.append(("avgpool", layer.kernel_size, layer.stride))
        elif isinstance(layer, Normalise):
            scale = 1 / layer.std.flatten()
            layers.append(("affine", scale, -layer.mean.flatten() * scale))
        elif isinstance(layer, Skip):
            layers.append(("skip", write_down(layer.body)))
        else:
            layers.append(({nn.ReLU: "relu", nn.ReLU6: "relu6", nn.Flatten: "flatten"}[type(layer)],))
    return layers


# ----------------------------------------------------------------------------- one net, many activations
class Styled(nn.Module):
    """Convolution, `middle`, convolution, `middle` again, linear layer; the weights of every style agree."""

    def __init__(self, middle):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 6, 2)
        self.last = nn.Linear(24, 5)
        self.middle = middle

    def forward(self, x):
        return self.last(self.middle(self.second(self.middle(self.first(x)))).flatten(1))


def styled(middle, seed=0):
    return build(lambda: Styled(copy.deepcopy(middle) if isinstance(middle, nn.Module) else middle), seed)


def _inplace_then_on(z):
    F.relu(z, inplace=True)
    return z


def _inplace_alias_sum(z):
    return (F.relu(z, inplace=True) + z) / 2


def _inplace_method_then_on(z):
    z.relu_()
    return z * 1.0


RELU_STYLES = {
    "re-used module": nn.ReLU(),
    "re-used in-place module": nn.ReLU(inplace=True),
    "functional": F.relu,
    "torch.relu": torch.relu,
    "method": lambda z: z.relu(),
    "functional in-place": lambda z: F.relu(z, inplace=True),
    "torch.relu_": torch.relu_,
    "method in-place": lambda z: z.relu_(),
    "in-place, goes on with the input": _inplace_then_on,
    "in-place, result and input added": _inplace_alias_sum,
    "in-place method, goes on": _inplace_method_then_on,
    "clamp": lambda z: z.clamp(0),
    "clip": lambda z: torch.clip(z, min=0.0),
    "clip in-place": lambda z: z.clip_(0.0),
    "clamp_": lambda z: torch.clamp_(z, min=0),
    "clamp_min": lambda z: torch.clamp_min(z, 0.0),
    "clamp_min_": lambda z: z.clamp_min_(0),
    "threshold": nn.Threshold(0, 0),
    "threshold in-place": nn.Threshold(0.0, 0.0, inplace=True),
    "maximum": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "maximum with one zero": lambda z: z.maximum(torch.tensor(0.0)),
    "maximum, zero first": lambda z: torch.maximum(z.new_zeros(()), z),
}


# ----------------------------------------------------------------- what slips past a torch function mode
def _in_a_thread(z):
    results = []
    thread = threading.Thread(target=lambda: results.append(torch.relu(z)))
    thread.start()
    thread.join()
    return results[0]


def _attention(z):
    tokens = z.flatten(2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).reshape(z.shape)


class _Gating(nn.Module):
    def forward(self, z):
        return z * torch.sigmoid(z)


def scripted(function):
    """torch.jit.script of a function or module, without the notice that the compiler is old."""
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(function)


def _plain_relu(z):
    return torch.relu(z)


def leaks():
    """name -> (activation, words one of which the refusal must contain)."""
    return {
        "scripted function": (scripted(_plain_relu), "relu"),
        "another thread": (_in_a_thread, "relu"),
        "aten call": (torch.ops.aten.relu, "relu"),
        "clamp": (lambda z: z.clamp(min=-0.1), "clamp"),
        "where": (lambda z: torch.where(z > 0, z, torch.zeros_like(z)), r"where|\bgt\b|greater|compar|>"),
        "mask product": (lambda z: z * (z > 0), r"mul|\bgt\b|greater|compar|>"),
        "hardtanh": (lambda z: F.hardtanh(z, -1.0, 1.0), "hardtanh"),
        "hardtanh from above zero": (nn.Hardtanh(0.5, 3.0), "hardtanh"),
        "attention": (_attention, "attention|dot_product|softmax|bmm|matmul"),
        "sigmoid gate": (_Gating(), "sigmoid|mul"),
        "product": (lambda z: z * z.flip(1), "mul|product"),
        "matrix product": (lambda z: z @ z.transpose(-1, -2), "matmul|bmm|mm|product"),
        "batch statistics": (nn.BatchNorm2d(6, track_running_stats=False, affine=False), "batch"),
    }


def checkpointed(z):
    """Non-re-entrant checkpointing runs the forward pass again during the backward pass, outside any mode."""
    return checkpoint(torch.relu, z, use_reentrant=False)


class _OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, r):
        return r * (ctx.saved_tensors[0] > 0)


def _half_view_in_place(z):
    z[:, :3].relu_()
    z[:, 3:].relu_()
    return z


def _masked_assignment(z):
    z = z.clone()
    z[z < 0] = 0
    return z


def _mask_without_gradient(z):
    with torch.no_grad():
        mask = (z > 0).to(z.dtype)
    return z * mask


DISGUISES = {  # each computes relu(z) exactly: the map of the plain ReLU, or a refusal, but nothing else
    "own autograd function": _OwnReLU.apply,
    "half of z + |z|": lambda z: (z + z.abs()) / 2,
    "detached mask": lambda z: z * (z.detach() > 0),
    "mask under no_grad": _mask_without_gradient,
    "masked fill": lambda z: z.masked_fill(z < 0, 0.0),
    "masked assignment": _masked_assignment,
    "in-place on views": _half_view_in_place,
    "leaky with slope 0": lambda z: F.leaky_relu(z, 0.0),
    "re-entrant checkpoint": lambda z: checkpoint(torch.relu, z, use_reentrant=True),
    "numpy mask": lambda z: z * torch.from_numpy(z.detach().numpy() > 0),
    "hardtanh without an end": lambda z: F.hardtanh(z, 0.0, float("inf")),
    "per-image loop": lambda z: torch.stack([torch.relu(one) for one in z]),
    "module of a list": lambda z: torch.cat([torch.relu(part) for part in z.split(2, 1)], 1),
}


# ------------------------------------------------------------------------ is the model as it was before?
def snapshot(model):
    """Everything of a model that an explanation has no business changing."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "bits": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "layout": {
            name: (tensor.stride(), tensor.dtype, tensor.data_ptr(), tensor._version)
            for name, tensor in tensors.items()
        },
        "requires grad": {name: tensor.requires_grad for name, tensor in tensors.items()},
        "grad": {
            name: None if tensor.grad is None else tensor.grad.clone() for name, tensor in tensors.items()
        },
        "tensor hooks": {name: len(tensor._backward_hooks or ()) for name, tensor in tensors.items()},
        "training": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "forward": [module.forward.__func__ for module in model.modules()],
        "hooks": [
            {
                name: len(value)
                for name, value in vars(module).items()
                if "hook" in name and hasattr(value, "__len__")
            }
            for module in model.modules()
        ],
        "global hooks": {
            name: len(value)
            for name, value in vars(nn.modules.module).items()
            if name.startswith("_global") and hasattr(value, "__len__")
        },
    }


def assert_same(before, after):
    """Two snapshots agree, bit for bit."""
    for part in before:
        if part in ("bits", "grad"):
            for name, tensor in before[part].items():
                other = after[part][name]
                assert (tensor is None) == (other is None), f"{part} of {name} appeared or went"
                assert tensor is None or torch.equal(tensor, other), f"{part} of {name} changed"
        else:
            assert before[part] == after[part], f"{part} changed"


class Failing(nn.Module):
    """Raises in the middle of a forward pass."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3, stride=2), nn.Linear(54, 5)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        self.act(self.first(x))
        raise RuntimeError("planned failure")


def assert_torch_as_before():
    """No mode, no changed derivative and no ban on saved-tensor hooks is left behind."""
    z = torch.tensor([-1.0, 2.0], requires_grad=True)
    F.relu(z).backward(torch.tensor([-3.0, -3.0]))
    assert z.grad.tolist() == [0.0, -3.0]
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        assert (z * z).sum().requires_grad
    assert torch.is_grad_enabled()

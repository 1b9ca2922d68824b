"""What must not happen inside a model while it is explained: training-time behaviour, whatever wraps the model."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Functions that behave otherwise in training, and where their switch stands among the arguments.
_SWITCHES = {F.dropout: 2, F.alpha_dropout: 2, F.dropout1d: 2, F.dropout2d: 2, F.dropout3d: 2,
             F.feature_alpha_dropout: 2, torch.dropout: 2, torch.feature_dropout: 2, F.batch_norm: 5,
             torch.batch_norm: 5, F.rrelu: 3}
_PROBABILITY = {F.scaled_dot_product_attention: 4}      # its dropout has no switch, only a probability
_IDLE = {F.dropout, F.alpha_dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.feature_alpha_dropout, torch.dropout,
         torch.feature_dropout}


class EvalModeGuard(TorchFunctionMode):
    """Refuses dropout and batch norm in training mode as they are called, whatever the model is wrapped in."""

    def __init__(self):
        super().__init__()
        self.counted: Tensor | None = None      # the counter of batches that a batch norm has just raised

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.watch(function, args, kwargs or {})
        return function(*args, **(kwargs or {}))

    def watch(self, function, args: tuple, kwargs: dict) -> None:
        """Raise ValueError where the call is one of training; the counter that it has raised is put back."""
        if in_training(function, args, kwargs):
            if self.counted is not None:
                with torch._C.DisableTorchFunction(), torch.no_grad():
                    self.counted -= 1
            raise ValueError(f"The model calls {function.__name__} in training mode, where maps depend on the batch "
                             "and on chance; call eval() on the module that is explained, or on the one inside the "
                             "function.")
        counts = function is Tensor.add_ and args[0].ndim == 0 and args[0].dtype == torch.int64
        self.counted = args[0] if counts else None


def in_training(function, args: tuple, kwargs: dict) -> bool:
    """Whether a call would behave as in training."""
    place = _SWITCHES.get(function)
    if function is F.instance_norm:         # without running statistics it is the same in either mode
        return _argument(args, kwargs, 1, "running_mean", None) is not None and bool(
            _argument(args, kwargs, 5, "use_input_stats", True))
    if place is None:
        place = _PROBABILITY.get(function)
        return place is not None and bool(_argument(args, kwargs, place, "dropout_p", 0.0))
    if function in _IDLE and _argument(args, kwargs, 1, "p", 0.5) == 0:
        return False
    default = function in (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
    name = "train" if function in (torch.dropout, torch.feature_dropout) else "training"
    return bool(_argument(args, kwargs, place, name, default))


def _argument(args: tuple, kwargs: dict, place: int, name: str, default):
    return args[place] if len(args) > place else kwargs.get(name, default)

"""Turn a kernel into a public map method, and describe methods to attacks and ensembles.

A method is a function (model, x, target=None, *, options) that carries its kernel and its form; `functools.partial` of
a method is still that method, with some options given.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast, overload

import torch

from fragility import checks
from fragility.passes import Targets

P = ParamSpec("P")
Maps = TypeVar("Maps", covariant=True)

#: How a map is made from gradients g of the explained logit, which attacks make use of: g itself, x (measured from a
#: root) times g, the path integral of g, or a moment of g under noise. A "forward" map holds no gradient: it has a
#: derivative where the network has one, so it needs no smooth twin. A map without a form is differentiated directly.
FORMS = ("gradient", "times-input", "path", "mean", "mean-square", "variance", "forward")


Form = str | Callable[[dict], str | None] | None


class Method(Protocol[P, Maps]):
    """A public map function, which knows its kernel and its form."""

    __name__: str
    __wrapped__: Callable[..., Any]             #: The kernel, without the checks.
    form_of: Callable[[dict], str | None]
    has_rules: bool

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Maps: ...


@overload
def method(kernel: Callable[P, Maps], *, form: Form = None, rules: bool = False) -> Method[P, Maps]: ...


@overload
def method(kernel: None = None, *, form: Form = None,
           rules: bool = False) -> Callable[[Callable[P, Maps]], Method[P, Maps]]: ...


def method(kernel: Callable | None = None, *, form: Form = None, rules: bool = False) -> Any:
    """Turn a kernel into a public map function that checks the input, runs the kernel and checks the maps.

    `form` is one of `FORMS`, or a function from the options to one of them or None; `rules` says that the method
    replaces derivatives by rules. The kernel stays reachable as `__wrapped__`; other kernels call that and so skip
    the checks.
    """
    if kernel is None:
        return functools.partial(method, form=form, rules=rules)

    @functools.wraps(kernel)
    def checked(model, x, target=None, **options):
        checks.model(model)
        checks.images(x, spaces=True)
        if options.get("chunk") is not None:
            checks.integer("chunk", options["chunk"], 1)
        with torch.inference_mode(False):
            x = checks.for_autograd(x)
            maps = kernel(model, x, Targets(target, len(x), x.device), **options)
        for part in maps if isinstance(maps, tuple) else (maps,):
            checks.finite(part, "The map")
        return maps

    made = cast(Method, checked)
    made.form_of = form if callable(form) else (lambda options: form)
    made.has_rules = rules
    return made


class MethodInfo(NamedTuple):
    """A callable that makes maps, described for attacks and ensembles."""

    kernel: Callable            #: (model, x, targets, **options), without the checks.
    name: str
    options: dict               #: Options that a `functools.partial` has set.
    names: tuple[str, ...]      #: Names of all its options.
    accepts_any_option: bool    #: Whether it also accepts options of other names (`**options`).
    form_of: Callable[[dict], str | None]
    has_rules: bool             #: Whether it replaces derivatives by rules; on a smooth twin it would then change.


def method_info(function: str | Callable) -> MethodInfo:
    """Describe a name in `METHODS`, a method, a partial of one, or a user's own function (model, x, target, …)."""
    function, options = by_name(function), {}
    while isinstance(function, functools.partial):
        if function.args:
            raise ValueError("A partial of a method may give options by keyword only; model, x and target come first "
                             f"and are given later, but {function!r} gives some of them.")
        function, options = function.func, {**function.keywords, **options}
    parameters = list(inspect.signature(function).parameters.values())[3:]       # after model, x, target
    names = tuple(one.name for one in parameters if one.kind is not one.VAR_KEYWORD)
    of_ours = hasattr(function, "form_of")
    kernel = function.__wrapped__ if of_ours else (
        lambda model, x, targets, **more: function(model, x, targets.classes, **more))
    return MethodInfo(kernel, getattr(function, "__name__", repr(function)), options, names,
                      accepts_any_option=len(names) < len(parameters),
                      form_of=function.form_of if of_ours else lambda options: None,
                      has_rules=of_ours and function.has_rules)


def kernel_of(function: str | Callable) -> Callable:
    """The unchecked kernel (model, x, targets, …) of a method, of a partial of one, or of a user's own."""
    info = method_info(function)
    return functools.partial(info.kernel, **info.options) if info.options else info.kernel


def by_name(function: str | Callable) -> Callable:
    """The method of that name in `METHODS`; a callable is returned as it is."""
    from fragility.attribution import METHODS  # the table is made of this module's functions, too
    return function if callable(function) else METHODS[checks.choice("Method", function, METHODS)]

"""Parameters of experiments: plain, flat, complete, and checked before anything runs."""

from collections.abc import Collection
from typing import Annotated

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fragility import checks

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}     # of gradients of which only the signs count, or a step


def one_of(kind: str, allowed: Collection[str]):
    """The type of a parameter that names one of `allowed`; its error lists them."""
    return Annotated[str, AfterValidator(lambda name: checks.choice(kind, name, allowed))]


Count = Annotated[int, Field(ge=1)]
#: A share of the image, or a change of a value in the range [0, 1]; zero would change nothing.
Fraction = Annotated[float, AfterValidator(lambda value: checks.real("fraction", value, 0, 1, exclusive=True))]
Epsilon = Annotated[float, AfterValidator(lambda value: checks.real("epsilon", value, 0, 1, exclusive=True))]
Precision = one_of("Precision", PRECISIONS)


class Parameters(BaseModel):
    """Parameters of an experiment: plain, flat, complete, and checked before anything runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, values: dict) -> "Parameters":
        """Parameters of plain values; ValueError with one line a mistake."""
        try:
            return cls(**values)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])) or 'parameters'}: {e['msg'].removeprefix('Value error, ')}"
                     for e in error.errors()]
            raise ValueError("Parameters are out of order. " + "; ".join(lines)) from None


class Several(Parameters):
    """Parameters of several grids: each of `others` holds changes of them, for a further grid beside the first."""

    others: list[dict] = []

    @model_validator(mode="after")
    def others_are_in_order(self):
        grids(self)
        return self


def grids(parameters: Several) -> list[Several]:
    """The parameters of each grid: the first one's, and these with the changes of each of `others`."""
    first = parameters.model_dump() | {"others": []}
    fields = type(parameters).model_fields
    return [parameters, *(type(parameters).of(first | {name: value for name, value in change.items() if name in fields})
                          for change in parameters.others)]

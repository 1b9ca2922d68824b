"""Types of experiments' parameters, which are checked before anything runs."""

from collections.abc import Collection
from typing import Annotated

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fragility import checks

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}     # of the gradients in attacks and in fine-tuning


def one_of(kind: str, allowed: Collection[str]):
    """The type of a parameter that names one of `allowed`; its error lists them."""
    return Annotated[str, AfterValidator(lambda name: checks.choice(kind, name, allowed))]


Count = Annotated[int, Field(ge=1)]
#: A share of the image, or a change of a value in the range [0, 1]; zero would change nothing.
Fraction = Annotated[float, AfterValidator(lambda value: checks.real("fraction", value, 0, 1, exclusive=True))]
Epsilon = Annotated[float, AfterValidator(lambda value: checks.real("epsilon", value, 0, 1, exclusive=True))]
Precision = one_of("Precision", PRECISIONS)


class Parameters(BaseModel):
    """Parameters of an experiment: plain values, all given, no others allowed, checked before anything runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, values: dict) -> "Parameters":
        """Parameters made of plain values; ValueError names every mistake."""
        try:
            return cls(**values)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])) or 'parameters'}: {e['msg'].removeprefix('Value error, ')}"
                     for e in error.errors()]
            raise ValueError("Parameters are out of order. " + "; ".join(lines)) from None


class SeveralGrids(Parameters):
    """Parameters of a grid, and of further ones: each of `others` holds what a further grid changes."""

    others: list[dict] = []

    @model_validator(mode="after")
    def others_are_valid(self):
        grids(self)
        return self


def grids(parameters: SeveralGrids) -> list[SeveralGrids]:
    """The parameters of each grid: the first, and the first with the changes of each of `others`."""
    first = parameters.model_dump() | {"others": []}
    fields = type(parameters).model_fields
    return [parameters, *(type(parameters).of(first | {name: value for name, value in change.items() if name in fields})
                          for change in parameters.others)]

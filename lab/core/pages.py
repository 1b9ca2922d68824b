"""What the numbers of a page are made of: frames of its live run, and published ones."""

import copy
from collections.abc import Callable

import pandas as pd

from lab.core import figure_data, profiles, results
from lab.core.experiment import Experiment
from lab.core.frames import frame
from lab.core.parameters import Parameters
from lab.core.running import run_cells
from lab.core.store import Store, canonical


class NotRun(LookupError):
    """A number is asked for whose records are not there: of the live run where it is not whole, or published ones."""


class Page:
    """A notebook's frames, each read once: `live` ones of its run, and those of the published edition.

    A page without `compute` only looks at what the store has, for one who asks about a run that was made before.
    """

    def __init__(self, notebook: str, settings: dict, store: Store | None, *, profile: str, compute: bool):
        self.notebook, self.settings, self.store = notebook, settings, store
        self.profile, self.compute, self.demanding = profile, compute, False
        self._frames: dict[tuple[str, ...], pd.DataFrame] = {}

    @classmethod
    def running(cls, notebook: str, variables: dict) -> "Page":
        """The page of a notebook that is being run: give it the notebook's `globals()`. It computes what is missing."""
        settings = profiles.chosen(notebook, variables)
        return cls(notebook, settings, Store(), profile=profiles.of(notebook, settings), compute=True)

    @classmethod
    def at(cls, notebook: str, profile: str, store: Store | None) -> "Page":
        """The page of a run that was made at a profile, or, without a store, of what is published alone."""
        return cls(notebook, profiles.parameters(notebook, profile), store, profile=profile, compute=False)

    def parameters(self, experiment: Experiment) -> Parameters:
        """The experiment's parameters in this run."""
        return experiment.pick(self.settings)

    def live(self, experiment: Experiment, cells: list[dict] | None = None) -> pd.DataFrame:
        """The frame of this run, of the experiment's grid or of some cells; NotRun where it is not whole and the page
        does not compute, ValueError where the experiment is of another notebook, whose parameters are others."""
        if experiment.notebook != self.notebook:
            raise ValueError(f"{experiment.name} takes its parameters from {experiment.notebook or 'no notebook'}, so "
                             f"a live run of it in {self.notebook} would be of other cells than the published ones; "
                             f"give its Experiment notebook={self.notebook!r}, or show page.edition of it.")
        cells = experiment.cells(self.parameters(experiment)) if cells is None else cells
        return self._once(("live", experiment.name, canonical(cells)), lambda: self._live(experiment, cells))

    def _live(self, experiment: Experiment, cells: list[dict]) -> pd.DataFrame:
        if self.compute:
            return frame(run_cells(experiment, cells, self.store), experiment.columns)
        if self.store is None:
            raise NotRun("of the live run")
        table = results.measured_in(experiment, cells, self.store.records(experiment.name)).table
        if table.attrs["done"] < table.attrs["cells"]:
            raise NotRun(f"of the live run, of which the store {self.store.root} has {table.attrs['done']} of "
                         f"{table.attrs['cells']} cells of {experiment.name}; run the book with this store")
        return table

    def edition(self, experiment: Experiment) -> pd.DataFrame:
        """The frame of the published records at the edition scale; where there are none it is empty, on a strict page
        NotRun."""
        table = self._once(("edition", experiment.name), lambda: results.measured(experiment, "edition", None))
        if self.demanding and table.empty:
            raise NotRun(f"nothing of {experiment.name} is published at the edition scale")
        return table

    def keep(self, figure: str, table: pd.DataFrame) -> None:
        """Keep the data of the figure of that name, for the reader to download: :func:`lab.core.figure_data.keep`."""
        figure_data.keep(figure, table)

    def strict(self) -> "Page":
        """The same page for numbers and statements, which cannot be made of nothing: figures can be left out."""
        page = copy.copy(self)
        page.demanding = True
        return page

    def _once(self, name: tuple[str, ...], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        if name not in self._frames:
            self._frames[name] = make()
        return self._frames[name]

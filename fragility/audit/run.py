"""The audit: every method by every criterion, a few images at a time, and a report of it."""

import hashlib
import os
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import fragility
from fragility import checks
from fragility.audit import plan as planning
from fragility.audit import thumbnails
from fragility.audit.answer import OTHER
from fragility.audit.criteria import criteria as chosen_criteria
from fragility.audit.criteria.retraining import Fit, TrainingSet, training_set
from fragility.audit.criterion import Criterion, NotApplicable
from fragility.audit.group import Group
from fragility.audit.journal import Journal
from fragility.audit.margins import Margin
from fragility.audit.measuring import is_asked, measure
from fragility.audit.methods import Method, written
from fragility.audit.methods import methods as chosen_methods
from fragility.audit.progress import Progress
from fragility.audit.randomised import Randomised
from fragility.audit.report import Report
from fragility.audit.settings import Settings
from fragility.audit.subject import Subject, gathered, subject
from fragility.audit.verdicts import judge


def run(model, images, *, labels=None, class_names: list[str] | None = None, names: list[str] | None = None, mean=None,
        std=None, methods=None, criteria=None, n: int = 64, train=None, fit: Fit | None = None,
        margins: dict[str, float] | None = None, budget: float | None = None, max_memory: float | None = None,
        out: str | Path | None = None, name: str | None = None, progress: bool = True, **settings) -> Report:
    """Can the maps of this model be trusted? Measure each method by each criterion, beside its controls.

    Parameters
    ----------
    model
        A module or function from images in [0, 1] to logits, in evaluation mode. It is neither changed nor moved.
    images
        Tensor or array (n, c, h, w), uint8 or floats in [0, 1]; `data.images(folder)`; or a loader of batches, with
        labels or without.
    labels, class_names, names
        Classes (n,), for the accuracy; names of classes; names of images.
    mean, std
        Of the normalisation that the model expects, one number a channel; None where it normalises inside.
    methods, criteria
        See :func:`~fragility.audit.methods.methods` and :func:`~fragility.audit.criteria.criteria`; None: all.
    n
        Number of images, drawn at random where there are more; at least 2.
    train, fit
        Images and labels to train on, as for `images`, for the criterion "retraining"; and a function (images, labels,
        seed) -> model that trains, where copies of the model from new random weights will not do.
    margins
        Other thresholds, by criterion; see ``fragility.audit.MARGINS``.
    budget
        Seconds that the whole may take: fewer images, then fewer steps, are taken to keep to it, and the report says
        so.
    max_memory
        Bytes that the process may take; bounds the images in flight and does not change the result.
    out
        A folder that keeps what is measured, so that an interrupted audit goes on; None: nothing is kept.
    name
        Of the model, in the report.
    progress
        Whether to show how far it is on standard error.
    **settings
        The numbers of :class:`fragility.audit.settings.Settings`: epsilon, k, steps, attacked, removed, samples,
        depths, seed.

    Returns
    -------
    Report
        Verdicts, rows and pictures; `.to_html()`, `.to_json()`, `.frame`.

    Raises
    ------
    ValueError, TypeError
        Bad input, in one sentence, before anything long begins.
    """
    numbers, questions = _settings(settings), chosen_criteria(criteria, trains=train is not None)
    thresholds = _margins(questions, margins or {})
    asked = chosen_methods(methods)
    checks.integer("n", n, 2)
    if budget is not None:
        checks.real("budget", budget, 0, exclusive=True)
    if max_memory is not None:
        checks.real("max_memory", max_memory, 0, exclusive=True)
    folder = _folder(out)
    one = subject(model, images, labels=labels, class_names=class_names, names=names, mean=mean, std=std, name=name,
                  most=n, seed=numbers.seed)
    one = one.take(len(one), numbers.seed)      # by class
    learned = None
    if train is not None:
        learned = training_set(*gathered(train)[:2], one.model, numbers.seed, fit)
        one.notices.append("The time of the trainings is not part of the estimate, and the budget does not hold it.")
    return _Audit(one, asked, questions, thresholds, numbers, folder, budget, max_memory, progress, learned).report()


def _settings(given: dict) -> Settings:
    known = Settings.__dataclass_fields__
    for name in given:
        checks.choice("Setting", name, known)
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Settings(**values)


def _margins(questions: list[Criterion], given: dict[str, float]) -> dict[str, Margin]:
    found = {each.name: each.margin for each in questions if each.margin is not None}
    for name, value in given.items():
        checks.choice("Margin of", name, found)
        found[name] = found[name]._replace(value=checks.real(f"The margin of {name}", value, -1e9),
                                           reason="Given by the user.")
    return found


def _folder(out: str | Path | None) -> Path | None:
    """The folder, which is made only when there is something to write; ValueError where it cannot be made."""
    if out is None:
        return None
    folder = Path(out).expanduser()
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"The folder {folder} cannot be written: {there} is "
                         f"{'read-only' if there.is_dir() else 'a file'}; name another one.")
    return folder


class _Audit:
    """One audit, from the preflight to the report."""

    def __init__(self, one: Subject, methods: list[Method], criteria: list[Criterion], margins: dict[str, Margin],
                 settings: Settings, folder: Path | None, budget: float | None, max_memory: float | None,
                 progress: bool, learned: TrainingSet | None):
        self.one, self.methods, self.criteria = one, methods, criteria
        self.margins, self.settings, self.show, self.learned = margins, settings, progress, learned
        self.fingerprint = self._fingerprint(budget)
        self.journal = Journal(folder, self.fingerprint)
        self.trials, budget = planning.preflight(one, methods, settings, budget)
        if all(self.trials[method.name].refused for method in methods if not method.is_control):
            reasons = " ".join(f"{name}: {trial.refused}" for name, trial in self.trials.items() if trial.refused)
            raise ValueError(f"The model is refused by every method asked for. {reasons}")
        self.estimate = planning.Estimate(one, self.trials, methods, criteria, settings)
        self.plan = planning.Plan(**self.journal.plan) if self.journal.plan else planning.fitted(
            self.estimate, len(one), budget)
        self.chunk = planning.allowed_chunk(one, self.trials, max_memory)
        try:
            self.journal.begin(self.plan.written())
        except OSError as error:
            raise ValueError(f"The folder {folder} cannot be written ({error.strerror}); name another one.") from error
        self.one = one.take(self.plan.images, settings.seed) if self.plan.images < len(one) else one
        self.settings = replace(settings, attacked=self.plan.attacked, steps=self.plan.steps)
        self.randomised = self._randomised()

    def _fingerprint(self, budget: float | None) -> str:
        parts = (fragility.__version__, torch.__version__, str(self.one.device), self.one.fingerprint(), self.settings,
                 budget, [(method.name, written(method.function)) for method in self.methods],
                 [(each.name, written(each.measure)) for each in self.criteria],
                 None if self.learned is None else self.learned.fingerprint())
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _randomised(self) -> Randomised | str:
        """Networks of random weights, or the reason why there are none."""
        try:
            return Randomised(self.one.model, self.one.x(slice(0, 1)), self.settings.depths, self.settings.seed)
        except NotApplicable as reason:
            return str(reason)

    def report(self) -> Report:
        """Measure what is missing, and judge."""
        accepted = [method for method in self.methods if not self.trials[method.name].refused]
        with Progress(self._seconds(accepted), self.show) as progress:
            for place, rows in enumerate(self.one.groups):
                group = Group(self.one.model, self.one.x(rows), self.one.target[rows].to(self.one.device), place=place,
                              first=rows.start, settings=self.settings, chunk=self.chunk, randomised=self.randomised,
                              training=self.learned)
                for method in accepted:
                    for criterion in self.criteria:
                        progress.show(f"{method.name}: {criterion.name}")
                        self._measure(group, method, criterion)
                        progress.done(self._cost(len(group), rows.start, method, criterion))
                    group.forget(method)
        return self._judged(accepted)

    def _seconds(self, accepted: list[Method]) -> float:
        return sum(self._cost(rows.stop - rows.start, rows.start, method, criterion) for rows in self.one.groups
                   for method in accepted for criterion in self.criteria)

    def _cost(self, count: int, first: int, method: Method, criterion: Criterion) -> float:
        """Estimated seconds of a group, method and criterion."""
        if not is_asked(criterion, first, self.settings) or planning.pair(method, criterion) in self.plan.left_out:
            return 0.0
        if criterion.attacks:
            count = min(count, self.settings.attacked - first)
        return count * self.estimate.of(method, criterion, self.settings)

    def _measure(self, group: Group, method: Method, criterion: Criterion) -> None:
        key = (group.place, method.name, criterion.name)
        refused = group.place and self.journal.lines.get((0, method.name, criterion.name), {}).get("refused")
        if key in self.journal or refused or not is_asked(criterion, group.first, self.settings):
            return
        if reason := self.plan.left_out.get(planning.pair(method, criterion)):
            self.journal.add(*key, {"refused": reason})
            return
        line = measure(group, method, criterion, self.settings)
        if "refused" not in line.entry:
            # Pictures first: whatever is measured is not measured again, so its pictures must be there.
            thumbnails.keep(self.journal, group, method, "clean", group.clean(method))
            if line.maps is not None:
                thumbnails.keep(self.journal, group, method, criterion.name, line.maps)
        self.journal.add(*key, line.entry)

    def _judged(self, accepted: list[Method]) -> Report:
        results, verdicts = {}, []
        for criterion in self.criteria:
            found = {method.name: self.journal.result(method.name, criterion.name) for method in accepted}
            family = sum(not result.refused and not method.is_control
                         for method, result in zip(accepted, found.values()))
            for method, result in found.items():
                results[method, criterion.name] = result
                verdicts.append(judge(criterion, result, family=family, margin=self.margins.get(criterion.name)))
        return Report(self._described(), self._numbers(), self.criteria, self.margins, self._methods(), results,
                      verdicts, [*self.one.notices, *self._alone(results), *self.plan.given_up],
                      thumbnails.collected(self.journal, self.one.images, accepted))

    def _alone(self, results: dict) -> list[str]:
        """Another image is one of the same class where there is one; a sentence on how many images have none."""
        classes = (self.one.target[rows].unique(return_counts=True)[1] for rows in self.one.groups)
        alone = sum(int((counts == 1).sum()) for counts in classes)
        if not alone or not any(OTHER in result.controls for result in results.values()):
            return []
        return [f"{alone} of the {len(self.one)} images are compared with an image of another predicted class, since "
                "none that is measured with them has theirs; maps of one class may share more."]

    def _described(self) -> dict:
        one, model = self.one, self.one.model
        parameters = model.parameters() if isinstance(model, torch.nn.Module) else None
        return {"model": one.name, "classes": max(2, one.classes),
                "parameters": None if parameters is None else sum(value.numel() for value in parameters),
                "fingerprint": self.fingerprint, "n": len(one), "available": one.available,
                "shape": list(one.images.shape[1:]), "accuracy": one.accuracy, "images": one.names,
                "target": one.target.tolist(), "class_names": one.class_names}

    def _numbers(self) -> dict:
        height, width = self.one.images.shape[2:]
        return {**self.settings.written(), "top pixels": self.settings.top(height, width),
                "window": self.settings.window(height, width), "device": str(self.one.device),
                "threads": torch.get_num_threads(), "made": datetime.now(UTC).isoformat(timespec="seconds"),
                "fragility": fragility.__version__, "torch": torch.__version__, "python": platform.python_version()}

    def _methods(self) -> dict[str, dict]:
        return {method.name: {"control": method.is_control, "seconds": self.trials[method.name].seconds,
                              "megabytes": self.trials[method.name].megabytes,
                              "refused": self.trials[method.name].refused} for method in self.methods}

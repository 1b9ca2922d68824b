"""How far a mean effect must be from its control, criterion by criterion, and why: the one table of thresholds.

The intervals decide; the margins only say what is too little to matter. `audit.run(margins={"noise": 0.4})` and
`--margin noise=0.4` change one; the report shows the value that was used.
"""

from typing import NamedTuple

LEAST = 0.1     # of a margin that is a share: where a control leaves little room, a share of it would be nothing


class Margin(NamedTuple):
    """What the mean effect must exceed, and the reason."""

    value: float            #: In units of the score, or a share of the way from the control to the best score.
    reason: str
    is_share: bool = False

    def threshold(self, room: float) -> float:
        """What the effect must exceed in units of the score, where `room` lies between the control and the best."""
        return max(self.value * room, LEAST) if self.is_share else self.value


MARGINS = {
    "noise": Margin(0.5, "Of the marked pixels that another image's map does not share, most must stay: whoever points "
                         "at them relies on more than half.", is_share=True),
    "attack": Margin(0.5, "As for noise: whoever chooses the noise must not be able to move most of the marks.",
                     is_share=True),
    "attack-lens": Margin(0.5, "As for the attack; marks that move by a few pixels are forgiven here.", is_share=True),
    "shift": Margin(-1e-5, "The networks are the same function, so any change is the method's; a hundred-thousandth is "
                           "what Kindermans et al. call identical, and far above the rounding of float64."),
    "removal": Margin(0.02, "A difference of less than 0.02 in probability cannot be seen in the curves."),
    "deletion": Margin(0.02, "As for removal."),
    "retraining": Margin(0.01, "A hundredth of accuracy is less than trainings differ among themselves."),
    "parameters": Margin(0.5, "Of what survives noise, at least half must be gone when the weights are random; "
                              "otherwise most of the map is not about what the network learned.", is_share=True),
    "class": Margin(0.5, "As for parameters, with another class in place of other weights.", is_share=True),
    "completeness": Margin(-0.05, "A twentieth of what the map promises to add up to; a sum that is further off needs "
                                  "more steps."),
    "sensitivity": Margin(0.5, "Half of the distance that lies between unrelated maps.", is_share=True),
    "infidelity": Margin(0.1, "A tenth of the changes of the output that neither edges nor a random map explain.",
                         is_share=True),
}

"""What an audit is run with: every number that changes its result, in one frozen value."""

from dataclasses import asdict, dataclass

from fragility import checks


@dataclass(frozen=True)
class Settings:
    """Numbers of an audit; ValueError names the one that is out of range.

    Parameters
    ----------
    epsilon
        Radius of noise and attacks in (0, 1], in units of the images: 8/255 is eight grey levels.
    k
        Share of an image's pixels, in (0, 1), that counts as the top of its map.
    steps
        Steps of an attack.
    attacked
        Number of images that are attacked, since an attack costs as much as hundreds of maps.
    removed
        Shares of the pixels that are removed, in (0, 1).
    samples
        Random images within the ball for the sensitivity, and squares removed for the infidelity.
    depths
        Into how many parts the network's layers are cut when they are randomised from the output down.
    seed
        Of all random numbers. The same seed gives the same audit, whatever the memory allowed.
    """

    epsilon: float = 8 / 255
    k: float = 0.02
    steps: int = 30
    attacked: int = 32
    removed: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    samples: tuple[int, int] = (4, 24)
    depths: int = 4
    seed: int = 0

    def __post_init__(self):
        checks.real("epsilon", self.epsilon, 0, 1, exclusive=True)
        checks.real("k", self.k, 0, 0.5, exclusive=True)
        checks.integer("steps", self.steps, 1)
        checks.integer("attacked", self.attacked, 2)
        checks.integer("depths", self.depths, 1)
        checks.integer("seed", self.seed, 0, 2**31 - 1)
        if not isinstance(self.samples, tuple) or len(self.samples) != 2:
            raise ValueError(f"samples must be two whole numbers, such as (4, 24), but it is {self.samples!r}.")
        for count in self.samples:
            checks.integer("samples", count, 2)
        if not isinstance(self.removed, tuple) or not self.removed:
            raise ValueError("removed must name at least one share of the pixels, such as (0.1, 0.3, 0.5), but it is "
                             f"{self.removed!r}.")
        for share in self.removed:
            checks.real("removed", share, 0, 1, exclusive=True)

    def top(self, height: int, width: int) -> int:
        """The number of pixels that `k` means in an image of this size, at least one."""
        return max(1, round(self.k * height * width))

    def window(self, height: int, width: int) -> int:
        """Pixels by which a top pixel may move and still count as near [kamath2024]: a 28th of the shorter side."""
        return max(1, round(min(height, width) / 28))

    def written(self) -> dict:
        """As JSON holds them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

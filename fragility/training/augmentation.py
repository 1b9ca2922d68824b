"""Augmentations of a float batch on its device: functions of (images, generator)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility import checks


class FlipShift:
    """Augmentation on the device: each image flipped left to right or not, and shifted with reflected borders.

    Parameters
    ----------
    flip
        Whether each image is flipped with probability 1/2.
    shift
        Largest shift in pixels, up or down and left or right; 0 for none.

    Notes
    -----
    Called with float images (n, c, h, w) and a generator; returns images of that shape. ValueError unless `shift` is
    smaller than the height and width.
    """

    def __init__(self, flip: bool = True, shift: int = 4):
        self.flip, self.shift = flip, checks.integer("shift", shift, 0)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n, c, h, w = x.shape
        if self.shift >= min(h, w):
            raise ValueError(f"shift must be smaller than the images, {h} x {w}, but it is {self.shift}.")
        down, right, coin = (draw.to(x.device)[:, None] for draw in torch.stack([
            torch.randint(2 * self.shift + 1, (n,), generator=generator),
            torch.randint(2 * self.shift + 1, (n,), generator=generator),
            torch.randint(2, (n,), generator=generator)]))
        rows = torch.arange(h, device=x.device) + down
        columns = torch.arange(w, device=x.device)
        if self.flip:
            columns = torch.where(coin.bool(), columns.flip(0), columns)
        padded = F.pad(x, [self.shift] * 4, mode="reflect")
        places = rows[:, :, None] * padded.shape[3] + (columns + right)[:, None]
        return padded.flatten(2).gather(2, places.view(n, 1, h * w).expand(-1, c, -1)).view_as(x)


class RandomCrop:
    """Augmentation on the device: a random box of each image, enlarged to the whole size; half of them flipped.

    A box has 8 to 100 % of the area and an aspect of 3/4 to 4/3 of the image's; one that does not fit is replaced
    by the central box with sides of 7/8, as in the code of [hooker2019]. Interpolation is bicubic, without
    anti-aliasing. Float images (n, c, h, w) in [0, 1] in and out.
    """

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        area, aspect, down, right, coin = torch.rand((5, len(x)), generator=generator)
        aspect = (4 / 3) ** (2 * aspect - 1)
        sides = torch.stack([(area * 0.92 + 0.08) * aspect, (area * 0.92 + 0.08) / aspect], 1).sqrt()    # width, height
        fits = (sides <= 1).all(1, keepdim=True)
        sides = torch.where(fits, sides, torch.tensor(7 / 8))
        # In grid_sample's coordinates the image reaches from -1 to 1, and a box of that side has room left.
        middle = torch.where(fits, (1 - sides) * (2 * torch.stack([right, down], 1) - 1), torch.tensor(0.0))
        scale = sides * torch.stack([1 - 2 * (coin < 0.5), torch.ones_like(coin)], 1)
        boxes = torch.cat([torch.diag_embed(scale), middle[:, :, None]], 2).to(x)
        grid = F.affine_grid(boxes, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, "bicubic", padding_mode="border", align_corners=False).clamp(0, 1)

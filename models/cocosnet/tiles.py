"""The correlation matrix tile by tile, and its adjoint: what streamed matching walks over.

A strip is a few rows of the query grid against the whole key grid; a tile is a strip against a few
rows of the key grid. For 3x3 patches the plain inner products are summed over nine shifts, and
along a strip the last two key rows' are kept, so that each is computed once a strip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cocosnet.descriptors import Side
from cocosnet.layers import elements_at_once

STRIP_ROWS = 16
"""Rows of the query grid a strip."""
TILE_ELEMENTS = 2**18
"""Correlations of a tile on a CPU, which is to stay in the cache (1 MB in fp32); at least two key
rows', so that memory grows with the area of a grid and not with its square."""


class Tile(NamedTuple):
    left: int
    right: int
    """Rows of the key grid, from and to."""
    logits: Tensor
    """((bottom-top)*W, (right-left)*w): Eq. 3 over the temperature."""


class Tiles:
    """The correlations of one query and one key sample (sides of batch 1)."""

    def __init__(self, query: Side, key: Side, temperature: float) -> None:
        self.query, self.key, self.temperature = query, key, temperature
        (height, width), (h, w) = query.grid, key.grid
        limit = elements_at_once(TILE_ELEMENTS, query.features.device)
        rows = min(height, STRIP_ROWS)
        columns = max(2, limit // (rows * width * w))
        self.strips = [(top, min(top + rows, height)) for top in range(0, height, rows)]
        """Rows of the query grid, from and to."""
        self.spans = [(left, min(left + columns, h)) for left in range(0, h, columns)]
        """Rows of the key grid, from and to."""

    def walk(self, top: int, bottom: int) -> Iterator[Tile]:
        """The tiles of a strip, along the key grid."""
        strip = self.strip(top, bottom)
        if not self.query.pad:
            strip = strip.flatten(0, 1) / self.temperature
            for left, right in self.spans:
                keys = self.key.features[0, left:right].flatten(0, 1)
                yield Tile(left, right, strip @ keys.t())
            return
        kept = None
        mean, scale = self.of_strip(top, bottom)
        for left, right in self.spans:
            products = self._shifted_along_x(strip, kept, left, right)
            kept = products[:, :, right - left :].clone()
            logits = products[:-2, :, :-2] + products[1:-1, :, 1:-1]
            logits = logits.add_(products[2:, :, 2:]).flatten(2).flatten(0, 1)
            del products
            mean_of_keys, scale_of_keys = self.of_span(left, right)
            logits.addr_(mean, mean_of_keys, alpha=-1).mul_(scale_of_keys).mul_(scale[:, None])
            yield Tile(left, right, logits)

    def strip(self, top: int, bottom: int) -> Tensor:
        """The query's features (R+2p, W+2p, C) of a strip, the rows around it included."""
        return self.query.features[0, top : bottom + 2 * self.query.pad]

    def of_strip(self, top: int, bottom: int) -> tuple[Tensor, Tensor]:
        """The query's means, and its scales over the temperature: (R*W) each."""
        assert self.query.mean is not None and self.query.scale is not None
        mean, scale = self.query.mean[0, top:bottom], self.query.scale[0, top:bottom]
        return mean.flatten(), scale.flatten() / self.temperature

    def of_span(self, left: int, right: int) -> tuple[Tensor, Tensor]:
        """The key's means and scales: (T*w) each."""
        assert self.key.mean is not None and self.key.scale is not None
        return self.key.mean[0, left:right].flatten(), self.key.scale[0, left:right].flatten()

    def _shifted_along_x(self, strip: Tensor, kept: Tensor | None, left: int, right: int) -> Tensor:
        """Plain products summed over the three shifts along x: (R+2, W, T+2, w).

        `kept` are those of the first two of the padded key rows, from the tile before.
        """
        first = left if kept is None else left + 2
        keys = self.key.features[0, first : right + 2]
        plain = strip.flatten(0, 1) @ keys.flatten(0, 1).t()
        plain = plain.view(*strip.shape[:2], *keys.shape[:2])
        _, w = self.key.grid
        summed = plain.new_empty(strip.shape[0], strip.shape[1] - 2, right - left + 2, w)
        into = summed
        if kept is not None:
            summed[:, :, :2] = kept
            into = summed[:, :, 2:]
        torch.add(plain[:, :-2, :, :-2], plain[:, 1:-1, :, 1:-1], out=into)
        into += plain[:, 2:, :, 2:]
        return summed


class Adjoint:
    """Gradients of both sides from those of the tiles' logits, in `walk`'s order.

    The sides' gradients are there, in a side's layout, once every strip is closed.
    """

    def __init__(self, tiles: Tiles) -> None:
        self.tiles = tiles
        self.query = tiles.query.map(torch.zeros_like)
        self.key = tiles.key.map(torch.zeros_like)
        self._open: Tensor | None = None

    def add(self, strip: tuple[int, int], tile: Tile, gradient: Tensor) -> None:
        """Take in the gradient (R*W, T*w) of a tile's logits, which may be overwritten."""
        top, bottom = strip
        span = tile.left, tile.right
        if not self.tiles.query.pad:
            self._products(strip, span, gradient.mul_(1 / self.tiles.temperature))
            return
        query, key = self.query, self.key
        assert query.mean is not None and query.scale is not None
        assert key.mean is not None and key.scale is not None
        rows, columns = (0, slice(top, bottom)), (0, slice(*span))
        mean, scale = self.tiles.of_strip(top, bottom)
        mean_of_keys, scale_of_keys = self.tiles.of_span(*span)
        # logits = (products - mean * mean_of_keys) * scale * scale_of_keys
        pull = gradient * tile.logits
        self._add(query.scale[rows], _ratio(pull.sum(1), scale) / self.tiles.temperature)
        self._add(key.scale[columns], _ratio(pull.sum(0), scale_of_keys))
        gradient.mul_(scale_of_keys).mul_(scale[:, None])
        self._add(query.mean[rows], -(gradient @ mean_of_keys))
        self._add(key.mean[columns], -(gradient.t() @ mean))
        self._unshift(strip, span, gradient)

    @staticmethod
    def _add(into: Tensor, values: Tensor) -> None:
        into += values.view_as(into)

    def _unshift(self, strip: tuple[int, int], span: tuple[int, int], gradient: Tensor) -> None:
        """Back through the nine shifts; key rows that later tiles add to are kept open."""
        (_, width), (h, w) = self.tiles.query.grid, self.tiles.key.grid
        rows, columns = strip[1] - strip[0], span[1] - span[0]
        g = gradient.view(rows, width, columns, w)
        summed = g.new_zeros(rows + 2, width, columns + 2, w)
        if self._open is not None:
            summed[:, :, :2] = self._open
        for shift in range(3):
            summed[shift : shift + rows, :, shift : shift + columns] += g
        last = span[1] == h
        self._open = None if last else summed[:, :, columns:]
        done = columns + 2 if last else columns
        plain = g.new_zeros(rows + 2, width + 2, done, w + 2)
        for shift in range(3):
            plain[:, shift : shift + width, :, shift : shift + w] += summed[:, :, :done]
        self._products(strip, (span[0], span[0] + done - 2), plain.flatten(2).flatten(0, 1))

    def _products(self, strip: tuple[int, int], span: tuple[int, int], gradient: Tensor) -> None:
        """Gradients of the features from that of their plain products."""
        pad = 2 * self.tiles.query.pad
        rows, columns = (0, slice(strip[0], strip[1] + pad)), (0, slice(span[0], span[1] + pad))
        query, key = self.tiles.query.features[rows], self.tiles.key.features[columns]
        self._add(self.query.features[rows], gradient @ key.flatten(0, 1))
        self._add(self.key.features[columns], gradient.t() @ query.flatten(0, 1))


def _ratio(pull: Tensor, scale: Tensor) -> Tensor:
    """pull / scale, 0 where the scale is: such a patch is constant, and its scale too."""
    return torch.where(scale == 0, 0.0, pull / torch.where(scale == 0, 1.0, scale))

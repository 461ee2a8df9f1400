"""What the page shows of a match: pictures, and the cells that its script looks up."""

from __future__ import annotations

import base64
import colorsys
import json
from typing import Any

import cv2
import numpy as np
from cocosnet.config import STRIDE
from cocosnet.flow import centres
from PIL import Image, ImageDraw

from cocoscli.data.encoding import THUMBNAIL, encode_image, thumbnail
from cocoscli.engine.files import PRIVATE
from cocoscli.engine.gallery import mark_of, thumb_name
from cocoscli.engine.match_arrays import MatchArrays

LINES = 8
"""Matches are drawn in so many parts of a picture, along each side."""
CELLS = 64
"""The page takes at most so many cells along a side: of a finer grid, every second, third, ..."""
UNIT = 10_000
"""Shares and correlations are stored as whole numbers of this part."""


def cells_name(key: str) -> str:
    """Where the cells of an item lie in the output folder."""
    mark = mark_of(key)
    return f"{PRIVATE}/matches/{mark[:2]}/{mark}.js"


def match_pictures(
    key: str, exemplar: str, match: MatchArrays, input: np.ndarray, photo: np.ndarray,
    warped: np.ndarray,
) -> dict[str, bytes]:  # fmt: skip
    """Files for the page by their names: pictures (H,W,3) uint8 as they are, and drawn ones."""
    shown = {"input": input, "warp": warped, "confidence": confidence_map(match)}
    pictures = {thumb_name(key, what): thumbnail(pixels) for what, pixels in shown.items()}
    pictures[thumb_name(key, "lines")] = encode_image(draw_lines(match, input, photo), "jpg", 88)
    places = {"input": thumb_name(key, "input"), "exemplar": thumb_name(exemplar, "exemplar")}
    values = cells(match) | places
    call = f"cocosMatch({json.dumps(mark_of(key))}, {json.dumps(values, ensure_ascii=True)});\n"
    pictures[cells_name(key)] = call.replace("<", "\\u003c").encode()
    return pictures


def confidence_map(match: MatchArrays) -> np.ndarray:
    """(H,W,3) uint8: dark where the match is unsure, bright where it is sure."""
    levels = np.rint(match.there.confidence * 255).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    rows, columns = levels.shape
    size = (columns * STRIDE, rows * STRIDE)
    whole = Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)
    return np.asarray(whole)[: match.size[1], : match.size[0]]


def draw_lines(match: MatchArrays, input: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Both pictures side by side, and lines between the surest mutual match of each part."""
    left, right = (Image.fromarray(pixels) for pixels in (input, photo))
    scales = [THUMBNAIL / max(image.size) for image in (left, right)]
    left, right = (
        image.resize([max(1, round(side * scale)) for side in image.size])
        for image, scale in zip((left, right), scales, strict=True)
    )
    sheet = Image.new("RGB", (left.width + right.width, max(left.height, right.height)), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width, 0))
    draw = ImageDraw.Draw(sheet)
    for start, end, colour in surest(match):
        a = tuple((start + 0.5) * scales[0])
        b = tuple((end + 0.5) * scales[1] + (left.width, 0))
        draw.line((a, b), fill=colour, width=1)
        for x, y in (a, b):
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour, outline="black")
    return np.asarray(sheet)


def surest(match: MatchArrays) -> list[tuple[np.ndarray, np.ndarray, tuple[int, int, int]]]:
    """(from, to, colour) of the most confident mutual match in each of `LINES` x `LINES` parts."""
    confidence = np.where(match.mutual, match.there.confidence, -1)
    rows, columns = confidence.shape
    places = centres((rows, columns)).numpy()
    found = []
    for part in np.array_split(np.arange(rows), min(LINES, rows)):
        for across in np.array_split(np.arange(columns), min(LINES, columns)):
            block = confidence[np.ix_(part, across)]
            row, column = np.unravel_index(block.argmax(), block.shape)
            if block[row, column] < 0:
                continue
            at = part[row], across[column]
            hue = at[1] / columns
            light = 0.35 + 0.4 * at[0] / rows
            red, green, blue = (round(255 * v) for v in colorsys.hls_to_rgb(hue, light, 0.9))
            found.append((places[at], match.there.flow[at], (red, green, blue)))
    return found


def cells(match: MatchArrays) -> dict[str, Any]:
    """The cells that the page's script looks up, as JSON: ten 16-bit numbers each, in base64.

    Match and mean match (x, y), standard deviations (x, y), their correlation, confidence, cycle
    error, mutual or not; pixels are multiplied by `scale`, shares by `UNIT`.
    """
    rows, columns = match.mutual.shape
    thin = -(-max(rows, columns) // CELLS)
    picked = np.s_[thin // 2 :: thin, thin // 2 :: thin]
    scale = max(1, 2**14 // max(*match.size, *match.exemplar_size))
    variance = np.clip(match.spread, 0, None)[..., [0, 2]]
    deviation = np.sqrt(variance)
    product = deviation.prod(axis=-1)
    correlation = np.divide(
        match.spread[..., 1], product, out=np.zeros_like(product), where=product > 0
    )
    shares = np.stack([correlation, match.there.confidence], axis=-1) * UNIT
    error = match.there.cycle_error[..., None] * scale
    pixels = np.concatenate([match.there.flow, match.soft_flow, deviation], axis=-1) * scale
    table = np.concatenate([pixels, shares, error, match.mutual[..., None]], axis=-1)[picked]
    numbers = np.clip(np.rint(table), -(2**15), 2**15 - 1).astype("<i2")
    return {
        "size": match.size, "exemplar_size": match.exemplar_size,
        "grid": table.shape[:2], "scale": scale, "unit": UNIT,
        "first": STRIDE * (thin // 2) + (STRIDE - 1) / 2, "step": STRIDE * thin,
        "cells": base64.b64encode(numbers.tobytes()).decode("ascii"),
    }  # fmt: skip

"""What a dataset calls its classes."""

from __future__ import annotations

from pathlib import Path

from cocoscli.data.storage import is_file
from cocoscli.data.textfiles import is_number, read_json, read_lines
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput

ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa,
shelf, house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp,
bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter, sand,
sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table,
pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower,
book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar,
arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight,
booth, television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator,
ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer,
plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven,
ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen,
blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen,
plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""
"""The classes 1 to 150 of the scene-parsing benchmark; 0 is unknown."""


def ade20k_names() -> dict[int, str]:
    """The names of ADE20K's ids 0 to 150."""
    names = " ".join(ADE20K.split()).split(", ")
    return dict(enumerate(["unknown", *names]))


def class_names(root: Path) -> dict[int, str]:
    """The names of class ids, from labels.json or ADE20K's objectInfo150.txt at the root.

    labels.json is {"0": name} or [name, ...]. {} where there is neither. Raises BadInput.
    """
    path, info = root / "labels.json", root / "objectInfo150.txt"
    if is_file(path):
        return _names(path)
    if not is_file(info):
        return {}
    rows = (line.split("\t") for line in read_lines(info))
    return {int(row[0]): row[-1].strip() for row in rows if len(row) > 1 and is_number(row[0])}


def _names(path: Path) -> dict[int, str]:
    expected = 'a list of names, or {"0": "name", ...}'
    loaded = read_json(path, expected)
    names = {}
    if isinstance(loaded, list):
        names = dict(enumerate(loaded))
    elif isinstance(loaded, dict) and all(map(is_number, loaded)):
        names = {int(key): name for key, name in loaded.items()}
    if not names or any(not isinstance(name, str) for name in names.values()):
        raise BadInput(f"{shown(path)}: expected {expected}.", "Correct or remove it.")
    return names

"""Synthetic landscapes with masks and exact correspondence.

A scene is a layout (what objects, where) drawn in a style (colours, light, textures), each made
from a seed of its own.  Light, haze and texture belong to the style -- the only things that pass
from object to object are cast shadows and reflections in water -- so that

    render(layout_a, style_b, size)

is the exact answer to "the mask of layout_a in the manner of render(layout_b, style_b, size)".
Every pixel knows the object it shows and its coordinates (u, v) there; `correspondence` finds the
same point of the same object in another scene.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocoscli.data.scenes.items import SLOTS, STANDING, UNMATCHED, Item, Kind, Label
from cocoscli.data.scenes.layout import Layout, sample_layout
from cocoscli.data.scenes.paint import mix, paint, plane
from cocoscli.data.scenes.style import Style

__all__ = [
    "CLASSES",
    "PALETTE",
    "Coordinates",
    "Layout",
    "Scene",
    "SceneFiles",
    "Style",
    "correspondence",
    "render",
    "sample_layout",
    "save_image",
    "save_mask",
    "trace",
    "warp",
    "write_scenes",
]

CLASSES: tuple[str, ...] = tuple(label.name.lower() for label in Label)
PALETTE: NDArray[np.uint8] = np.array(
    [
        (0, 0, 0),
        (135, 206, 250),
        (128, 118, 150),
        (60, 145, 95),
        (30, 90, 200),
        (150, 215, 75),
        (225, 190, 120),
        (115, 72, 40),
        (15, 88, 62),
        (70, 170, 30),
        (250, 225, 185),
        (215, 60, 45),
        (255, 250, 90),
        (150, 30, 120),
    ],
    np.uint8,
)

Size = int | tuple[int, int]
LANDMARKS = (np.linspace(-0.9, 0.9, 7), np.linspace(0.05, 0.95, 7))
"""u and v of the points that `landmarks` looks for on an object."""
OPEN = (Label.SKY, Label.WATER)
OPEN_GRID = 16
"""Points a side that `open_points` looks at."""
ELSEWHERE = 100_000  # from the layout seeds of masks to those of exemplars
MIRRORED = (Label.SKY, Label.MOUNTAIN, Label.HILL)
GROUND = (Label.GRASS, Label.PATH)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """What every pixel centre shows.

    labels: (H, W) uint8 class ids; instance: (H, W) int16, SLOTS * kind + number in the kind
    (see `Layout` for the numbering); u, v: (H, W) float32 coordinates in the frame of the
    instance (see `Item`), for sky and water in the frame of the whole sky.
    """

    labels: NDArray[np.uint8]
    instance: NDArray[np.int16]
    u: NDArray[np.float32]
    v: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn layout: image (H, W, 3) uint8 RGB and, pixel by pixel, what it shows."""

    layout: Layout
    style: Style
    image: NDArray[np.uint8]
    coordinates: Coordinates

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Class ids (H, W) uint8."""
        return self.coordinates.labels


def trace(layout: Layout, size: Size) -> Coordinates:
    """What every pixel centre of a picture shows; `size` pixels square or (width, height)."""
    width, height = _extent(size)
    shape, aspect = (height, width), width / height
    labels, instance = np.zeros(shape, np.uint8), np.zeros(shape, np.int16)
    u, v = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    x, y = _grid(width, height)
    sky = layout.items[0]
    for item in layout.items:
        rows, columns = window = _window(item, width, height)
        local = item.local(x[:, columns], y[rows], aspect)
        drawn = item.labels(*local)
        inside = drawn > 0
        if item.kind is Kind.WATER:
            local = sky.local(x[:, columns], y[rows], aspect)
        np.copyto(labels[window], drawn, where=inside)
        np.copyto(instance[window], item.slot, where=inside)
        np.copyto(u[window], local[0], where=inside, casting="same_kind")
        np.copyto(v[window], local[1], where=inside, casting="same_kind")
    return Coordinates(labels, instance, u, v)


def render(layout: Layout, style: Style, size: Size) -> Scene:
    """The layout in the style, `size` pixels square or (width, height).

    Labels and coordinates are those of the pixel centres; the image is the mean of 2 x 2 samples.
    """
    width, height = _extent(size)
    fine = trace(layout, (2 * width, 2 * height))
    planes = _shade(layout, style, fine).reshape(3, height, 2, width, 2).mean((2, 4))
    image = np.clip(planes * 255 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return Scene(layout, style, np.ascontiguousarray(image), trace(layout, size))


def correspondence(first: Scene, second: Scene) -> NDArray[np.float32]:
    """For every pixel of `first` the place of the same point of the same object in `second`.

    Returns (H, W, 2) float32: x and y in pixels of `second`, pixel centres at integers.  NaN
    where there is none: in sky and water, for objects `second` lacks, and for points that are
    hidden or outside of its frame (the nearest pixel shows another instance or class).
    """
    a, b = first.coordinates, second.coordinates
    height, width = b.labels.shape
    found = np.full((*a.labels.shape, 2), np.nan, np.float32)
    for item in second.layout.items:
        if item.kind in UNMATCHED:
            continue
        rows, columns = np.nonzero(a.instance == item.slot)
        u, v = (part[rows, columns].astype(np.float64) for part in (a.u, a.v))
        x, y = item.point(u, v, width / height)
        x, y = x * width - 0.5, y * height - 0.5
        column, row = np.rint(x).astype(int), np.rint(y).astype(int)
        seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        column, row = np.where(seen, column, 0), np.where(seen, row, 0)
        seen &= b.instance[row, column] == item.slot
        seen &= b.labels[row, column] == a.labels[rows, columns]
        found[rows[seen], columns[seen]] = np.stack([x[seen], y[seen]], axis=-1)
    return found


def landmarks(layout: Layout, seen: Coordinates) -> dict[str, tuple[float, float]]:
    """Points on a layout's objects, by names that are the same in every layout.

    x and y in pixels, centres at integers; those that are hidden or outside of the frame are left
    out, as is what no other scene has. A name says object, place in it and class.
    """
    height, width = seen.labels.shape
    found = {}
    u, v = (part.ravel() for part in np.meshgrid(*LANDMARKS))
    for item in layout.items:
        if item.kind in UNMATCHED:
            continue
        x, y = (np.broadcast_to(part, u.shape) for part in item.point(u, v, width / height))
        x, y = x * width - 0.5, y * height - 0.5
        for n, (column, row) in enumerate(zip(np.rint(x), np.rint(y), strict=True)):
            inside = 0 <= column < width and 0 <= row < height
            at = int(row), int(column)
            if inside and seen.instance[at] == item.slot:
                name = f"{item.slot}.{n}.{seen.labels[at]}"
                found[name] = (float(x[n]), float(y[n]))
    return found


def open_points(seen: Coordinates) -> dict[str, tuple[float, float]]:
    """Places of sky and water, as `landmarks` has those of objects.

    They belong to no object, but in one style the same place of the frame shows the same clouds.
    """
    height, width = seen.labels.shape
    rows, columns = (((np.arange(OPEN_GRID) + 0.5) * side / OPEN_GRID) for side in (height, width))
    return {
        f"{label}.{i}.{j}": (float(column - 0.5), float(row - 0.5))
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
        if (label := seen.labels[int(row), int(column)]) in OPEN
    }


def _extent(size: Size) -> tuple[int, int]:
    """Width and height in pixels."""
    return (size, size) if isinstance(size, int) else size


def _grid(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres in relative coordinates: x (1, W) and y (H, 1)."""
    return (np.arange(width) + 0.5)[None] / width, (np.arange(height) + 0.5)[:, None] / height


def _window(item: Item, width: int, height: int, depth: float = 0.0) -> tuple[slice, slice]:
    """Rows and columns that may show the item; with depth, those its shadow may fall on."""
    x0, y0, x1, y1 = item.box(width / height)
    if depth:
        reach = 2 * depth * height / width
        x0, y0, x1, y1 = x0 - reach, y1, x1 + reach, y1 + depth
    return _span(y0, y1, height), _span(x0, x1, width)


def _span(low: float, high: float, count: int) -> slice:
    """The pixels of `count` between two relative positions."""
    return slice(min(max(int(low * count), 0), count), min(max(int(high * count) + 1, 0), count))


def _shade(layout: Layout, style: Style, seen: Coordinates) -> NDArray[np.float32]:
    """Colours (3, H, W) of traced pixels, nominally 0 .. 1."""
    labels = seen.labels.ravel()
    planes = np.zeros((3, labels.size), np.float32)
    index = seen.instance.ravel() % SLOTS
    for label in Label:
        where = np.flatnonzero(labels == label)
        if where.size:
            planes[:, where] = paint(
                style,
                label,
                seen.u.ravel()[where],
                seen.v.ravel()[where],
                index[where].astype(np.float32),
            )
    planes = planes.reshape(3, *seen.labels.shape)
    _cast_shadows(layout, style, seen, planes)
    _mirror(layout, style, seen, planes)
    return planes


def _cast_shadows(
    layout: Layout, style: Style, seen: Coordinates, planes: NDArray[np.float32]
) -> None:
    """Darkens the ground where standing objects hide the light: silhouettes laid down flat."""
    height, width = seen.labels.shape
    x, y = _grid(width, height)
    dark = np.zeros(seen.labels.shape, bool)
    for item in layout.items:
        if item.kind not in STANDING:
            continue
        rows, columns = window = _window(item, width, height, style.stretch * item.height)
        away = y[rows] - item.base
        u, v = item.local(
            x[:, columns] - style.slant * away * height / width,
            item.base - away / style.stretch,
            width / height,
        )
        dark[window] |= item.labels(u, v) > 0
    dark &= np.isin(seen.labels, GROUND)
    tint = np.float32(1) - style.shadow * (1 - plane(style.shade) / plane(style.light))
    planes[:, dark] *= tint


def _mirror(layout: Layout, style: Style, seen: Coordinates, planes: NDArray[np.float32]) -> None:
    """Blends what lies beyond the water into it, upside down and slightly rippled."""
    height, width = seen.labels.shape
    rows, columns = np.nonzero(seen.labels == Label.WATER)
    depth = (rows + 0.5) / height - layout.horizon
    sway = 0.006 * np.sin(260 * depth / (0.25 + depth)) * width
    source = np.rint(2 * layout.horizon * height - rows - 1).astype(int).clip(0, height - 1)
    beside = np.rint(columns + sway).astype(int).clip(0, width - 1)
    clear = np.isin(seen.labels[source, beside], MIRRORED) * style.calm
    fade = (clear * np.clip(1 - 1.2 * depth, 0.2, 0.8)).astype(np.float32)
    planes[:, rows, columns] = mix(planes[:, rows, columns], planes[:, source, beside], fade)


# ------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class SceneFiles:
    """What `write_scenes` wrote; truth[i] is masks[i] in the style of exemplars[i mod E]."""

    masks: tuple[Path, ...]
    exemplars: tuple[Path, ...]
    exemplar_masks: tuple[Path, ...]
    truth: tuple[Path, ...]
    points: Path
    """Points of masks and exemplars that show the same."""


STYLES = "styles.csv"
OF_A_STYLE = 4
"""Scenes of a dataset that share a style."""


def write_dataset(folder: Path, count: int, *, size: int = 128, seed: int = 0) -> Path:
    """Writes scenes as a dataset: images/scene-0000.png ... and masks/ of the same names.

    Four scenes after another are of one style: each is the truth of any of the others as its
    exemplar. styles.csv says of which; points.csv has the `landmarks` of the images and their
    `open_points`.
    """
    known = {}
    for i in range(count):
        scene = render(Layout.sample(seed + i), Style.sample(seed + i // OF_A_STYLE), size)
        objects = landmarks(scene.layout, scene.coordinates)
        known[f"images/{mask_name(i)}"] = objects | open_points(scene.coordinates)
        save_image(scene.image, folder / "images" / mask_name(i))
        save_mask(scene.labels, folder / "masks" / mask_name(i))
    _save_points(known, folder / "points.csv")
    rows = (f"images/{mask_name(i)},{i // OF_A_STYLE}\n" for i in range(count))
    (folder / STYLES).write_text("".join(("name,identity\n", *rows)))
    return folder


def mask_name(i: int) -> str:
    return f"scene-{i:04d}.png"


def save_mask(labels: NDArray[np.uint8], path: Path) -> Path:
    """Writes class ids (H, W) as a palette PNG whose pixel values are the ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels)
    picture.putpalette(PALETTE.ravel().tolist())
    picture.save(path)
    return path


def save_image(image: NDArray[np.uint8], path: Path) -> Path:
    """Writes an RGB image (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def warp(image: NDArray[np.uint8], field: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image (H, W, C) looked up at the nearest pixels of a field (h, w, 2), black at NaN."""
    known = ~np.isnan(field[..., 0])
    x, y = np.rint(np.where(known[..., None], field, 0)).astype(int).transpose(2, 0, 1)
    return image[y, x] * known[..., None]


def write_scenes(
    folder: Path,
    masks: int = 8,
    exemplars: int = 4,
    *,
    size: Size = 256,
    seed: int = 0,
    truth: bool = True,
) -> SceneFiles:
    """Writes a folder ready for translation.

    masks/scene-0000.png ... hold class ids with PALETTE; exemplars/exemplar-0000.png ... show
    other layouts, each in its own style, with their masks under exemplar_masks/ by the same
    names; truth/ holds mask i in the style of exemplar i mod `exemplars` by the name of the mask,
    unless `truth` is False or there are no exemplars. points.csv has the `landmarks` of both.
    """
    parts = ("masks", "exemplars", "exemplar_masks", "truth")
    files: dict[str, list[Path]] = {part: [] for part in parts}
    known: dict[str, dict[str, tuple[float, float]]] = {}
    styles = [Style.sample(seed + k) for k in range(exemplars)]
    for k, style in enumerate(styles):
        scene, name = render(Layout.sample(seed + ELSEWHERE + k), style, size), f"exemplar-{k:04d}"
        known[name] = landmarks(scene.layout, scene.coordinates)
        files["exemplars"].append(save_image(scene.image, folder / f"exemplars/{name}.png"))
        files["exemplar_masks"].append(
            save_mask(scene.labels, folder / f"exemplar_masks/{name}.png")
        )
    for k in range(masks):
        layout, name = Layout.sample(seed + k), mask_name(k)
        seen = trace(layout, size)
        known[name] = landmarks(layout, seen)
        files["masks"].append(save_mask(seen.labels, folder / "masks" / name))
        if truth and styles:
            image = render(layout, styles[k % exemplars], size).image
            files["truth"].append(save_image(image, folder / "truth" / name))
    points = _save_points(known, folder / "points.csv")
    return SceneFiles(points=points, **{part: tuple(paths) for part, paths in files.items()})


def _save_points(known: dict[str, dict[str, tuple[float, float]]], path: Path) -> Path:
    rows = (
        f"{key},{name},{x:.2f},{y:.2f}"
        for key, points in known.items()
        for name, (x, y) in points.items()
    )
    path.write_text("\n".join(["key,name,x,y", *rows, ""]))
    return path

"""Layouts of scenes changed as a painter would change their masks."""

from collections.abc import Callable
from dataclasses import replace

from cocoscli.data.scenes.items import Item, Kind
from cocoscli.data.scenes.layout import Layout


def without(layout: Layout, *kinds: Kind) -> Layout:
    """The layout less all objects of these kinds."""
    return replace(layout, items=tuple(item for item in layout.items if item.kind not in kinds))


def resized(layout: Layout, kind: Kind, factor: float) -> Layout:
    """The layout with the objects of a kind larger or smaller, each standing where it stood."""
    return _changed(
        layout,
        kind,
        lambda item: replace(
            item, left=factor * item.left, right=factor * item.right, height=factor * item.height
        ),
    )


def turned_into(layout: Layout, kind: Kind, other: Kind) -> Layout:
    """The layout with another kind of object of the same size in the place of one."""
    return _changed(layout, kind, lambda item: replace(item, kind=other, shape=()))


def _changed(layout: Layout, kind: Kind, change: Callable[[Item], Item]) -> Layout:
    items = (change(item) if item.kind is kind else item for item in layout.items)
    return replace(layout, items=tuple(items))

"""Opens the item table of a bundle, and what is computed from it once, the same way in every service."""

from __future__ import annotations

from bundles import layout
from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt
from features.item_features import ItemFeatures
from features.item_table import ItemTable


def open_items(bundle: Bundle) -> ItemTable:
    """The item table of a verified bundle. Raises BundleCorrupt naming the file that cannot be read."""
    try:
        return ItemTable.open(bundle.folder(layout.ITEMS))
    except (OSError, ValueError, KeyError) as error:
        raise BundleCorrupt(bundle.version, layout.ITEMS, f"cannot be read: {error}") from error


def open_item_features(bundle: Bundle, items: ItemTable) -> ItemFeatures:
    """The features of its media. Raises BundleCorrupt naming the file that does not fit the table."""
    try:
        return ItemFeatures.open(bundle.folder(layout.ITEMS), items)
    except (OSError, ValueError) as error:
        raise BundleCorrupt(bundle.version, layout.ITEMS, f"cannot be read: {error}") from error

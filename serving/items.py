"""Opens the item table of a bundle the same way in every service."""

from __future__ import annotations

from bundles import layout
from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt
from features.item_table import ItemTable


def open_items(bundle: Bundle) -> ItemTable:
    """The item table of a verified bundle. Raises BundleCorrupt naming the file that cannot be read."""
    try:
        return ItemTable.open(bundle.folder(layout.ITEMS))
    except (OSError, ValueError, KeyError) as error:
        raise BundleCorrupt(bundle.version, layout.ITEMS, f"cannot be read: {error}") from error

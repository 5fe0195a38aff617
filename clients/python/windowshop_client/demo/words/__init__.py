"""The invented vocabulary of the demo shop: data only; knows nothing of users, stock or chance."""

from windowshop_client.demo.words import fashion, home, leisure, living, technology
from windowshop_client.demo.words.leaf import Department, Leaf, listed

DEPARTMENTS: tuple[Department, ...] = (
    *technology.DEPARTMENTS,
    *home.DEPARTMENTS,
    *fashion.DEPARTMENTS,
    *leisure.DEPARTMENTS,
    *living.DEPARTMENTS,
)

LINES: tuple[str, ...] = listed(
    "Alder; Arc; Aster; Aven; Birch; Bluff; Brisk; Calm; Cedar; Clover; Coast; Cove; Dawn; Delta; Drift; "
    "Dune; Ember; Fable; Fern; Field; Fjord; Flint; Fog; Glade; Glen; Grove; Halo; Harbor; Haven; Hazel; "
    "Heath; Iris; Isle; Ivy; Juniper; Kite; Lark; Linden; Lumen; Lyra; Maple; Meadow; Mist; Moss; Nova; Oak; "
    "Orbit; Otter; Pebble; Pine; Plume; Quartz; Quill; Reed; Ridge; Rill; Rowan; Sable; Sage; Slate; Solace; "
    "Sparrow; Spruce; Stone; Summit; Thistle; Tide; Topaz; Vale; Vista; Willow; Wren; Zephyr"
)
"""Names of product lines: "Norvik *Drift* Wireless Earbuds"."""

__all__ = ["DEPARTMENTS", "LINES", "Department", "Leaf"]

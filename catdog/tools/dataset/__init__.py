"""`catdog data check`, `stats`, `fetch` and `pack`: examines a folder of photos, downloads one, or packs one.

check reports problems (layout: those of names and folders; labels: photos that networks call another class), stats
measures sizes and colours; both read the photos through scan. fetch lays out public data sets, which download
transfers. pack puts photos into tar shards.
"""

"""Files by which the folder of a packed set, or the mirror of one, is known: `catdog.images.packed` reads them."""

SET_FILE = "shards.json"
STORE_FILE = "store.json"

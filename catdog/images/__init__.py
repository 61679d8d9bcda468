"""From a file, or its bytes, to pixels: `decode` is the one function that does it.

decoder             `decode`; ordinary JPEGs
formats             which format a file has; what a JPEG and Exif data say
pillow, colour      all other pictures; colour profiles, grey levels, transparency
geometry, limits    resizing and turning upright; how large a picture may be
keep_shape          cropping and padding
packed, store       photos in tar shards; in an object store; packed_files: by which their folders are known
address             how files of an object store or a web server are read
packed_paths        the paths that lead into packed sets
"""

from catdog.images.decoder import decode, decode_and_measure

__all__ = ["decode", "decode_and_measure"]

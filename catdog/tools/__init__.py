"""Tools around the core, independent of each other: explain, evaluation, doctor, demo, tune, dataset, export and push.

Each is a verb of the command line (dataset: `catdog data ...`), and imports no other tool.
"""

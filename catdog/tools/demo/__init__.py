"""`catdog demo`: trains small networks that differ in one thing and compares them on held-out photos.

command holds the experiments and trains them, outcome their results, conclusions the sentences printed, picture draws.
"""

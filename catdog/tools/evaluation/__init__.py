"""`catdog evaluate`: measures the accuracy of a network on photos, and writes a report of diagrams and galleries.

measure computes the figures, baselines compares with simple classifiers, diagrams and gallery draw, report puts the
page together, folder writes it, command prints.
"""

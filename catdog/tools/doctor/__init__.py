"""`catdog doctor`: diagnoses a configuration, its photos and a run by short experiments, each a `check_...` function.

patient holds what is examined and trains for a few steps; learning, units, rate_sweep and history hold the checks.
"""

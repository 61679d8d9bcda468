"""`catdog tune`: searches hyperparameters with Optuna.

command runs the search, study stores its trials in a folder, search_space says which fields are searched in what range.
"""

"""`catdog evaluate`: figures in words, and a report with diagrams and galleries."""

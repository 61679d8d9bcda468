"""Each contender as a program of its own, written as its project's documentation would."""

"""The ground that other rooms stand on.

atomic           how every file is written: to a temporary name, flushed, renamed
locks            locks on folders; work_folder: folders that are locked while they are in use
signals          Ctrl-C and SIGTERM
worker           processes that work for this one; threads: how many; cpus: how many CPUs there are for them
text, lazy       small helpers: text on one line, and imports that wait until they are needed
"""

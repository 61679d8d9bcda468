"""The ground that other rooms stand on.

atomic           how every file is written: to a temporary name, flushed, renamed
locks            locks on folders; work_folder: folders that are locked while they are in use
signals          Ctrl-C, SIGTERM and SIGHUP
worker           processes that work for this one
output           standard output and error, and JSON on them
text, lazy       small helpers: text on one line, and imports that wait until they are needed
"""

"""The ground that other rooms stand on.

atomic           how every file is written: to a temporary name, flushed, renamed
locks            locks on folders; work_folder: folders that are locked while they are in use
signals          Ctrl-C, SIGTERM and SIGHUP
worker           processes that work for this one; threads: how many; cpus: how many CPUs there are for them
daemon_threads   threads that do not keep the process from ending
output           standard output and error, and JSON on them
progress         bars on the terminal; iterated: of what is iterated
extras           how to install what is missing
text, lazy       small helpers: names, counts and shares as text; imports that wait until they are needed
"""

"""RDMA between GPU hosts: what may carry NCCL, what it must reach, and the proof.

choice       which ports of a host carry NCCL, and the environment that says so to the engine
judge        a host's fabric and the health of its GPUs as problems and warnings
figures      what must be reached, by link and machine: thresholds.yml
tournament   all pairs of hosts, none in two at once
commands     the shell that runs perftest, nccl-tests and dcgmi on a host, and is ended with its connection
write_bw, all_reduce, dcgm   what those programs print
matrix       pairs against each other: who is out of line
acceptance   `dsdeploy check --fabric`: all of it in order
"""

"""Pull and verify model weights on a host, with nothing but Python's standard library (3.8 or newer).

Run as ``python3 -m dsdeploy_weights pull|verify``. One JSON document on stdout is the answer; exit code 0 is
done, 1 is refused or found bad, 2 is a wrong command line.
"""

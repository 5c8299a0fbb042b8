"""Symptom, cause, next command.

evidence    what hosts and this computer said, as values that can be put into a file and taken out again
catalogue   the faults that are known: words in a log
judge       the faults that are known: readings
bundle      evidence in an archive, secrets removed
secrets     those that the site file names, by themselves

Everything but the last two is pure: evidence in, findings out.
"""

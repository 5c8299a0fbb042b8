"""Symptom, cause, next command.

evidence    what hosts and this computer said, as values that can be put into a file and taken out again
told        what a run's logs on this computer said, line by line
catalogue   the faults that are known: words in a log, as data
logs        the catalogue's faults, found
judge       the faults that are known: readings
finding     one of them, with the command an operator can copy
bundle      evidence in an archive, secrets removed
secrets     those that the site file names, by themselves

Everything but the last two is pure: evidence in, findings out.
"""

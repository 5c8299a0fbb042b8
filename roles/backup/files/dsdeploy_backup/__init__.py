"""Backups of one host: staged, encrypted by restic, proven by restoring them. Python >= 3.8, no other package.

    python3 -m dsdeploy_backup run|list|verify|rehearse|restore

Decisions are in `decide` and pure; `restic` is the only module that starts restic.
"""

"""Backups as the controller sees them: keys, variables for the roles, plays, and what hosts say of their snapshots.

Each host backs itself up (roles/backup); nothing here is needed for that but the play that puts it in place.
"""

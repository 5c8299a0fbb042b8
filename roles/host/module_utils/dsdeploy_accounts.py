"""A system account that nobody can log in as: what there is, and the commands that make it so. Python >= 3.8."""

from __future__ import annotations

import grp
import pwd
from typing import Dict, List, Optional

NOLOGIN = "/usr/sbin/nologin"
_FLAGS = {"group": "--gid", "comment": "--comment", "home": "--home", "shell": "--shell"}


def wanted(account: Dict[str, str]) -> Dict[str, str]:
    """Group, comment, home and shell of an entry with name, comment and home; the group has the user's name."""
    return {"group": account["name"], "comment": account["comment"], "home": account["home"], "shell": NOLOGIN}


def current(name: str) -> Optional[Dict[str, str]]:
    """The same four as they are, None without such a user."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return None
    try:
        group = grp.getgrgid(user.pw_gid).gr_name
    except KeyError:
        group = str(user.pw_gid)
    return {"group": group, "comment": user.pw_gecos, "home": user.pw_dir, "shell": user.pw_shell}


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def steps(account: Dict[str, str]) -> List[List[str]]:
    """Commands that bring group and user to what is wanted, none when they are; a new user's password is locked."""
    name, to_be, was = account["name"], wanted(account), current(account["name"])
    needed = [] if _has_group(name) else [["groupadd", "--system", name]]
    if was is None:
        flags = [part for key, value in to_be.items() for part in (_FLAGS[key], value)]
        needed.append(["useradd", "--system", "--no-create-home", *flags, name])
    elif was != to_be:
        flags = [part for key, value in to_be.items() if was[key] != value for part in (_FLAGS[key], value)]
        needed.append(["usermod", *flags, name])
    return needed

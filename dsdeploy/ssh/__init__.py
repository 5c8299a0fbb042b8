"""SSH to hosts as the operator: a paramiko user, beside hosts.py.

login    a connection, host keys checked
tunnel   a local port that leads to a port behind a host
shell    scripts that end with their connection
"""

from dsdeploy.ssh.login import connect, login_command, login_words
from dsdeploy.ssh.shell import Running, Shells
from dsdeploy.ssh.tunnel import Tunnel, Tunnels, tunnels

__all__ = ["Running", "Shells", "Tunnel", "Tunnels", "connect", "login_command", "login_words", "tunnels"]

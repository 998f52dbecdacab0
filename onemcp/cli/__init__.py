"""The command line.

Exit codes, of every command (those above 63 are named in ``sysexits.h``):

====  ============================================================================
0     It went well; for `run`, it was stopped by a signal and has ended in order.
1     It failed; for `check`, the configuration has problems.
2     The command line is wrong, or names a server that there is not.
69    The address cannot be listened on, usually because its port is in use; or onemcp runs already
      with this configuration; or none runs that a command could ask.
73    The state directory, the keys in it, or the control socket cannot be made or used.
74    The output cannot be written.
78    The configuration cannot be used.
130   It was interrupted before it had begun to serve.
====  ============================================================================
"""

from __future__ import annotations

from onemcp.cli.program import main

__all__ = ["main"]

"""The Model Context Protocol without I/O: envelopes, revisions, framing, headers, era mapping.

Nothing here reads a socket, a clock or a file; everything takes bytes or values and returns
bytes, values or errors from one table. The modules, each usable on its own:

* :mod:`~onemcp.protocol.revisions`, :mod:`~onemcp.protocol.methods`: what exists in which era;
* :mod:`~onemcp.protocol.jsonrpc`, :mod:`~onemcp.protocol.fields`: messages whose payloads stay raw;
* :mod:`~onemcp.protocol.meta`, :mod:`~onemcp.protocol.headers`: what a request says about itself;
* :mod:`~onemcp.protocol.framing`, :mod:`~onemcp.protocol.sse`: bytes into messages and back;
* :mod:`~onemcp.protocol.translation`: from one era to the other;
* :mod:`~onemcp.protocol.errors`: every error code, the specification's and onemcp's own.
"""

from __future__ import annotations

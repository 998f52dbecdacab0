"""What the fuzzer begins with: sound input of each kind, and what has ever been a mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HOST = b" HTTP/1.1\r\nHost: here\r\n"

REQUESTS = (
    b"\0GET /mcp" + HOST + b"\r\n",
    b"\7POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc",
    b"\1POST /" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: t\r\n\r\n",
    b"\2POST /" + HOST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"\3GET /" + HOST + b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\nGET /" + HOST + b"\r\n",
    b"\4POST /" + HOST + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\nx",
    b"\5GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"\6CONNECT here:1" + HOST + b"\r\n",
    b"\0" + (b"GET /mcp" + HOST + b"\r\n") * 3,
    b"\0" + (b"POST /mcp" + HOST + b"X: y\r\nContent-Length: 3\r\n\r\nabc") * 3,
)
RESPONSES = (
    b"\0HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"\1HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: t\r\n\r\n",
    b"\2HTTP/1.1 200 OK\r\nX: y\r\n\r\nabc",
    b"\3HTTP/1.1 204 No Content\r\n\r\n",
    b"\4HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    b"\5HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
    b"\6HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx",
)
MESSAGES = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{}}}',
    b'{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"\\u00e9"}]}}',
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}',
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}',
    b'[{"jsonrpc":"2.0","id":5,"method":"ping"},{"jsonrpc":"2.0","id":6,"result":{}}]',
    b'{"jsonrpc":"2.0","id":2,"result":"\\ud800 \\ud83d\\ude00"}',
    b'{"jsonrpc":"2.0","id":1e2,"result":\r\n[1e400]}',
)
EVENTS = (
    b"\0data: a\ndata:b\n\n",
    b"\1event: endpoint\r\ndata: /messages?x=1\r\nid: 7\r\nretry: 10\r\n\r\n",
    b"\2\xef\xbb\xbf: comment\r\rdata\r\rid: \0\rid\r\r",
    b"\3retry: 99999999999999\n\ndata: " + b"x" * 100 + b"\n\n",
)
LINES = (
    b"\0" + MESSAGES[0] + b"\n" + MESSAGES[1] + b"\r\n\n\r\nrest",
    b"\1" + b"x" * 5000 + b"\n{}\n",
)
ANSWERS = b"\n".join(
    (
        b'{"jsonrpc":"2.0","id":2,"result":{"content":[]}}',
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":3}}',
        b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}',
        b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
        b'{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}',
        b'{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{"messages":[]}}',
        b'{"jsonrpc":"2.0","id":10,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"no"}}',
        b"",
    )
)
CONNECTIONS = (
    *(bytes([seed]) + ANSWERS for seed in (0, 1, 2, 50)),
    *(bytes([seed]) + b"[" + ANSWERS.rstrip().replace(b"\n", b",") + b"]\n" for seed in (1, 40)),
    b"\0" + b'{"jsonrpc":"2.0","id":2,"result":{"x":"' + b"x" * 5000 + b'"}}\n',
    b"\0" + b'{"result":{"x":"' + b"x" * 5000 + b'"},"jsonrpc":"2.0","id":2}\n',
)
FIELDS = (
    (
        b"mcp-protocol-version: 2026-07-28\nmcp-method: tools/call\nmcp-name: x\n\n"
        b'{"name":"x","arguments":{}}'
    ),
    (
        b"mcp-name: =?base64?w6k=?=\nmcp-param-city: Ulm\nmcp-param-hour: 7\n\n"
        b'{"name":"\xc3\xa9","arguments":{"city":"Ulm","at":{"hour":7.0}}}'
    ),
    (
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"
        b'tracestate: a=b\nbaggage: k=v;p\n\n{"_meta":{}}'
    ),
    (
        b'\n\n{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"},'
        b'"b":{"anyOf":[{"type":"integer","x-mcp-header":"B"}]}}}'
    ),
)

SEEDS: Mapping[str, Sequence[bytes]] = {
    "requests": REQUESTS,
    "responses": RESPONSES,
    "messages": MESSAGES,
    "events": EVENTS,
    "lines": LINES,
    "connection": CONNECTIONS,
    "fields": FIELDS,
}
"""What each target begins with."""

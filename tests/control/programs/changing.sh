# An MCP server of 2025-11-25 whose tools and prompts stand in two files, and which says that they
# have changed whenever a tool is called.
while read -r line; do
  id=${line#*\"id\":}
  id=${id%%[,\}]*}
  case $line in
  *'"initialize"'*) result='{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"prompts":{"listChanged":true}},"serverInfo":{"name":"changing","version":"1"}}' ;;
  *'"tools/list"'*) result="{\"tools\":$(cat "$1")}" ;;
  *'"prompts/list"'*) result="{\"prompts\":$(cat "$2")}" ;;
  *'"tools/call"'*)
    result='{"content":[{"type":"text","text":"done"}]}'
    printf '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'
    printf '{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}\n'
    ;;
  *'"notifications/'*) continue ;;
  *) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}\n' "$id"; continue ;;
  esac
  printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done

/* The backend that is measured: as little as an MCP server can be, so that the gateway shows.
 *
 * Speaks the legacy revisions over stdio. The tool `echo` repeats a text; `progress` does so after
 * ten notifications; `fill` writes as many letters as its text says. With a number as argument it lists so many more tools, which do nothing else.
 * It reads what clients really send, and is no JSON parser: backend.py is the same in Python.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "\"inputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}}}"
#define NOTES 10

/* The end of the JSON value that begins at `at`: a string or a number. */
static char *end_of(char *at) {
    if (*at != '"') return at + strspn(at, "-0123456789");
    for (at++; *at != '"'; at++) {
        if (*at == '\\') at++;
        if (!*at) return at;
    }
    return at + 1;
}

/* The value of a member; its length in `length`, 0 where there is none. */
static char *member(char *line, const char *name, int *length) {
    char *at = strstr(line, name);
    *length = 0;
    if (!at) return line;
    at += strlen(name);
    at += strspn(at, " \t:");
    *length = (int)(end_of(at) - at);
    return at;
}

static void list(int tools) {
    printf("{\"tools\":[{\"name\":\"echo\",\"description\":\"Repeat a text.\"," SCHEMA "},"
           "{\"name\":\"progress\",\"description\":\"Repeat a text, slowly.\"," SCHEMA "},"
           "{\"name\":\"fill\",\"description\":\"Write a long text.\"," SCHEMA "}");
    for (int n = 0; n < tools; n++)
        printf(",{\"name\":\"tool%d\",\"description\":\"Repeat a text like the others do, which "
               "takes a sentence of the usual length to say.\"," SCHEMA "}", n);
    printf("]}");
}

static void call(char *line) {
    int length, token_length;
    char *text;
    if (strstr(line, "\"progress\"")) {
        char *token = member(line, "\"progressToken\"", &token_length);
        for (int n = 1; token_length && n <= NOTES; n++)
            printf("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":"
                   "{\"progressToken\":%.*s,\"progress\":%d,\"total\":%d}}\n",
                   token_length, token, n, NOTES);
    }
    char *id = member(line, "\"id\"", &token_length);
    text = member(line, "\"text\"", &length);
    printf("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{\"content\":[{\"type\":\"text\",\"text\":",
           token_length, id);
    if (strstr(line, "\"fill\"")) {
        putchar('"');
        for (int left = atoi(text + 1); left > 0; left--) putchar_unlocked('x');
        putchar('"');
    } else {
        fwrite(text, 1, length, stdout);
    }
    printf("}]}}\n");
}

int main(int count, char **arguments) {
    int tools = count > 1 ? atoi(arguments[1]) : 0;
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        int length;
        char *id = member(line, "\"id\"", &length);
        if (!length) continue;
        if (strstr(line, "\"tools/call\"")) {
            call(line);
        } else if (strstr(line, "\"initialize\"")) {
            int width;
            char *revision = member(line, "\"protocolVersion\"", &width);
            printf("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{\"protocolVersion\":%.*s,"
                   "\"capabilities\":{\"tools\":{}},\"serverInfo\":"
                   "{\"name\":\"bench\",\"version\":\"1\"}}}\n", length, id, width, revision);
        } else if (strstr(line, "\"tools/list\"")) {
            printf("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":", length, id);
            list(tools);
            printf("}\n");
        } else if (strstr(line, "\"ping\"")) {
            printf("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{}}\n", length, id);
        } else {
            printf("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"error\":"
                   "{\"code\":-32601,\"message\":\"Method not found\"}}\n", length, id);
        }
        fflush(stdout);
    }
    return 0;
}

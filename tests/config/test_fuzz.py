"""Whatever the file holds, it is read or refused; nothing else happens."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from onemcp.config import Configuration, ConfigurationError, parse, schema

DEFINITIONS = schema()["$defs"]
OPTIONS = sorted({key for node in DEFINITIONS.values() for key in node.get("properties", ())})

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70_000)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["stdio", "http", "sse", "modern", "https://x/y", "${A}", "${B}", "\0", ""])
    | st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(OPTIONS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
entries = st.dictionaries(st.sampled_from(OPTIONS), values, max_size=4)
programs = entries.map(lambda entry: {"command": "x"} | entry)
documents = st.fixed_dictionaries(
    {"mcpServers": st.dictionaries(st.sampled_from("abc") | st.text(), programs | values)},
    optional=dict.fromkeys(("server", "auth", "naming", "limits", "log", "other"), entries),
)


@settings(max_examples=50)
@given(documents)
def test_a_document_is_read_or_refused(document):
    text = json.dumps(document, indent=1)
    try:
        configuration = parse(text, source="f", environ={"A": "s3cret"})
    except ConfigurationError as error:
        assert error.problems  # noqa: PT017  (nothing else may be raised)
        for problem in error.problems:
            assert 1 <= problem.line <= text.count("\n") + 1
            assert "s3cret" not in str(problem)
    else:
        assert isinstance(configuration, Configuration)

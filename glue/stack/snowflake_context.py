"""What a session of the local Snowflake tells of itself in SQL, as CURRENT_WAREHOUSE(), for BI tools."""

from collections.abc import Sequence

from sqlglot import exp, tokenize

ACCOUNT = "LOCAL"
"""Name of the account, its organization and its region."""


def with_context(
    statement: exp.Expr,
    place: Sequence[str],
    *,
    user: str,
    role: str,
    warehouse: str,
    session_id: int,
    last: str,
) -> exp.Expr:
    """Put the session's values in place of the functions that ask for them.

    Args:
        statement: any statement; it stays as it is.
        place: current database and schema; "" is NULL, as for the values below.
        user: who has logged in.
        role: the current role.
        warehouse: the current warehouse.
        session_id: what the session is known by.
        last: id of the last query before.
    """
    values: dict[type[exp.Expr], str] = {
        exp.CurrentUser: user,
        exp.CurrentRole: role,
        exp.CurrentWarehouse: warehouse,
        exp.CurrentDatabase: place[0],
        exp.CurrentSchema: place[1],
        exp.CurrentAccount: ACCOUNT,
        exp.CurrentAccountName: ACCOUNT,
        exp.CurrentOrganizationName: ACCOUNT,
        exp.CurrentRegion: ACCOUNT,
        exp.CurrentSession: str(session_id),
    }

    def told(node: exp.Expr) -> exp.Expr:
        is_last = isinstance(node, exp.Anonymous) and node.name.upper() == "LAST_QUERY_ID"
        value = last if is_last else values.get(type(node))
        if value is None:
            return node
        literal = exp.Literal.string(value) if value else exp.Null()
        if isinstance(node.parent, exp.Select):  # its column keeps the function's name
            return exp.alias_(literal, node.sql(dialect="snowflake").upper(), quoted=True)
        return literal

    return statement.transform(told)


def used_warehouse(sql: str) -> str:
    """Return the warehouse that a statement USE WAREHOUSE makes the session's; "" for any other."""
    tokens = tokenize(sql, read="snowflake")
    match [token.text.upper() for token in tokens[:3]]:
        case ["USE", "WAREHOUSE", name]:
            return name
        case _:
            return ""

"""Statements at random, in each vendor's grammar: what `test_fuzz` runs and reads.

The tables are ``fz_a``, ``fz_b`` and ``fz_c`` with the columns ``id``, ``n`` and ``t``. The
function ``fz_write(x)`` writes ``fz_c`` and returns ``x``; ``fz_read(x)`` writes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable

TABLES = ("fz_a", "fz_b", "fz_c")
# What misleads who does not know where a literal or a comment ends.
_PIECES = (
    "a", "x y", "''", "'", '"', "`", "\\", "\\\\", "--", "/*", "*/", ";", "#", "$$", "$a$", "$a1$",
    "]", "[", "UPDATE fz_b SET n = 9", "DELETE FROM fz_a", "; DROP", " ", "\n", "%%", "SELECT 1",
    "é", "FOR UPDATE", "\t", "fz_c", "E'", "/*!", "(", ")",
)  # fmt: skip


class Grammar:
    """One vendor's statements, drawn by ``draw``."""

    def __init__(self, vendor: str, draw: random.Random, schema: str = "main") -> None:
        self.vendor = vendor
        self.draw = draw
        self.schema = schema
        self.depth = 0

    def text(self) -> str:
        """Return one text to send."""
        self.depth = 0
        text = self.statement()
        if self.vendor != "sqlite" and self.chance(0.15):
            text += self.noise() + ";" + self.noise() + self.statement()
        if self.vendor == "sqlite" and self.chance(0.05):
            text = "\ufeff" + text
        text = self.noise(0.3) + text + self.noise(0.1)
        return text + ";" if self.chance(0.1) else text

    def chance(self, share: float) -> bool:
        return self.draw.random() < share

    def one(self, *choices: Callable[[], str]) -> str:
        return self.draw.choice(choices)()

    # Words and what stands between them

    def join(self, *parts: str) -> str:
        out = ""
        for part in parts:
            if part:
                out += (self.noise() if out else "") + part
        return out

    def word(self, words: str) -> str:
        out = []
        for each in words.split():
            case = self.draw.randrange(8)
            out.append(each.lower() if case == 0 else each.capitalize() if case == 1 else each)
        return self.noise().join(out)

    def noise(self, share: float = 0.06) -> str:
        if not self.chance(share):
            return self.draw.choice((" ", " ", " ", "\n", "\t", "  "))
        return " " + "".join(self.comment() for _ in range(self.draw.randrange(1, 3))) + " "

    def inside(self) -> str:
        return "".join(self.draw.choice(_PIECES) for _ in range(self.draw.randrange(4)))

    def comment(self) -> str:  # noqa: PLR0911 - a return for each kind
        line = self.inside().replace("\n", " ").replace("\r", " ")
        block = self.inside().replace("*/", "").replace("/*", "").strip("*/")
        if self.vendor == "postgresql":
            if self.chance(0.4):
                return f"/* {block} /* {block} */ {self.inside_block()} */"
            if self.chance(0.5):
                return f"--{line}" + self.draw.choice("\n\r")
            return f"/*{block} */"
        if self.vendor == "mysql":
            block = block.replace("!", "")
            pick = self.draw.randrange(4)
            if pick == 0:
                return f"#{line}\n"
            if pick == 1:
                return f"-- {line}\n"
            return f"/* {block} */"
        return f"--{line}\n" if self.chance(0.5) else f"/*{block} */"

    def inside_block(self) -> str:
        return self.inside().replace("*/", "").replace("/*", "").strip("*/")

    # Names and literals

    def table(self) -> str:
        name = self.draw.choice(TABLES)
        return self.named(name)

    def named(self, name: str) -> str:
        pick = self.draw.randrange(10)
        if self.vendor == "postgresql":
            if pick == 0:
                name = f'U&"fz\\005F{name[-1]}"'
            elif pick == 1:
                name = f'u&"\\+000066z_{name[-1]}"'
            elif pick < 5:
                name = f'"{name}"'
            elif pick == 5:
                name = name.upper()
            return f"public.{name}" if self.chance(0.1) else name
        if self.vendor == "mysql":
            if pick < 5:
                name = f"`{name}`"
            return f"{self.schema}.{name}" if self.chance(0.1) else name
        if pick < 3:
            name = f'"{name}"'
        elif pick == 3:
            name = f"`{name}`"
        elif pick == 4:
            name = f"[{name}]"
        elif pick == 5:
            name = f"'{name}'"
        elif pick == 6:
            name = name.upper()
        return f"main.{name}" if self.chance(0.1) else name

    def string(self) -> str:  # noqa: PLR0911 - a return for each kind
        inside = self.inside()
        pick = self.draw.randrange(6)
        if self.vendor == "postgresql":
            if pick == 0:
                tag = self.draw.choice(("$$", "$a$", "$a1$", "$_$"))
                return tag + inside.replace("$", "") + tag
            if pick == 1:
                return "E'" + inside.replace("\\", "\\\\").replace("'", "\\'") + "'"
            if pick == 2:
                return "E'" + inside.replace("\\", "\\\\").replace("'", "''") + "'"
        elif self.vendor == "mysql":
            inside = inside.replace("\\", "\\\\")
            if pick == 0:
                return '"' + inside.replace('"', '\\"') + '"'
            if pick == 1:
                return '"' + inside.replace('"', '""') + '"'
            if pick == 2:
                return "'" + inside.replace("'", "\\'") + "'"
        return "'" + inside.replace("'", "''") + "'"

    # Expressions

    def number(self) -> str:
        return str(self.draw.randrange(1, 40))

    def expression(self) -> str:
        self.depth += 1
        try:
            if self.depth > 4:
                return self.number()
            return self.one(
                self.number, self.number, self.number, self.number, self.number,
                lambda: "n", lambda: "n",
                lambda: self.join("(", self.expression(), self.draw.choice("+-"), "3", ")"),
                lambda: self.call("abs"),
                lambda: self.call("coalesce", 2),
                lambda: self.join(self.word("CASE WHEN"), self.condition(), self.word("THEN"),
                                  self.expression(), self.word("ELSE"), self.number(),
                                  self.word("END")),
                lambda: self.join("length", "(", self.textual(), ")"),
                lambda: self.join("(", self.word("SELECT max"), "(n)", self.word("FROM"),
                                  self.table(), ")"),
                self.unknown,
            )  # fmt: skip
        finally:
            self.depth -= 1

    def unknown(self) -> str:
        name = self.draw.choice(("fz_write", "fz_read", "fz_read"))
        if self.vendor == "postgresql" and self.chance(0.3):
            name = self.draw.choice((f'"{name}"', f"public.{name}", name.upper()))
        return self.call(name)

    def call(self, name: str, count: int = 1) -> str:
        gap = self.noise(0.02).replace("\n", " ") if name[:2] == "fz" and self.chance(0.2) else ""
        return f"{name}{gap}({', '.join(self.expression() for _ in range(count))})"

    def textual(self) -> str:
        return self.one(
            self.string,
            lambda: "t",
            lambda: self.join("upper(", self.string(), ")"),
            lambda: f"replace(t, {self.backslash()}, '/')",
        )

    def backslash(self) -> str:
        return "'\\\\'" if self.vendor == "mysql" else "'\\'"

    def condition(self) -> str:
        return self.one(
            lambda: self.join("n", self.draw.choice(("=", "<", ">", "<>")), self.expression()),
            lambda: self.join("t", "<>", self.textual()),
            lambda: self.join("id", self.word("IN"), "(1,", self.number(), ")"),
            lambda: self.join(self.word("EXISTS"), "(", self.select(1), ")"),
            lambda: "1 = 1",
        )

    # Reads

    def select(self, columns: int = 0) -> str:
        self.depth += 1
        try:
            count = columns or self.draw.randrange(1, 3)
            listed = ", ".join(self.expression() for _ in range(count))
            source = self.table() if self.depth > 3 or self.chance(0.7) else self.source()
            parts = [self.word("SELECT"), listed, self.word("FROM"), source]
            if self.chance(0.6):
                parts += [self.word("WHERE"), self.condition()]
            if self.chance(0.2) and self.depth == 1:
                parts += [self.word("ORDER BY"), "1"]
            if self.chance(0.1) and self.vendor != "sqlite" and self.depth == 1:
                parts += [self.word("FOR UPDATE")]
            return self.join(*parts)
        finally:
            self.depth -= 1

    def source(self) -> str:
        choices = [
            lambda: self.join("(", self.word("SELECT * FROM"), self.table(), ")", "x"),
            lambda: self.join("(", self.word("SELECT id, n, t FROM"), self.table(),
                              self.word("WHERE"), self.condition(), ")", "x"),
        ]  # fmt: skip
        if self.vendor == "postgresql":
            choices += [
                lambda: "fz_rows(1)",
                lambda: f"{self.table()}, fz_rows(2) f",
                lambda: f"(VALUES (fz_write(1), 2, 'a')) v{self.noise()}(id, n, t)",
            ]
        return self.one(*choices)

    # Writes

    def target(self) -> str:
        return self.table()

    def insert(self) -> str:
        into = self.word("INSERT INTO")
        if self.vendor == "sqlite" and self.chance(0.3):
            into = self.word(self.draw.choice(("INSERT OR REPLACE INTO", "REPLACE INTO")))
        if self.vendor == "mysql" and self.chance(0.4):
            into = self.word(self.draw.choice(
                ("REPLACE", "REPLACE INTO", "INSERT IGNORE INTO", "INSERT", "INSERT LOW_PRIORITY")
            ))  # fmt: skip
        columns = self.join("(", "id, n, t", ")")
        key = str(self.draw.randrange(1, 2_000_000))
        rows = self.one(
            lambda: self.join(self.word("VALUES"), "(", key, ",", self.constant(), ",",
                              self.string(), ")"),
            lambda: self.join(self.word("VALUES"), f"({key}, 1, 'a'),", f"({key}1, 2, 'b')"),
            lambda: self.join(self.word("SELECT"), "id + 1000,", self.expression(), ",",
                              self.textual(), self.word("FROM"), self.table()),
        )  # fmt: skip
        end = ""
        if self.vendor != "mysql" and self.chance(0.2):
            end = self.word("RETURNING id")
        return self.join(into, self.target(), columns, rows, end)

    def constant(self) -> str:
        return self.one(self.number, self.number, lambda: self.call("abs"), self.unknown).replace(
            "n", "n"
        )

    def update(self) -> str:
        parts = [self.word("UPDATE"), self.target(), self.word("SET"), "n", "=", self.expression()]
        if self.chance(0.3):
            parts += [",", "t", "=", self.textual()]
        if self.vendor == "postgresql" and self.chance(0.1):
            parts += [self.word("FROM"), "(SELECT 1 AS one) o"]
        if self.chance(0.5):
            parts += [self.word("WHERE"), self.condition()]
        return self.join(*parts)

    def delete(self) -> str:
        parts = [self.word("DELETE FROM"), self.target()]
        if self.chance(0.7):
            parts += [self.word("WHERE"), self.condition()]
        return self.join(*parts)

    def write(self) -> str:
        choices = [self.insert, self.update, self.update, self.delete]
        if self.vendor == "postgresql":
            choices += [
                lambda: self.join(self.word("TRUNCATE"), self.table()),
                lambda: self.join(
                    self.word("MERGE INTO"), self.table(), "m", self.word("USING"),
                    "(SELECT 1 AS one) s", self.word("ON"), "m.id = s.one",
                    self.word("WHEN MATCHED THEN UPDATE SET"), "n = 77",
                ),
            ]  # fmt: skip
        return self.one(*choices)

    # Statements

    def statement(self) -> str:
        choices = [
            *self.own(), self.select, self.write, self.write, self.with_, self.with_,
            lambda: self.join(self.word("VALUES"), "(", self.expression_of_constants(), ")"),
            lambda: self.join(self.word("SELECT"), self.expression_of_constants()),
        ]  # fmt: skip
        return self.one(*choices)

    def expression_of_constants(self) -> str:
        return self.one(self.number, self.unknown_of_constants, self.string)

    def unknown_of_constants(self) -> str:
        return f"{self.draw.choice(('fz_write', 'fz_read'))}({self.number()})"

    def with_(self) -> str:
        name = self.draw.choice(("c", "update_", "q"))
        inner = self.select(1)
        if self.vendor == "postgresql" and self.chance(0.4):
            inner = self.join(self.write_in_cte(), self.word("RETURNING 1"))
        columns = "" if self.chance(0.7) else "(one)"
        head = self.join(self.word("WITH"), name + columns, self.word("AS"), "(", inner, ")")
        body = self.select if self.vendor == "mysql" else lambda: self.one(self.select, self.write)
        return self.join(head, body())

    def write_in_cte(self) -> str:
        return self.one(self.update, self.delete)

    def own(self) -> list[Callable[[], str]]:
        """Return the statements that this vendor alone has."""
        if self.vendor == "postgresql":
            return [
                lambda: self.join(
                    self.word(self.draw.choice((
                        "EXPLAIN", "EXPLAIN ANALYZE", "EXPLAIN (ANALYZE, COSTS off)",
                        "EXPLAIN ( COSTS off , ANALYZE true )",
                    ))),
                    self.one(self.select, self.write, self.with_),
                ),
                lambda: self.join(self.word("CALL"), "fz_proc()"),
                lambda: self.join(self.word("DO"), "$d1$ BEGIN UPDATE fz_a SET n = 5; END $d1$"),
                lambda: self.join(self.word("EXECUTE"), "fz_st"),
                lambda: self.join(self.word("EXPLAIN ANALYZE EXECUTE"), "fz_st"),
                lambda: self.join(self.word("SET LOCAL"), "work_mem = '8MB';", self.statement()),
                lambda: self.join("(", self.select(), ")"),
                lambda: self.join(self.word("TABLE"), self.table()),
            ]  # fmt: skip
        if self.vendor == "mysql":
            return [
                lambda: self.join(
                    self.word(self.draw.choice((
                        "EXPLAIN", "ANALYZE", "ANALYZE FORMAT=JSON", "DESC", "DESCRIBE",
                        "EXPLAIN EXTENDED",
                    ))),
                    self.one(self.select, self.update, self.delete, self.insert),
                ),
                lambda: self.join(self.word("SET STATEMENT"), "max_statement_time=9",
                                  self.word("FOR"), self.one(self.select, self.write)),
                lambda: self.join(self.word("SET"), "@x", "=", self.expression_of_constants()),
                lambda: self.join(self.word("DO"), self.expression_of_constants()),
                lambda: self.join(self.word("CALL"), "fz_proc()"),
                lambda: self.join(self.word("EXECUTE IMMEDIATE"), "'UPDATE fz_a SET n = 5'"),
                lambda: self.join(self.word("BEGIN NOT ATOMIC"), self.update() + ";", "END"),
                lambda: "/*!50000 " + self.plain(self.update()) + " */",
                lambda: "/*M!100000 " + self.plain(self.delete()) + " */",
                lambda: self.join("/*!99999 GRANT */", self.update()),
            ]  # fmt: skip
        return [
            lambda: self.join(self.word("EXPLAIN QUERY PLAN"), self.one(self.select, self.write))
        ]

    def plain(self, text: str) -> str:
        return text if "/*" not in text and "*/" not in text else "UPDATE fz_a SET n = 6"

"""The single changes that can be made to a Python module.

Left alone are annotations, docstrings, imports, asserts, `__all__`, log lines and all sentences: a test that nails down
words hinders more than it helps.
"""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

from tests.mutants.change import Change

__all__ = ["python_changes"]

_COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: (r"is\s+not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: (r"not\s+in", ("in",)),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "+"),
    ast.Pow: (r"\*\*", "*"),
}
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}


def python_changes(path: Path, source: bytes) -> list[Change]:
    """Every single change of a module, in the order of the text. Each of them can still be parsed."""
    return sorted(_Changes(path, source).found, key=lambda change: (change.start, change.end, change.new))


class _Changes(ast.NodeVisitor):
    def __init__(self, path: Path, source: bytes) -> None:
        self.found: list[Change] = []
        self._path = path
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._function = ""
        self.visit(ast.parse(source))

    # Where things stand

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _change(self, start: int, end: int, new: str, words: str) -> None:
        line = self._source.count(b"\n", 0, start) + 1
        change = Change(path=self._path, start=start, end=end, new=new.encode(), line=line, words=words)
        try:
            ast.parse(change.apply(self._source))
        except SyntaxError:  # `x if 0else y`, a statement that was the last thing to hold an f-string together
            return
        self.found.append(change)

    def _replace(self, node: ast.expr | ast.stmt, new: str, words: str | None = None) -> None:
        start, end = self._span(node)
        self._change(start, end, new, words or f"{_shown(self._source[start:end])} became {new}")

    def _swap_between(self, left: ast.expr, right: ast.expr, token: str, new: str) -> None:
        """Change the operator between two operands: nothing else stands there but brackets, blanks and comments."""
        start, end = self._span(left)[1], self._span(right)[0]
        found = re.search(rb"(?m)(?:#.*$|[()\s])*(" + token.encode() + rb")", self._source[start:end])
        if found:
            said = _shown(self._source[self._span(left)[0] : self._span(right)[1]])
            self._change(start + found.start(1), start + found.end(1), new, f"{said}: {found[1].decode()} became {new}")

    # What is left alone

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer, self._function = self._function, node.name
        self._decorators(node)
        for default in (*node.args.defaults, *(one for one in node.args.kw_defaults if one)):
            self.visit(default)
        self._body(node.body)
        self._function = outer

    visit_FunctionDef = _visit_function  # noqa: N815
    visit_AsyncFunctionDef = _visit_function  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            return
        outer, self._function = self._function, ""
        self._decorators(node)
        self._body(node.body)
        self._function = outer

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_Assert(self, _node: ast.Assert) -> None:
        return

    def visit_Raise(self, node: ast.Raise) -> None:
        self._delete(node)

    def _body(self, body: list[ast.stmt]) -> None:
        for statement in body[1:] if _is_text(body[0]) else body:
            self.visit(statement)

    def _decorators(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        for one in node.decorator_list:
            start, end = self._span(one)
            self._change(start - 1, end, "", f"@{_shown(self._source[start:end])} of {node.name} left out")

    # Statements

    def _delete(self, node: ast.stmt) -> None:
        if self._function:
            start, end = self._span(node)
            self._replace(node, "pass", f"left out: {_shown(self._source[start:end])}")

    def visit_Expr(self, node: ast.Expr) -> None:
        if _is_text(node) or _is_log(node.value):
            return
        if not isinstance(node.value, ast.Yield):
            self._delete(node)
        self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            return
        if self._function != "__init__" and not all(isinstance(target, ast.Name) for target in node.targets):
            self._delete(node)  # a name that was never set fails at once, and so does an attribute without a beginning
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._delete(node)
        if type(node.op) in _ARITHMETIC:
            token, new = _ARITHMETIC[type(node.op)]
            self._swap_between(node.target, node.value, f"{token}(?==)", new)
        self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self._delete(node)
            return
        if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._replace(node.value, "None", f"return None instead of {ast.unparse(node.value)[:80]}")
        self.visit(node.value)

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break")

    def _negate_test(self, test: ast.expr) -> None:
        if isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
            return  # they have changes of their own
        start, end = self._span(test)
        self._replace(
            test,
            f"(not ({self._source[start:end].decode()}))",
            f"{_shown(self._source[start:end])} became its opposite",
        )

    def visit_If(self, node: ast.If) -> None:
        self._negate_test(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate_test(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate_test(node.test)
        self.generic_visit(node)

    # Expressions

    def visit_Call(self, node: ast.Call) -> None:
        if _is_log(node):
            return
        if isinstance(node.func, ast.Name) and node.func.id in _TWINS:
            self._replace(node.func, _TWINS[node.func.id], f"{node.func.id} became {_TWINS[node.func.id]}")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for (left, right), operator in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
            token, others = _COMPARISONS[type(operator)]
            for new in others:
                self._swap_between(left, right, token, new)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in _ARITHMETIC:
            token, new = _ARITHMETIC[type(node.op)]
            self._swap_between(node.left, node.right, token, new)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        token, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in pairwise(node.values):
            self._swap_between(left, right, token, new)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        start, _ = self._span(node)
        if isinstance(node.op, ast.Not):
            self._change(start, start + len("not"), "", f"{ast.unparse(node)[:80]}: without the not")
        elif isinstance(node.op, ast.USub):
            self._change(start, start + 1, "+", f"{ast.unparse(node)[:80]}: - became +")
        self.generic_visit(node)

    def visit_JoinedStr(self, _node: ast.JoinedStr) -> None:
        return  # words for a person, mostly; and Python 3.11 does not know where their parts stand

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value))
        elif isinstance(value, int):
            self._replace(node, str(value + 1))
            if value:
                self._replace(node, str(value - 1))
        elif isinstance(value, float):
            self._replace(node, repr(value * 2 + 1))
        elif isinstance(value, bytes) or (isinstance(value, str) and " " not in value):  # else it is a sentence
            empty = "b''" if isinstance(value, bytes) else "''"
            self._replace(node, empty if value else empty.replace("''", "'x'"))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_log(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log.")


def _shown(source: bytes) -> str:
    """One line for a person."""
    text = " ".join(source.decode().split())
    return text if len(text) <= 80 else text[:79] + "…"

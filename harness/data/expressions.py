"""Labels and weights computed from features: `tips > 0.2 * fare`. Parsed by Python's grammar, never run as Python.

What the grammar allows is listed here; everything else is refused. Numbers are int64 or float64; a comparison is 0 or 1.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import Any

from harness.errors import JobError, nearest

__all__ = ["evaluate", "names", "parse"]

LONGEST = 1000  # characters
DEEPEST = 50
FUNCTIONS = ("abs", "exp", "float", "int", "isnan", "log", "max", "min", "sqrt")


def parse(text: str, what: str) -> ast.expr:
    """Parse an expression.

    Args:
      text: as the job has it.
      what: the key of the job, for messages.
    Raises: JobError: it is no expression, or has parts that are not allowed.

    >>> sorted(names(parse("tips > 0.2 * fare", "label")))
    ['fare', 'tips']
    """
    if len(text) > LONGEST:
        raise JobError(f"{what}: expected an expression of at most {LONGEST} characters, found {len(text)}")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise JobError(f"{what}: '{text}' is neither a feature nor an expression: {exc}") from exc
    _check(tree, what, 0)
    return tree


def names(tree: ast.expr) -> set[str]:
    """Return the features that an expression reads."""
    features = set()
    for node in ast.walk(tree):
        if _is_feature_call(node):
            features.add(node.args[0].value)  # type: ignore[attr-defined]
        elif isinstance(node, ast.Name) and node.id not in (*FUNCTIONS, "feature"):
            features.add(node.id)
    return features


def _is_feature_call(node: ast.AST) -> bool:
    """Say whether a node is feature("name"): for names that are no words of Python's."""
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "feature" and len(node.args) == 1
        and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str) and not node.keywords
    )  # fmt: skip


def _check(node: ast.AST, what: str, depth: int) -> None:
    if depth > DEEPEST:
        raise JobError(f"{what}: the expression is nested more than {DEEPEST} deep")
    children = _children(node)
    if children is None:
        shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        raise JobError(
            f"{what}: '{shown}' is not allowed in an expression; expected features, numbers, strings, + - * / // % **, "
            f"comparisons, in (...), and or not, A if TEST else B, feature('name'), {', '.join(FUNCTIONS)}"
        )
    for child in children:
        _check(child, what, depth + 1)


def _children(node: ast.AST) -> list[ast.AST] | None:
    """Return the expressions that a node is made of; None where such a node is not allowed."""
    match node:
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.FloorDiv() | ast.Mod() | ast.Pow()):
            return [node.left, node.right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
            return [node.operand]
        case ast.BoolOp():
            return list(node.values)
        case ast.Compare():
            return _compared(node)
        case ast.IfExp():
            return [node.test, node.body, node.orelse]
        case ast.Call() if _is_feature_call(node):
            return []
        case ast.Call(func=ast.Name(id=name)):
            counts = (2,) if name in ("min", "max") else (1,)
            return list(node.args) if name in FUNCTIONS and len(node.args) in counts and not node.keywords else None
        case ast.Constant(value=value):
            return [] if isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) < 2**63) else None
        case ast.Name():
            return []
    return None


def _compared(node: ast.Compare) -> list[ast.AST] | None:
    """Return what is compared: with `in` a value and the members of one list; None where that is not allowed."""
    if any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
        return None
    if not any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
        return [node.left, *node.comparators]
    members = node.comparators[0]
    if len(node.ops) > 1 or not isinstance(members, ast.Tuple | ast.List) or not members.elts:
        return None
    return [node.left, *members.elts]


def evaluate(tree: ast.expr, features: Mapping[str, Any], what: str) -> Any:
    """Build an expression into the graph.

    Args:
      tree: as `parse` returns it.
      features: one number or string per example, [B].
      what: the key of the job, for messages.
    Returns: int64 or float64 [B], or string [B].
    Raises: JobError: a feature is missing, or is no number where one is needed.
    """
    import tensorflow as tf

    for name in names(tree):
        if name not in features:
            raise JobError(f"{what}: the data has no feature '{name}': {nearest(name, features)}")
        if features[name].shape.rank != 1:
            raise JobError(f"{what}: feature '{name}' has shape {list(features[name].shape[1:])}, expected one value per example")
    try:
        # AutoGraph converts what a pipeline calls, and warns of code that it cannot: there is nothing to convert here.
        value = tf.autograph.experimental.do_not_convert(_Builder(features, what).build)(tree)
        if value.dtype == tf.bool:
            value = tf.cast(value, tf.int64)
        if not value.shape.rank:  # a constant: a value for each example
            like = next(iter(features.values()))
            value = tf.fill(tf.shape(like)[:1], value)
        return value
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as exc:
        raise JobError(f"{what}: '{ast.unparse(tree)}' cannot be computed: {' '.join(str(exc).split())[:200]}") from exc


class _Builder:
    """Builds the parts of an expression into the graph.

    Args:
      features: one number or string per example, [B].
      what: the key of the job, for messages.
    """

    def __init__(self, features: Mapping[str, Any], what: str) -> None:
        self._features, self._what = features, what

    def build(self, node: ast.AST) -> Any:
        """Return the tensor of a part: bool, int64, float64 or string [B], or a single value."""
        import tensorflow as tf

        match node:
            case ast.Name(id=name):
                return _plain(self._features[name])
            case ast.Constant(value=value):
                return _constant(value)  # type: ignore[arg-type]
            case ast.BoolOp():
                combine = tf.logical_and if isinstance(node.op, ast.And) else tf.logical_or
                return functools.reduce(combine, [_truth(self.build(operand)) for operand in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return tf.logical_not(_truth(self.build(node.operand)))
            case ast.UnaryOp():
                value = self._number(node.operand)
                return -value if isinstance(node.op, ast.USub) else value
            case ast.IfExp():
                a, b = self._alike(self.build(node.body), self.build(node.orelse), node)
                return tf.where(_truth(self.build(node.test)), a, b)
            case ast.Compare():
                return self._compare(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.Call():
                return self._call(node)
        raise AssertionError(ast.dump(node))  # _check lets nothing else through

    def _number(self, node: ast.AST) -> Any:
        import tensorflow as tf

        tensor = self.build(node)
        if tensor.dtype == tf.string:
            raise JobError(f"{self._what}: '{ast.unparse(node)}' is a string, expected a number")
        return tf.cast(tensor, tf.int64) if tensor.dtype == tf.bool else tensor

    def _real(self, node: ast.AST) -> Any:
        import tensorflow as tf

        return tf.cast(self._number(node), tf.float64)

    def _alike(self, a: Any, b: Any, node: ast.AST) -> tuple[Any, Any]:
        """Bring two values to one dtype: an integer beside a float becomes a float."""
        import tensorflow as tf

        if a.dtype == b.dtype and a.dtype != tf.bool:
            return a, b
        if tf.string in (a.dtype, b.dtype):
            raise JobError(f"{self._what}: '{ast.unparse(node)}' has a string beside a number")
        dtype = tf.float64 if tf.float64 in (a.dtype, b.dtype) else tf.int64
        return tf.cast(a, dtype), tf.cast(b, dtype)

    def _binary(self, node: ast.BinOp) -> Any:
        import tensorflow as tf

        of_one_dtype = {ast.Add: tf.add, ast.Sub: tf.subtract, ast.Mult: tf.multiply}  # integers stay integers
        if type(node.op) in of_one_dtype:
            a, b = self._alike(self._number(node.left), self._number(node.right), node)
            return of_one_dtype[type(node.op)](a, b)
        a, b = self._real(node.left), self._real(node.right)
        if isinstance(node.op, ast.FloorDiv):
            return tf.floor(a / b)
        return {ast.Div: tf.divide, ast.Mod: tf.math.floormod, ast.Pow: tf.pow}[type(node.op)](a, b)

    def _call(self, node: ast.Call) -> Any:
        import tensorflow as tf

        if _is_feature_call(node):
            return _plain(self._features[node.args[0].value])  # type: ignore[attr-defined]
        name: str = node.func.id  # type: ignore[attr-defined]
        if name in ("min", "max"):
            left, right = (self._number(argument) for argument in node.args)
            a, b = self._alike(left, right, node)
            return tf.minimum(a, b) if name == "min" else tf.maximum(a, b)
        (argument,) = node.args
        if name in ("int", "float"):
            return tf.cast(self._number(argument), tf.int64 if name == "int" else tf.float64)
        if name == "abs":
            return tf.abs(self._number(argument))
        return {"exp": tf.exp, "log": tf.math.log, "sqrt": tf.sqrt, "isnan": tf.math.is_nan}[name](self._real(argument))

    def _compare(self, node: ast.Compare) -> Any:
        import tensorflow as tf

        if isinstance(node.ops[0], ast.In | ast.NotIn):
            value = self.build(node.left)
            is_member = tf.zeros_like(value, tf.bool)
            for member in node.comparators[0].elts:  # type: ignore[attr-defined]
                is_member = tf.logical_or(is_member, tf.equal(*self._alike(value, self.build(member), node)))
            return is_member if isinstance(node.ops[0], ast.In) else tf.logical_not(is_member)
        operations = {
            ast.Lt: tf.less, ast.LtE: tf.less_equal, ast.Gt: tf.greater, ast.GtE: tf.greater_equal,
            ast.Eq: tf.equal, ast.NotEq: tf.not_equal,
        }  # fmt: skip
        values = [self.build(operand) for operand in (node.left, *node.comparators)]
        comparisons = [
            operations[type(op)](*self._alike(left, right, node))
            for op, left, right in zip(node.ops, values[:-1], values[1:], strict=True)
        ]
        return functools.reduce(tf.logical_and, comparisons)


def _constant(value: bool | int | float | str) -> Any:
    import tensorflow as tf

    if isinstance(value, str):
        return tf.constant(value.encode())
    return tf.constant(value, tf.bool if isinstance(value, bool) else tf.int64 if isinstance(value, int) else tf.float64)


def _plain(tensor: Any) -> Any:
    import tensorflow as tf

    from harness.exact.tf_subnormals import widened

    if tensor.dtype in (tf.string, tf.bool):
        return tensor
    return widened(tensor) if tensor.dtype.is_floating else tf.cast(tensor, tf.int64)


def _truth(tensor: Any) -> Any:
    import tensorflow as tf

    from harness.exact.tf_subnormals import ordered

    return tensor if tensor.dtype == tf.bool else tf.not_equal(ordered(tensor), 0)

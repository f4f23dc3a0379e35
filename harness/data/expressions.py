"""Labels and weights computed from features: `tips > 0.2 * fare`. Parsed by Python's grammar, never run as Python.

What the grammar allows is listed here; everything else is refused. Numbers are int64 or float64; a comparison is 0 or 1.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
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
    found = set()
    for node in ast.walk(tree):
        if _is_feature_call(node):
            found.add(node.args[0].value)  # type: ignore[attr-defined]
        elif isinstance(node, ast.Name) and node.id not in (*FUNCTIONS, "feature"):
            found.add(node.id)
    return found


def _is_feature_call(node: ast.AST) -> bool:
    """Say whether a node is feature("name"): for names that are no words of Python's."""
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "feature" and len(node.args) == 1
        and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str) and not node.keywords
    )  # fmt: skip


def _check(node: ast.AST, what: str, depth: int) -> None:
    if depth > DEEPEST:
        raise JobError(f"{what}: the expression is nested more than {DEEPEST} deep")
    allowed: bool
    children: list[ast.AST]
    match node:
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.FloorDiv() | ast.Mod() | ast.Pow()):
            allowed, children = True, [node.left, node.right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
            allowed, children = True, [node.operand]
        case ast.BoolOp():
            allowed, children = True, list(node.values)
        case ast.Compare():
            inside = any(isinstance(op, ast.In | ast.NotIn) for op in node.ops)
            allowed = all(not isinstance(op, ast.Is | ast.IsNot) for op in node.ops) and (not inside or len(node.ops) == 1)
            children = [node.left, *node.comparators]
            if inside:
                listed = node.comparators[0]
                allowed = allowed and isinstance(listed, ast.Tuple | ast.List) and bool(listed.elts)
                children = [node.left, *getattr(listed, "elts", [])]
        case ast.IfExp():
            allowed, children = True, [node.test, node.body, node.orelse]
        case ast.Call() if _is_feature_call(node):
            allowed, children = True, []
        case ast.Call(func=ast.Name(id=name)):
            counts = (2,) if name in ("min", "max") else (1,)
            allowed, children = name in FUNCTIONS and len(node.args) in counts and not node.keywords, list(node.args)
        case ast.Constant(value=value):
            allowed = isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) < 2**63)
            children = []
        case ast.Name():
            allowed, children = True, []
        case _:
            allowed, children = False, []
    if not allowed:
        shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        raise JobError(
            f"{what}: '{shown}' is not allowed in an expression; expected features, numbers, strings, + - * / // % **, "
            f"comparisons, in (...), and or not, A if TEST else B, feature('name'), {', '.join(FUNCTIONS)}"
        )
    for child in children:
        _check(child, what, depth + 1)


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
        found = _build(tree, features, what)
        if found.dtype == tf.bool:
            found = tf.cast(found, tf.int64)
        if not found.shape.rank:  # a constant: a value for each example
            like = next(iter(features.values()))
            found = tf.fill(tf.shape(like)[:1], found)
        return found
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as exc:
        raise JobError(f"{what}: '{ast.unparse(tree)}' cannot be computed: {' '.join(str(exc).split())[:200]}") from exc


def _build(node: ast.AST, features: Mapping[str, Any], what: str) -> Any:
    import tensorflow as tf

    def build(inner: ast.AST) -> Any:
        return _build(inner, features, what)

    def real(inner: ast.AST) -> Any:
        return tf.cast(_number(build(inner), inner, what), tf.float64)

    match node:
        case ast.Name(id=name):
            return _plain(features[name])
        case ast.Constant(value=value):
            if isinstance(value, str):
                return tf.constant(value.encode())
            return tf.constant(value, tf.bool if isinstance(value, bool) else tf.int64 if isinstance(value, int) else tf.float64)
        case ast.Call() if _is_feature_call(node):
            return _plain(features[node.args[0].value])  # type: ignore[attr-defined]
        case ast.BoolOp():
            combine = tf.logical_and if isinstance(node.op, ast.And) else tf.logical_or
            found = _truth(build(node.values[0]))
            for inner in node.values[1:]:
                found = combine(found, _truth(build(inner)))
            return found
        case ast.UnaryOp(op=ast.Not()):
            return tf.logical_not(_truth(build(node.operand)))
        case ast.UnaryOp():
            value = _number(build(node.operand), node.operand, what)
            return -value if isinstance(node.op, ast.USub) else value
        case ast.IfExp():
            a, b = _alike(build(node.body), build(node.orelse), node, what)
            return tf.where(_truth(build(node.test)), a, b)
        case ast.Compare():
            return _compare(node, build, what)
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult()):
            a, b = _alike(_number(build(node.left), node.left, what), _number(build(node.right), node.right, what), node, what)
            return {ast.Add: tf.add, ast.Sub: tf.subtract, ast.Mult: tf.multiply}[type(node.op)](a, b)
        case ast.BinOp():
            a, b = real(node.left), real(node.right)
            if isinstance(node.op, ast.FloorDiv):
                return tf.floor(a / b)
            return {ast.Div: tf.divide, ast.Mod: tf.math.floormod, ast.Pow: tf.pow}[type(node.op)](a, b)
        case ast.Call(func=ast.Name(id="min" | "max" as name)):
            left, right = (_number(build(arg), arg, what) for arg in node.args)
            a, b = _alike(left, right, node, what)
            return tf.minimum(a, b) if name == "min" else tf.maximum(a, b)
        case ast.Call(func=ast.Name(id=name)):
            if name in ("int", "float"):
                return tf.cast(_number(build(node.args[0]), node.args[0], what), tf.int64 if name == "int" else tf.float64)
            if name == "abs":
                return tf.abs(_number(build(node.args[0]), node.args[0], what))
            functions = {"exp": tf.exp, "log": tf.math.log, "sqrt": tf.sqrt, "isnan": tf.math.is_nan}
            return functions[name](real(node.args[0]))
    raise AssertionError(ast.dump(node))  # _check lets nothing else through


def _compare(node: ast.Compare, build: Callable[[ast.AST], Any], what: str) -> Any:
    import tensorflow as tf

    if isinstance(node.ops[0], ast.In | ast.NotIn):
        value = build(node.left)
        found = tf.zeros_like(value, tf.bool)
        for one in node.comparators[0].elts:  # type: ignore[attr-defined]
            found = tf.logical_or(found, tf.equal(*_alike(value, build(one), node, what)))
        return found if isinstance(node.ops[0], ast.In) else tf.logical_not(found)
    operations = {
        ast.Lt: tf.less, ast.LtE: tf.less_equal, ast.Gt: tf.greater, ast.GtE: tf.greater_equal,
        ast.Eq: tf.equal, ast.NotEq: tf.not_equal,
    }  # fmt: skip
    values = [build(inner) for inner in (node.left, *node.comparators)]
    found = None
    for op, left, right in zip(node.ops, values[:-1], values[1:], strict=True):
        a, b = _alike(left, right, node, what)
        one = operations[type(op)](a, b)
        found = one if found is None else tf.logical_and(found, one)
    return found


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


def _number(tensor: Any, node: ast.AST, what: str) -> Any:
    import tensorflow as tf

    if tensor.dtype == tf.string:
        raise JobError(f"{what}: '{ast.unparse(node)}' is a string, expected a number")
    return tf.cast(tensor, tf.int64) if tensor.dtype == tf.bool else tensor


def _alike(a: Any, b: Any, node: ast.AST, what: str) -> tuple[Any, Any]:
    """Bring two values to one dtype: an integer beside a float becomes a float."""
    import tensorflow as tf

    if a.dtype == b.dtype and a.dtype != tf.bool:
        return a, b
    if tf.string in (a.dtype, b.dtype):
        raise JobError(f"{what}: '{ast.unparse(node)}' has a string beside a number")
    dtype = tf.float64 if tf.float64 in (a.dtype, b.dtype) else tf.int64
    return tf.cast(a, dtype), tf.cast(b, dtype)

"""Whether the two sides of a check are two ways of computing, read off the code.

Code is followed from top to bottom, without running it; what each name stands for is
led back to the calls that made it. Every expression gets a number, the same for the
same calls of the same values in any order of terms and factors, so two sides with one
number are one way. Functions that end in their first `return` are seen through; what
loops do is taken for what they do once.
"""

import ast
import dataclasses

# What gives back the value that it is given, or the same for our purpose.
WRAPPERS = {"float", "list", "tuple", "np.array", "np.asarray", "sympy.simplify"}
WRAPPERS |= {"ops.convert_to_numpy"}
REPEATERS = {"np.full", "np.stack", "np.repeat", "np.broadcast_to", "np.ones"}
DEPTH = 8  # of calls within calls


@dataclasses.dataclass
class Check:
    """A call of `check`, and whether its sides are one way of computing."""

    number: str
    statement: str
    one_way: bool


def read_checks(cells):
    """Return the checks in cells of code, in the order in which they run."""
    reader = _Reader()
    for cell in cells:
        reader.run(ast.parse(cell).body)
    return reader.checks


class _Reader:
    def __init__(self):
        self.nodes, self.numbers = [], {}
        self.names, self.functions, self.checks = {}, {}, []
        self.depth = 0

    def same(self, left, right):
        """Whether two sides are one, or one is made of nothing but the other."""
        return (
            left == right
            or self._is_made_of(left, right)
            or self._is_made_of(right, left)
        )

    def _is_made_of(self, side, other):
        """Whether a side is `other`, or numbers and parts of it, rearranged."""
        if side == other:
            return True
        kind, *parts = self.nodes[side]
        if kind in ("sum", "product"):
            inner = [part for _, part in parts]
        elif kind in ("List", "Pow", "Repeated"):
            inner = parts
        elif kind == "Subscript":
            inner = parts[:1]
        else:
            return False
        inner = [part for part in inner if self.nodes[part][0] != "Constant"]
        return bool(inner) and all(self._is_made_of(part, other) for part in inner)

    def number(self, *node):
        if node not in self.numbers:
            self.numbers[node] = len(self.nodes)
            self.nodes.append(node)
        return self.numbers[node]

    # Statements change what names stand for.

    def run(self, statements):
        for statement in statements:
            self.step(statement)

    def step(self, statement):
        match statement:
            case ast.Assign(targets=targets, value=value):
                number = self.value(value)
                for target in targets:
                    self.bind(target, number)
            case ast.AugAssign(target=target, op=op, value=value):
                old = ast.parse(ast.unparse(target), mode="eval").body
                self.bind(target, self.value(ast.BinOp(old, op, value)))
            case ast.FunctionDef(name=name, args=args, body=body):
                self.names[name] = self.function(args, body)
            case ast.ClassDef(name=name):
                self.names[name] = self.number("class", ast.dump(statement))
            case ast.Expr(value=ast.Call() as call):
                self.call(call)
            case ast.For(target=target, iter=iterated, body=body):
                self.bind(target, self.number("each", self.value(iterated)))
                self.run(body)
            case _:
                for block in ("body", "orelse", "finalbody"):
                    self.run(getattr(statement, block, []))

    def call(self, call):
        match call:
            case ast.Call(
                func=ast.Name(id="check"), args=[number, text, left, right, *_]
            ):
                number, text = self.text(number), self.text(text)
                same = self.same(self.value(left), self.value(right))
                self.checks.append(Check(number, text, same))
                return
        function = self.functions.get(self.value(call.func))
        bound = function and self.arguments(function[0], call)
        if bound and _checks(function[1]):
            before, self.names = self.names, self.names | bound
            self.run(function[1])
            self.names = before
            return
        self.change(call.func, self.value(call))

    def text(self, expression):
        node = self.nodes[self.value(expression)]
        if node[0] == "Constant":
            return ast.literal_eval(node[1])
        return ast.unparse(expression)

    def bind(self, target, number):
        match target:
            case ast.Name(id=name):
                self.names[name] = number
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                starred = any(isinstance(t, ast.Starred) for t in targets)
                for i, part in enumerate(targets):
                    if starred:
                        part = getattr(part, "value", part)
                        self.bind(part, self.number("unpacked", number, i))
                    else:
                        place = self.number("Constant", repr(i))
                        self.bind(part, self.item(number, place))
            case _:
                self.change(target, self.number("put", ast.unparse(target), number))

    def change(self, place, number):
        """Give a new number to what has an attribute or an entry at `place`."""
        root = place
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        if root is not place and isinstance(root, ast.Name) and root.id in self.names:
            self.names[root.id] = self.number("changed", self.names[root.id], number)

    # Expressions have numbers.

    def value(self, expression):
        match expression:
            case ast.Name(id=name):
                known = self.names.get(name)
                return self.number("Name", name) if known is None else known
            case ast.Constant(value=value):
                return self.number("Constant", repr(value))
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return self.number("List", *map(self.value, parts))
            case ast.Subscript(value=value, slice=place):
                return self.item(self.value(value), self.value(place))
            case ast.NamedExpr(target=target, value=value):
                self.bind(target, number := self.value(value))
                return number
            case ast.UnaryOp(op=ast.USub(), operand=value):
                return self.sum(self.terms(value, -1))
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                sign = 1 if isinstance(op, ast.Add) else -1
                return self.sum(self.terms(left) + self.terms(right, sign))
            case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as op, right=right):
                return self.product(left, right, 1 if isinstance(op, ast.Mult) else -1)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self.number("Pow", self.value(left), self.value(right))
            case ast.Call():
                return self.called(expression)
            case ast.Lambda(args=args, body=body):
                return self.function(args, [ast.Return(body)])
            case (
                ast.ListComp(elt=elt, generators=generators)
                | ast.SetComp(elt=elt, generators=generators)
                | ast.GeneratorExp(elt=elt, generators=generators)
            ):
                return self.comprehension([elt], generators)
            case ast.DictComp(key=key, value=value, generators=generators):
                return self.comprehension([key, value], generators)
        parts = []
        for field, value in ast.iter_fields(expression):
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, ast.expr):
                    parts.append(self.value(part))
                elif field != "ctx":
                    parts.append(
                        ast.dump(part) if isinstance(part, ast.AST) else repr(part)
                    )
        return self.number(type(expression).__name__, *parts)

    def item(self, number, place):
        kind, *parts = self.nodes[number]
        index = self.nodes[place]
        if kind == "List" and index[0] == "Constant":
            try:
                return parts[ast.literal_eval(index[1])]
            except (IndexError, TypeError):
                pass
        return self.number("Subscript", number, place)

    def terms(self, expression, sign=1):
        number = self.value(expression)
        kind, *parts = self.nodes[number]
        if kind == "sum":
            return [(sign * other, part) for other, part in parts]
        return [(sign, number)]

    def sum(self, terms):
        match terms:
            case [(1, number)]:
                return number
        return self.number("sum", *sorted(terms))

    def product(self, left, right, power):
        signs, factors = 1, []
        for expression, turn in ((left, 1), (right, power)):
            number = self.value(expression)
            kind, *parts = self.nodes[number]
            if kind == "sum" and len(parts) == 1:  # the negative of one term
                signs, number = -signs, parts[0][1]
                kind, *parts = self.nodes[number]
            parts = parts if kind == "product" else [(1, number)]
            factors += [(turn * other, part) for other, part in parts]
        return self.sum([(signs, self.number("product", *sorted(factors)))])

    def comprehension(self, results, generators):
        before, self.names = self.names, dict(self.names)
        parts = []
        for generator in generators:
            parts.append(self.value(generator.iter))
            self.bind(generator.target, self.number("each", parts[-1]))
            parts += map(self.value, generator.ifs)
        parts += map(self.value, results)
        self.names = before
        return self.number("each of", *parts)

    # Functions are known by what they do, not by their names.

    def function(self, args, body):
        code = ast.dump(args) + "".join(map(ast.dump, body))
        used = {
            n.id for part in body for n in ast.walk(part) if isinstance(n, ast.Name)
        }
        world = sorted((name, self.names[name]) for name in used & set(self.names))
        number = self.number("function", code, *world)
        self.functions[number] = args, body
        return number

    def called(self, call):
        name, function = ast.unparse(call.func), self.value(call.func)
        if name in WRAPPERS and len(call.args) == 1:
            return self.value(call.args[0])
        if function in self.functions:
            result = self.seen_through(function, call)
            if result is not None:
                return result
        arguments = [self.value(argument) for argument in call.args]
        named = sorted((k.arg or "**", self.value(k.value)) for k in call.keywords)
        if name in REPEATERS and not named:
            return self.number("Repeated", *arguments)
        result = self.number("call", function, *arguments, *named)
        if self._draws(call.func):
            self.change(call.func, result)  # the next draw is another
        return result

    def _draws(self, function):
        """Whether a function is a method of a generator of random numbers."""
        if not isinstance(function, ast.Attribute):
            return False
        node = self.nodes[self.value(function.value)]
        while node[0] == "changed":
            node = self.nodes[node[1]]
        maker = self.nodes[node[1]] if node[0] == "call" else ()
        return "'default_rng'" in maker

    def seen_through(self, number, call):
        """Return what a function returns, if it is assignments and one return."""
        args, body = self.functions[number]
        body = [part for part in body if not _is_text(part)]
        *steps, last = body
        plain = isinstance(last, ast.Return) and last.value is not None
        plain &= all(isinstance(step, (ast.Assign, ast.AugAssign)) for step in steps)
        bound = self.arguments(args, call) if plain and self.depth < DEPTH else None
        if bound is None:
            return None
        before, self.names = self.names, self.names | bound
        self.depth += 1
        self.run(steps)
        result = self.value(last.value)
        self.names, self.depth = before, self.depth - 1
        return result

    def arguments(self, args, call):
        """Return what the parameters stand for in a call, or None."""
        names = [arg.arg for arg in args.posonlyargs + args.args]
        only = [arg.arg for arg in args.kwonlyargs]
        spread = any(isinstance(argument, ast.Starred) for argument in call.args)
        spread |= any(keyword.arg is None for keyword in call.keywords)
        if spread or args.vararg or args.kwarg or len(call.args) > len(names):
            return None
        start = len(names) - len(args.defaults)
        given = dict(zip(names[start:], args.defaults, strict=True))
        given |= dict(zip(only, args.kw_defaults, strict=True))
        given |= dict(zip(names, call.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in call.keywords}
        bound = {name: self.value(value) for name, value in given.items() if value}
        return bound if set(bound) == {*names, *only} else None


def _checks(body):
    calls = (node for part in body for node in ast.walk(part))
    return any(
        isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check"
        for node in calls
    )


def _is_text(statement):
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)

"""From the tree of words to a typed plan. Everything that can be wrong with a query is found here, before anything runs.

Knows the operators and a bundle's vocabulary; knows no user and no row.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from retrieval_svc.igql import operators
from retrieval_svc.igql.arguments import COUNT, WEIGHT
from retrieval_svc.igql.binding import bind, read
from retrieval_svc.igql.errors import IgqlError, Position, suggestion
from retrieval_svc.igql.operator import OPERATORS, Operator, parameters
from retrieval_svc.igql.operators.eligible import Eligible
from retrieval_svc.igql.operators.naming import COLUMNS, Bind, Let
from retrieval_svc.igql.operators.people import Author
from retrieval_svc.igql.operators.shaping import AUTHOR_COLUMN, TOPIC_COLUMN, DiversifyBy, Filter, Limit
from retrieval_svc.igql.paths import named_sources
from retrieval_svc.igql.plan import Fallback, Mix, Plan, Step, Steps, Union
from retrieval_svc.igql.stages import Stage
from retrieval_svc.igql.syntax import Argument, Call, Definition, Number, Pipeline, Text, parse
from retrieval_svc.igql.vocabulary import Vocabulary

assert operators  # importing the package declares the operators

USER, RESULT = "user", "main"
COMBINATIONS = ("mix", "union", "fallback")
MAX_CALLS = 1_000  # after sub-queries are put where they are named
MAX_DEPTH = 100  # steps one after the other
MAX_NESTING = 40
MAX_SOURCES = 255  # a candidate carries its source in one byte
_STAGE_TEXT = {
    Stage.USER: "the user",
    Stage.ACTIONS: "actions (media that the user acted on)",
    Stage.ACCOUNTS: "accounts",
    Stage.MEDIA: "media",
}


def compile_query(text: str, vocabulary: Vocabulary | None = None, name: str = "query") -> Plan:
    """The plan of a program. Raises IgqlError, which shows place, line and caret; `name` is the file's."""
    try:
        return _Checker(parse(text), vocabulary or Vocabulary()).plan()
    except IgqlError as error:
        raise error.shown_in(name, text) from None


@dataclass(frozen=True)
class _Rows:
    """What a part of a query gives: its last step (none for the user), and what is known about its rows."""

    step: Step | None
    stage: Stage
    names: frozenset[str] = frozenset()  # columns named by let
    waiting: tuple[Bind, ...] = ()  # columns named on the user, to be taken from the first rows
    endless: str = ""  # the operator that makes it so


class _Checker:
    """Builds the plan of one program."""

    def __init__(self, definitions: tuple[Definition, ...], vocabulary: Vocabulary) -> None:
        self._definitions, self._vocabulary = definitions, vocabulary
        self._known: dict[str, Pipeline] = {}
        self._used: set[str] = set()
        self._steps, self._calls, self._nesting = Steps(), 0, 0
        self._source_names: list[str] = []

    def plan(self) -> Plan:
        result: Definition | None = None
        for definition in self._definitions:
            if result is not None:
                raise IgqlError(
                    "stands behind the result",
                    definition.at,
                    "the expression without a name is the last one of a program",
                )
            if definition.name is None:
                result = definition
            else:
                self._define(definition.name, definition)
        if result is None:
            last = self._definitions[-1] if self._definitions else None
            hint = (
                f"end the program with what it returns, for example: {last.name}" if last else "see `explore igql ops`"
            )
            at = last.at if last else Position(1, 1)
            raise IgqlError("has no result", at, hint)
        rows = self._operand(result.pipeline, RESULT)
        if rows.step is None or rows.stage is not Stage.MEDIA:
            problem = f"the result must be media, but this gives {_STAGE_TEXT[rows.stage]}"
            raise IgqlError(problem, result.at, f"operators that find media: {_giving(Stage.MEDIA)}")
        unused = tuple(name for name in self._known if name not in self._used)
        return Plan(rows.step, named_sources(rows.step, self._source_names), unused)

    def _define(self, name: str, definition: Definition) -> None:
        if name in self._known:
            raise IgqlError(f"{name!r} is defined twice", definition.at)
        if name == USER or name in COMBINATIONS:
            raise IgqlError(f"{name!r} is a word of the language", definition.at, "choose another name")
        names, steps, calls = list(self._source_names), self._steps, self._calls
        self._steps, self._calls = Steps(), 0  # built once to find what is wrong with it, even if nothing refers to it
        self._pipeline(definition.pipeline, name)
        self._source_names, self._steps, self._calls = names, steps, calls
        for call in (definition.pipeline.head, *definition.pipeline.calls):
            self._count(call)
        self._known[name] = definition.pipeline

    def _pipeline(self, pipeline: Pipeline, source: str) -> _Rows:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise IgqlError(f"sub-queries are nested more than {MAX_NESTING} deep", pipeline.at)
        rows = self._head(pipeline.head, source)
        for place, call in enumerate(pipeline.calls):
            self._count(call)
            rows = self._call(call, rows, source, pipeline, place)
            if rows.step is not None and rows.step.depth > MAX_DEPTH:
                raise IgqlError(f"more than {MAX_DEPTH} steps one after the other", call.at)
        self._nesting -= 1
        return rows

    def _count(self, call: Call) -> None:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise IgqlError(f"the program is longer than {MAX_CALLS:,} calls", call.at)

    def _head(self, head: Call, source: str) -> _Rows:
        self._count(head)
        if head.name in COMBINATIONS:
            return self._combination(head, source)
        if head.arguments is not None:
            if head.name == USER or head.name in self._known:
                raise IgqlError(f"{head.name!r} takes no arguments", head.at, f"write {head.name} without parentheses")
            if head.name in OPERATORS:
                raise IgqlError(f"{head.name!r} needs something before it", head.at, f"user.{head.name}(...)?")
            raise IgqlError(
                f"unknown combination {head.name!r}", head.at, suggestion(head.name, COMBINATIONS, "combinations")
            )
        if head.name == USER:
            return _Rows(None, Stage.USER)
        return self._pipeline(self._sub_query(head), source)

    def _sub_query(self, head: Call) -> Pipeline:
        if head.name not in self._known:
            later = any(definition.name == head.name for definition in self._definitions)
            if later:
                raise IgqlError(f"{head.name!r} is defined further down", head.at, "define it before it is used")
            known = [USER, *self._known]
            raise IgqlError(f"unknown sub-query {head.name!r}", head.at, suggestion(head.name, known, "known here"))
        self._used.add(head.name)
        return self._known[head.name]

    # -- operators -----------------------------------------------------------------------------------------------------------

    def _call(self, call: Call, rows: _Rows, source: str, pipeline: Pipeline, place: int) -> _Rows:
        found = OPERATORS.get(call.name)
        if found is None:
            if call.name in COMBINATIONS:
                operands = "a=0.7, b=0.3" if call.name == "mix" else "a, b, ..."
                raise IgqlError(f"{call.name!r} stands at the beginning", call.at, f"{call.name}({operands})")
            raise IgqlError(f"unknown operator {call.name!r}", call.at, suggestion(call.name, OPERATORS, "operators"))
        if Let in found:
            return self._let(call, rows)
        rows = self._as_accounts(found, rows)
        chosen = next((each for each in found if rows.stage in each.takes), None)
        if chosen is None:
            wants = sorted({_STAGE_TEXT[stage] for each in found for stage in each.takes})
            before = pipeline.calls[place - 1].name if place else pipeline.head.name
            problem = f"{call.name!r} takes {' or '.join(wants)}, but {before!r} gives {_STAGE_TEXT[rows.stage]}"
            raise IgqlError(problem, call.at, f"operators that take {_STAGE_TEXT[rows.stage]}: {_taking(rows.stage)}")
        made = bind(chosen, call, self._vocabulary)
        self._check_columns(made, call, rows)
        if made.needs_all and rows.endless:
            problem = f"{call.name!r} needs the whole list, and that of {rows.endless!r} never ends"
            raise IgqlError(problem, call.at, f"put limit(1000) before it: .limit(1000).{call.name}(...)")
        return self._append(rows, made, call, source)

    def _as_accounts(self, found: tuple[type[Operator], ...], rows: _Rows) -> _Rows:
        """Actions stand for their authors where accounts are wanted: `liked().account_nn()`."""
        takes = {stage for each in found for stage in each.takes}
        if rows.stage is Stage.ACTIONS and Stage.ACTIONS not in takes and Stage.ACCOUNTS in takes:
            assert rows.step is not None  # only the user has none
            return dataclasses.replace(
                rows, step=self._steps.make(Author(), (rows.step,), Stage.ACCOUNTS), stage=Stage.ACCOUNTS
            )
        return rows

    def _append(self, rows: _Rows, made: Operator, call: Call, source: str) -> _Rows:
        stage = made.gives or rows.stage
        if isinstance(made, Limit):
            rows = self._sized(rows, made.count)
        inputs = () if rows.step is None else (rows.step,)
        starts_media = stage is Stage.MEDIA and rows.stage is not Stage.MEDIA
        number = self._source(source, call) if starts_media else 0
        step = self._steps.make(made, inputs, stage, number, call.at)
        for named in rows.waiting:
            step = self._steps.make(named, (step,), stage)
        if starts_media:
            step = self._steps.make(Eligible(), (step,), stage)
        endless = made.name if made.endless else "" if isinstance(made, Limit) else rows.endless
        names = rows.names | {named.as_ for named in rows.waiting}
        return _Rows(step, stage, names, (), endless)

    def _sized(self, rows: _Rows, count: int) -> _Rows:
        """A limit right behind a mix says how long the mixed list is."""
        if rows.step is None or not isinstance(rows.step.operator, Mix) or rows.step.operator.size is not None:
            return rows
        mixed = dataclasses.replace(rows.step.operator, size=count)
        return dataclasses.replace(rows, step=self._steps.make(mixed, rows.step.inputs, rows.stage, 0, rows.step.at))

    def _source(self, name: str, call: Call) -> int:
        if len(self._source_names) >= MAX_SOURCES:
            raise IgqlError(f"the program has more than {MAX_SOURCES} sources", call.at)
        self._source_names.append(name)
        return len(self._source_names) - 1

    def _let(self, call: Call, rows: _Rows) -> _Rows:
        columns = COLUMNS[rows.stage]
        if not call.arguments:
            raise IgqlError("let names no column", call.at, "let(NAME=COLUMN)")
        for argument in call.arguments:
            if argument.name is None:
                raise IgqlError("let takes NAME=COLUMN", argument.at, "for example let(seed_id=user_id)")
            word = _bare_word(argument)
            if word not in columns:
                hint = suggestion(word, columns, "columns here")
                raise IgqlError(f"{_STAGE_TEXT[rows.stage]} have no column {word!r}", argument.value.at, hint)
            if argument.name in (AUTHOR_COLUMN, TOPIC_COLUMN):
                raise IgqlError(
                    f"{argument.name!r} is a column of every media item", argument.at, "choose another name"
                )
            named = Bind(argument.name, columns[word])
            if rows.step is None:
                others = tuple(each for each in rows.waiting if each.as_ != named.as_)
                rows = dataclasses.replace(rows, waiting=(*others, named))
            else:
                step = self._steps.make(named, (rows.step,), rows.stage, 0, call.at)
                rows = dataclasses.replace(rows, step=step, names=rows.names | {named.as_})
        return rows

    def _check_columns(self, made: Operator, call: Call, rows: _Rows) -> None:
        if isinstance(made, Filter) and made == Filter():
            raise IgqlError(
                "filter has no condition", call.at, f"conditions: {', '.join(p.name for p in parameters(Filter))}"
            )
        known = {AUTHOR_COLUMN, TOPIC_COLUMN, *rows.names}
        if isinstance(made, DiversifyBy) and made.key not in known:
            hint = suggestion(made.key, known, "columns") + "; let(NAME=user_id) on the user names the seed account"
            raise IgqlError(f"unknown column {made.key!r}", call.at, hint)

    # -- combinations --------------------------------------------------------------------------------------------------------

    def _combination(self, head: Call, source: str) -> _Rows:
        if head.name == "mix":
            return self._mix(head)
        at_least, operands = 1, []
        for argument in head.arguments or ():
            if argument.name == "at_least" and head.name == "fallback":
                if [each.name for each in head.arguments or ()].count("at_least") > 1:
                    raise IgqlError("argument 'at_least' is given twice", argument.at)
                at_least = read("argument 'at_least' of fallback", COUNT, argument, self._vocabulary)
            elif argument.name is not None or not isinstance(argument.value, Pipeline):
                raise IgqlError(f"{head.name} takes queries", argument.at, f"{head.name}(a, b, ...)")
            else:
                operands.append((argument, self._operand(argument.value, source)))
        if len(operands) < 2:
            raise IgqlError(f"{head.name} takes at least two queries", head.at, f"{head.name}(a, b, ...)")
        rows = self._same_stage(head, operands)
        made = Union() if head.name == "union" else Fallback(at_least)
        return self._combined(made, rows, head)

    def _mix(self, head: Call) -> _Rows:
        parts, weights = [], []
        for argument in head.arguments or ():
            if argument.name is None:
                raise IgqlError("mix takes NAME=WEIGHT", argument.at, "for example mix(similar=0.7, trending=0.3)")
            weight = read(f"weight of {argument.name!r}", WEIGHT, argument, self._vocabulary)
            if argument.name == USER:
                raise IgqlError(
                    "mix takes media, but 'user' gives the user", argument.at, "name a sub-query that finds media"
                )
            pipeline = self._sub_query(Call(argument.name, None, argument.at))
            rows = self._pipeline(pipeline, argument.name)
            if rows.stage is not Stage.MEDIA:
                raise IgqlError(f"mix takes media, but {argument.name!r} gives {_STAGE_TEXT[rows.stage]}", argument.at)
            if weight > 0:  # a source of no weight is as if it were not there
                parts.append(rows)
                weights.append(weight)
        if not parts:
            raise IgqlError("mix has no part that weighs anything", head.at, "mix(NAME=WEIGHT, ...), a weight above 0")
        names = [argument.name for argument in head.arguments or ()]
        for place, argument in enumerate(head.arguments or ()):
            if argument.name in names[:place]:
                raise IgqlError(f"{argument.name!r} is mixed in twice", argument.at, "add the weights")
        return dataclasses.replace(self._combined(Mix(tuple(weights), None), parts, head), endless="")

    def _operand(self, pipeline: Pipeline, source: str) -> _Rows:
        alone = not pipeline.calls and pipeline.head.arguments is None and pipeline.head.name != USER
        return self._pipeline(pipeline, pipeline.head.name if alone else source)

    def _same_stage(self, head: Call, operands: list[tuple[Argument, _Rows]]) -> list[_Rows]:
        stages = {rows.stage for _, rows in operands}
        if stages == {Stage.ACTIONS, Stage.ACCOUNTS}:
            takes_accounts = OPERATORS["posted_media"]
            return [self._as_accounts(takes_accounts, rows) for _, rows in operands]
        for argument, rows in operands:
            if rows.step is None or rows.stage is not operands[0][1].stage:
                problem = f"{head.name} takes rows of one kind, but this gives {_STAGE_TEXT[rows.stage]}"
                raise IgqlError(problem, argument.at, f"the first gives {_STAGE_TEXT[operands[0][1].stage]}")
        return [rows for _, rows in operands]

    def _combined(self, made: Mix | Union | Fallback, parts: list[_Rows], head: Call) -> _Rows:
        inputs = tuple(rows.step for rows in parts if rows.step is not None)
        names = frozenset.intersection(*(rows.names for rows in parts))
        endless = next((rows.endless for rows in parts if rows.endless), "")
        return _Rows(self._steps.make(made, inputs, parts[0].stage, 0, head.at), parts[0].stage, names, (), endless)


def _bare_word(argument: Argument) -> str:
    value = argument.value
    if isinstance(value, Pipeline) and not value.calls and value.head.arguments is None:
        return value.head.name
    shown = value.text if isinstance(value, Number) else value.value if isinstance(value, Text) else "this"
    raise IgqlError(f"must be the name of a column, got {shown}", value.at, "let(NAME=COLUMN)")


def _taking(stage: Stage) -> str:
    return ", ".join(sorted(name for name, found in OPERATORS.items() if any(stage in each.takes for each in found)))


def _giving(stage: Stage) -> str:
    return ", ".join(sorted(name for name, found in OPERATORS.items() if any(each.gives is stage for each in found)))

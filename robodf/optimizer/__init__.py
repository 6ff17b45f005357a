"""The same query, cheaper. A rule is a function `Plan -> Plan | None`, one file each; None: nothing to do here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robodf.errors import RuleError
from robodf.optimizer.choose_rows_first import choose_rows_first
from robodf.optimizer.count_from_metadata import count_from_metadata
from robodf.optimizer.delay_columns import delay_columns
from robodf.optimizer.fetch_late import fetch_late
from robodf.optimizer.fuse_map_batches import fuse_map_batches
from robodf.optimizer.fuse_rowwise import fuse_rowwise
from robodf.optimizer.merge_dedups import merge_dedups
from robodf.optimizer.narrow_align import narrow_align
from robodf.optimizer.prune_columns import prune_columns
from robodf.optimizer.push_filter import push_filter
from robodf.optimizer.push_limit import push_limit
from robodf.optimizer.share_subplans import share_subplans
from robodf.optimizer.simplify_predicates import simplify_predicates
from robodf.plan.base import Plan, Schema, plans, same_schema, tree

Rule = Callable[[Plan], Plan | None]

RULES: tuple[Rule, ...] = (
    share_subplans,  # first: once predicates are pushed into the uses of a sub-plan, they are no longer alike
    simplify_predicates,  # before the push: sources understand plain comparisons of a column with a constant
    push_filter,
    narrow_align,  # after filters: those on the clock say which part of the streams matters
    push_limit,  # after filters: a limit does not pass a filter that could have gone lower
    merge_dedups,
    delay_columns,  # after filters, which then go below the dedup with it
    count_from_metadata,  # after both: a count needs to know what the scan was asked
    fuse_rowwise,  # before pruning: fewer nodes to prune
    fuse_map_batches,
    # After all that moves predicates and limits: what is in the scan needs no fetch. Before a dedup reads apart: its
    # twin would be a second parent, and where it has light columns alone there is less to be read twice.
    fetch_late,
    choose_rows_first,  # after all that moves predicates: once a dedup reads apart, nothing goes below it
    prune_columns,  # last: it looks at the whole plan, and every other rule changes what is read
)

IN_PARTITIONS: tuple[Rule, ...] = tuple(rule for rule in RULES if rule is not choose_rows_first)
"""The rules for a plan that is to be cut, which knows rows by other means."""

_MOST_PASSES = 20
_MOST_STEPS = 10_000  # of one rule at one place


@dataclass(frozen=True)
class Applied:
    """What one rule did to the whole plan: for `explain("rules")`."""

    rule: str
    before: Plan
    after: Plan

    def __str__(self) -> str:
        indent = lambda plan: "\n".join("    " + line for line in tree(plan).splitlines())  # noqa: E731
        return f"{self.rule}\n  before\n{indent(self.before)}\n  after\n{indent(self.after)}"


def optimize(plan: Plan, rules: tuple[Rule, ...] = RULES, trace: list[Applied] | None = None) -> Plan:
    """The plan after all rules, in passes until none of them finds anything. RuleError where a rule is wrong."""
    schema = plan.schema
    settled: dict[Rule, Plan] = {}  # where each rule found nothing more: on the same plan it would find nothing again
    for _ in range(_MOST_PASSES):
        for rule in rules:
            if settled.get(rule) is not plan:
                plan = settled[rule] = _to_fixpoint(plan, rule, schema, trace)
        if all(settled[rule] is plan for rule in rules):
            return plan
    raise RuleError(f"the rules do not come to an end on\n{tree(plan)}")


def _to_fixpoint(plan: Plan, rule: Rule, schema: Schema, trace: list[Applied] | None) -> Plan:
    seen = {id(plan): plan}
    while (new := apply_rule(plan, rule)) is not plan:
        if not same_schema(new.schema, schema):
            raise RuleError(
                f"{rule.__name__} changed the schema of\n{tree(plan)}\nto\n{tree(new)}\nfrom {schema}\nto {new.schema}"
            )
        if id(new) in seen:
            raise RuleError(f"{rule.__name__} goes round in circles on\n{tree(new)}")
        if trace is not None:
            trace.append(Applied(rule.__name__, plan, new))
        seen[id(new)] = plan = new
    return plan


def apply_rule(plan: Plan, rule: Rule) -> Plan:
    """One pass of `rule`, from the root down; a node with two parents is visited once. No recursion: plans are deep."""
    if getattr(rule, "whole_plan", False):
        return rule(plan) or plan
    if not any((new := rule(n)) is not None and new is not n for n in plans(plan)):
        return plan  # the usual case, and cheap: nothing is rebuilt
    done: dict[int, Plan] = {}
    keep: list[Plan] = []  # ids in `done` stay valid while the nodes live
    stack: list[tuple[Plan, Plan | None]] = [(plan, None)]
    while stack:
        old, changed = stack.pop()
        if changed is not None:
            done[id(old)] = _with_inputs(changed, tuple(done[id(i)] for i in changed.inputs()))
            continue
        if id(old) in done:
            continue
        new = _at(old, rule)
        keep += [old, new]
        stack.append((old, new))
        stack.extend((child, None) for child in new.inputs())
    return done[id(plan)]


def _at(plan: Plan, rule: Rule) -> Plan:
    """The rule at one place until it finds nothing more: 50 filters on each other need no 50 passes."""
    seen = {id(plan): plan}
    while (new := rule(plan)) is not None and new is not plan:
        if id(new) in seen or len(seen) > _MOST_STEPS:
            raise RuleError(f"{rule.__name__} goes round in circles on\n{tree(new)}")
        seen[id(new)] = plan = new
    return plan


def _with_inputs(plan: Plan, inputs: tuple[Plan, ...]) -> Plan:
    old = plan.inputs()
    if all(a is b for a, b in zip(old, inputs)):
        return plan
    return plan.with_inputs(inputs)

"""What is known of a piece of a plan while it is cut: where its rows lie, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass, field

from robodf.io.source import Split
from robodf.physical.sizes import row_bytes
from robodf.plan.base import Plan
from robodf.plan.nodes.scan import Scan


@dataclass(frozen=True)
class Limits:
    """By what a plan is cut.

    cpus: of the cluster. partition_bytes: what one task should hold. small_bytes: what is gathered or sent to all
    rather than shuffled. partitions: the number of partitions after a shuffle, None for one by size.
    """

    cpus: int = 1
    partition_bytes: int = 256 << 20
    small_bytes: int = 32 << 20
    partitions: int | None = None

    def partitions_for(self, size: float) -> int:
        """How many partitions rows of so many bytes should have after a shuffle."""
        if self.partitions is not None:
            return self.partitions
        by_size = -(-int(size) // self.partition_bytes)
        # Some more than processors, so that the last ones do not wait for one slow task; a task for each of few.
        return max(min(2 * self.cpus, -(-int(size) // _LEAST)), by_size, 1)


_LEAST = 8 << 20  # bytes for which a partition of its own pays


@dataclass(frozen=True)
class Place:
    """Where rows lie: in `parts` partitions.

    `by` are columns such that rows with equal values are in one partition; frames with the same `home` have equal
    values in the same partition. `ordered`: the rows have an order that means something. `tagged`: the partitions are
    not in that order, but a column of the plan (TAG) has it.
    """

    parts: int
    by: tuple[str, ...] | None = None
    home: tuple | None = None
    ordered: bool = True
    tagged: bool = False


@dataclass(frozen=True)
class Item:
    """A cut piece of a plan, where its rows lie, and about how many there are."""

    plan: Plan
    place: Place
    rows: float

    @property
    def size(self) -> float:
        """About how many bytes its rows have in memory."""
        return self.rows * row_bytes(self.plan.schema)


@dataclass(frozen=True)
class Cut:
    """A cut plan: its root, where its rows lie, and for each node (by id) the place and the estimated rows."""

    plan: Plan
    place: Place
    items: dict[int, Item]


@dataclass
class Cutter:
    """The state of one cut: what is done so far, by the id of the logical node.

    What the operators above a node ask of it, by its id. `wanted_order`: somebody sees the order of its rows.
    `order_within`: columns such that the order of rows matters only among those with equal values.
    `wanted_together`: columns by which its rows must come to lie together whole, not as partial aggregates.
    """

    limits: Limits
    wanted_order: frozenset[int] = frozenset()
    order_within: dict[int, frozenset[str]] = field(default_factory=dict)
    wanted_together: dict[int, frozenset[str]] = field(default_factory=dict)
    splits: dict[Scan, tuple[Split, ...]] = field(default_factory=dict)  # of each scan, all that it will read
    done: dict[int, Item] = field(default_factory=dict)
    places: dict[int, Item] = field(default_factory=dict)

    def item(self, plan: Plan, place: Place, rows: float) -> Item:
        """A piece; remembered for explain()."""
        made = Item(plan, place, rows)
        self.places[id(plan)] = made
        return made

"""The cosine of two vectors, and the kernels that look for high ones in products of matrices.

A product of float32 matrices has other last bits with every shape of block and number of threads. So it only says which
pairs are worth a look; what counts is `similarity`, whose sum is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

from robodf.dedup import compare
from robodf.dedup.compiled import kernel
from robodf.dedup.vectors import dot


@kernel
def similarity(unit, square, a, b):
    """cos(a, b) in [-1, 1]; exactly 1.0 for equal vectors, as the root of a square is exact."""
    cosine = dot(unit, a, unit, b) / np.sqrt(square[a] * square[b])
    return min(1.0, max(-1.0, cosine))


def _is_vectors(held: Any) -> bool:
    return getattr(held, "fields", None) == ("unit", "square", "there")


@overload(compare.load)
def _load(held, a):
    return (lambda held, a: None) if _is_vectors(held) else None


@overload(compare.probe)
def _probe(held, a, b, least):
    if not _is_vectors(held):
        return None

    def probe(held, a, b, least):
        cosine = similarity(held.unit, held.square, a, b)
        return cosine if cosine >= least else -1.0

    return probe


@kernel
def count_near(products, floor):
    """How many of some products in a row reach the floor."""
    near = np.int32(0)  # as wide as the products: several are compared in one instruction
    for j in range(len(products)):
        near += np.int32(products[j] >= floor)
    return near


@kernel
def count_all_near(products, floor):
    """How many of the products of a block reach the floor."""
    near = 0
    for i in range(products.shape[0]):
        near += count_near(products[i], floor)
    return near


@kernel
def first_found(products, floor, who, columns, order, unit, square, least, best, found):
    """For each row `who[i]` the first of `columns` that is alike, into `best` and its similarity into `found`.

    Rows and columns are places in `order`. `products[i, j]` is never below the cosine by more than the floor allows.
    """
    lanes = 64
    count = products.shape[1]
    for i in range(len(who)):
        me = who[i]
        a = order[me]
        for start in range(0, count, lanes):
            if columns[start] >= best[me]:
                break
            part = products[i, start : start + lanes]
            if count_near(part, floor) == 0:
                continue
            end = start + len(part)
            done = False
            for j in range(start, end):
                if products[i, j] >= floor and columns[j] < best[me]:
                    cosine = similarity(unit, square, a, order[columns[j]])
                    if cosine >= least:
                        best[me] = columns[j]
                        found[me] = cosine
                        done = True
                        break
            if done:
                break


@kernel
def first_listed(starts, j, who, columns, order, unit, square, least, best, found):
    """As `first_found`, of the columns j[starts[i] : starts[i + 1]] alone, ascending, for each row `who[i]`."""
    for i in range(len(who)):
        me = who[i]
        for k in range(starts[i], starts[i + 1]):
            other = columns[j[k]]
            if other >= best[me]:
                break
            cosine = similarity(unit, square, order[me], order[other])
            if cosine >= least:
                best[me] = other
                found[me] = cosine
                break


@kernel
def alike_listed(i, j, who, columns, order, lists, here, always, unit, square, least, later, earlier, found):
    """As `alike`, of the pairs (who[i[k]], columns[j[k]]) alone."""
    count = 0
    for k in range(len(i)):
        me, other = who[i[k]], columns[j[k]]
        if other >= me or (always[me] and always[other]) or _shared(lists, me, other) != here:
            continue
        cosine = similarity(unit, square, order[me], order[other])
        if cosine >= least:
            later[count] = me
            earlier[count] = other
            found[count] = cosine
            count += 1
    return count


@kernel
def alike(products, floor, who, columns, order, lists, here, always, unit, square, least, later, earlier, found):
    """All pairs (who[i], columns[j]) that are alike and columns[j] < who[i]; returns how many.

    A pair that shares several lists is told in the least of them only, and one of two that are kept always never.
    """
    lanes = 64
    count = 0
    for i in range(len(who)):
        me = who[i]
        for start in range(0, len(columns), lanes):
            if columns[start] >= me:
                break
            part = products[i, start : start + lanes]
            if count_near(part, floor) == 0:
                continue
            end = start + len(part)
            for j in range(start, end):
                other = columns[j]
                if other >= me:
                    break
                if products[i, j] < floor or (always[me] and always[other]) or _shared(lists, me, other) != here:
                    continue
                cosine = similarity(unit, square, order[me], order[other])
                if cosine >= least:
                    later[count] = me
                    earlier[count] = other
                    found[count] = cosine
                    count += 1
    return count


@kernel
def _shared(lists, a, b):
    least = np.int64(-1)
    for p in range(lists.shape[1]):
        for q in range(lists.shape[1]):
            here = lists[a, p]
            if here == lists[b, q] and (least < 0 or here < least):
                least = here
    return least


@kernel
def settle(later, earlier, cosines, best, found):
    """The keep rule over the pairs of some rows, sorted by (later, earlier)."""
    nobody = len(best)
    for k in range(len(later)):
        if best[later[k]] == nobody and best[earlier[k]] == nobody:
            best[later[k]] = earlier[k]
            found[later[k]] = cosines[k]


@kernel
def keep(first, end, best, lists, kept, fill):
    """Puts the rows of a range that nobody stands for into their lists of kept rows."""
    nobody = len(best)
    for row in range(first, end):
        if best[row] == nobody:
            for p in range(lists.shape[1]):
                here = lists[row, p]
                kept[fill[here]] = row
                fill[here] += 1


@kernel
def walk_small(starts, ends, order, always, unit, square, least, best, found):
    """The keep rule inside of small ranges of `order`, each alone."""
    nobody = len(best)
    for g in range(len(starts)):
        for me in range(starts[g], ends[g]):
            if always[me]:
                continue
            for other in range(starts[g], me):
                if best[other] != nobody:
                    continue
                cosine = similarity(unit, square, order[me], order[other])
                if cosine >= least:
                    best[me] = other
                    found[me] = cosine
                    break


@kernel
def alike_small(starts, ends, members, asked, always, unit, square, least, later, earlier, found):
    """All pairs inside of small ranges of `members` whose later row is asked for; returns how many."""
    count = 0
    for g in range(len(starts)):
        for p in range(starts[g], ends[g]):
            me = members[p]
            if not asked[me]:
                continue
            for q in range(starts[g], p):
                other = members[q]
                if always[me] and always[other]:
                    continue
                cosine = similarity(unit, square, me, other)
                if cosine >= least:
                    later[count] = me
                    earlier[count] = other
                    found[count] = cosine
                    count += 1
    return count

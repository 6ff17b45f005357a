from robodf.plan.expr import Native
def import_polars(e):
    return Native(e)

# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first look at robot logs
#
# robodf opens recordings as lazy tables: you say what you want, it reads only the parts of the files that hold it.
# This notebook writes its own recordings into a temporary folder: three MCAP files with ROS 2 messages, and a table of
# episodes.

# %%
import tempfile
from datetime import datetime

import matplotlib.pyplot as plt
from IPython.display import display

import robodf as rd
from robodf.demo.recordings import write_recordings

made = write_recordings(tempfile.mkdtemp())
[path.name for path in made.logs]

# %% [markdown]
# ## What is in them?
#
# `open_log` reads the indexes of the files, no messages.

# %%
log = rd.open_log(made.folder)
display(log)

# %% [markdown]
# A topic is a table. Its columns have types before anything is read.

# %%
captions = log["/caption"]
print(captions.schema)

# %% [markdown]
# ## Filter and deduplicate
#
# Each step gives a new plan and runs nothing.

# %%
recent = captions.filter(rd.col("log_time") >= datetime(2026, 3, 2, 9, 10))
good = recent.filter(lambda row: row["quality"] > 0.7)
unique = good.dedup(on="text")
unique.select("recording", "log_time", "quality", "text").show(5)

# %% [markdown]
# A name that does not exist is an error at once, with a hint.

# %%
try:
    captions.filter(rd.col("qualty") > 0.7)
except rd.errors.ColumnNotFoundError as error:
    print(error)

# %% [markdown]
# ## What will be read?
#
# `explain` shows the plan as it was written, after the optimizer, and what each file gives: how many chunks and bytes
# of how many. The time range is answered inside of the files; the quality is known only once a message is decoded.

# %%
print(unique.explain())

# %%
print(recent.count_rows(), "captions,", good.count_rows(), "good ones,", unique.count_rows(), "without repetitions")

# %% [markdown]
# ## The same in SQL

# %%
episodes = rd.read_parquet(made.episodes)
by_task = rd.sql(
    """
    SELECT task, count(*) AS captions, avg(quality) AS quality
    FROM captions JOIN episodes USING (recording, episode)
    WHERE quality > 0.7
    GROUP BY task
    ORDER BY task
    """,
    captions=captions,
    episodes=episodes,
)
display(by_task.collect())

# %% [markdown]
# ## Five seconds of the IMU
#
# Fields of a message are structs. Only `angular_velocity.z` is decoded here, out of the chunks of these five seconds.

# %%
imu = rd.read_mcap(made.folder, topic="/imu", start="2026-03-02T09:10:20", end="2026-03-02T09:10:25")
turning = imu.select("log_time", rate=rd.col("angular_velocity").struct.field("z")).collect()
display(turning.head(3))

# %%
figure, axes = plt.subplots(figsize=(8, 3))
axes.plot(turning["log_time"].to_numpy(), turning["rate"].to_numpy(), linewidth=0.8)
axes.set(xlabel="log_time", ylabel="rad/s", title="angular velocity about z")
figure.autofmt_xdate()

# %% [markdown]
# ## Write it
#
# The file appears whole or not at all, whatever happens on the way.

# %%
unique.to_parquet(made.folder / "clean" / "captions.parquet", mode="overwrite")

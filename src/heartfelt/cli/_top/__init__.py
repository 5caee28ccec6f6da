# SPDX-License-Identifier: MIT
"""`heartfelt top`: a monitor's instances in a terminal, live. cli/top.py starts it.

fleet.py    what is known of the monitor: instances, counts, hold, events; changed by what the link tells
link.py     two threads that talk to the monitor, and a bounded queue from them to the screen; _jobs.py: single requests
marks.py    letter, word and colour of each state
painted.py  a widget that draws lines itself, and only those that changed; lines.py: one with a list and a cursor
grid.py table.py feed.py   the three views
bar.py detail.py dialogs.py  what stands around them, one instance, questions and help
app.py      the program: keys, and who is told of what
"""

# SPDX-License-Identifier: MIT
"""`heartfelt top`: a monitor's instances in a terminal, live. cli/top.py starts it.

fleet.py    a copy of the monitor's instances, counts, hold and events, kept up to date by the link
link.py     two threads that talk to the monitor, and a bounded queue from them to the screen; _jobs.py: single requests
marks.py    letter, word and colour of each state
painted.py  a widget that draws only lines that changed; lines.py: one with a list and a cursor
grid.py table.py feed.py   the three views
bar.py detail.py dialogs.py  the lines around the views; details of an instance or event; questions, help, filter
app.py      the application: keys, messages from the link, drawing
"""

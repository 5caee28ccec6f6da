#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs relacy and spin, where they are missing and that can be done unasked; says in one line why not otherwise.
get_tool=$(dirname "$0")/../get_tool.sh without='the models are not checked'
"$get_tool" relacy-dev /usr/include/relacy/relacy.hpp "$without" && "$get_tool" spin spin "$without"

// SPDX-License-Identifier: MIT
export default {
  next_row: "Next row",
  previous_row: "Previous row",
  filters: "Filters that are set",
  filter_by: "Filter by",
  filter_value: "is exactly …",
  filter_add: "Filter",
  filter_remove: "Remove the filter: {filter}",
  filter_none: "Remove all filters",
  older: "Show older ones",
  that_was_all: "That was all.",
};

// SPDX-License-Identifier: MIT
export default {
  next_row: "Next row",
  previous_row: "Previous row",
  filters: "Active filters",
  filter_by: "Filter by",
  filter_value: "exact value …",
  filter_add: "Add filter",
  filter_remove: "Remove filter: {filter}",
  filter_none: "Clear all filters",
  older: "Show older",
  that_was_all: "No more entries.",
};

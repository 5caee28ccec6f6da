// SPDX-License-Identifier: MIT
export default {
  next_row: "下一行",
  previous_row: "上一行",
  filters: "已设置的筛选条件",
  filter_by: "筛选字段",
  filter_value: "精确等于…",
  filter_add: "筛选",
  filter_remove: "移除筛选条件：{filter}",
  filter_none: "清除所有筛选条件",
  older: "显示更早的记录",
  that_was_all: "没有更多记录了。",
};

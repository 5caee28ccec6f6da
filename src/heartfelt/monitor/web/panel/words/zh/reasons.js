// SPDX-License-Identifier: MIT
/**
 * The monitor's sentences that say why, clause by clause: as it writes them (monitor/_words.py), and in Chinese. What
 * stands in braces is put through, by its name, or by "name:kind" with a kind of lib/reason.js.
 */
export default [
  ["first beat, by {via}", "首次心跳，经由 {via}"],
  ["first beat, from {peer} by {via}", "首次心跳，来自 {peer}，经由 {via}"],
  ["second beat, {span} after the first", "第二次心跳，距首次 {span}"],
  ["last beat at {at}", "上次心跳在 {at}"],
  ["last beat at {at}, before the monitor started", "上次心跳在 {at}，早于监控端启动"],
  ["last beat from {peer} at {at}", "上次心跳来自 {peer}，在 {at}"],
  ["last beat from {peer} at {at}, before the monitor started", "上次心跳来自 {peer}，在 {at}，早于监控端启动"],

  ["no beat for {span}", "已 {span}没有心跳"],
  ["no beat for {span} (lease {lease:span})", "已 {span}没有心跳（租约 {lease}）"],
  ["no beat for {span} (interval {interval:span}, lease {lease:span})", "已 {span}没有心跳（间隔 {interval}，租约 {lease}）"],
  ["no beat since the monitor started {span} ago", "监控端 {span}前启动以来没有心跳"],
  ["no beat since the monitor started {span} ago (lease {lease:span})", "监控端 {span}前启动以来没有心跳（租约 {lease}）"],
  ["nothing was heard of it yet", "尚未收到它的消息"],

  ["beats again, {span} after its last beat", "恢复心跳，距上次心跳 {span}"],
  ["came back after leaving, {span} after its last beat", "退出后又回来，距上次心跳 {span}"],
  ["it beats, but its interpreter has not answered for {span} (limit {limit:span})", "仍有心跳，但其解释器已 {span}没有响应（上限 {limit}）"],
  ["its interpreter answers again (within {span})", "其解释器恢复响应（{span}内）"],
  ["it beats", "心跳正常"],

  ["said goodbye", "已告别"],
  ["said goodbye: {text}", "已告别：{text}"],
  ["it said goodbye", "它已告别"],
  ["it left and sent no beat for {span} (kept for {kept:span})", "退出后 {span}没有心跳（保留 {kept}）"],
  ["it was lost and sent no beat for {span} (kept for {kept:span})", "失联后 {span}没有心跳（保留 {kept}）"],
  ["removed by hand", "手动移除"],

  ["paused until it is resumed", "已暂停，直到手动恢复"],
  ["paused until {at}", "已暂停，至 {at}"],
  ["resumed", "已手动恢复"],
  ["its pause ended", "暂停已到期"],

  ["the loss is held: {why}", "失联暂缓通告：{why}"],
  ["the monitor itself was stalled for {span}", "监控端自身停滞了 {span}"],
  [
    "{n} of {total:n} instances of service {service} went silent within {span} (more than {share}, so their network or the monitor's may be at fault)",
    "服务 {service} 的 {total} 个实例中有 {n} 个在 {span}内失去心跳（超过 {share}，可能是它们的网络或监控端的网络故障）",
  ],
  [
    "{n} of {total:n} instances of all services went silent within {span} (more than {share}, so their network or the monitor's may be at fault)",
    "所有服务的 {total} 个实例中有 {n} 个在 {span}内失去心跳（超过 {share}，可能是它们的网络或监控端的网络故障）",
  ],
  [
    "many instances of service {service}, and then of others, {other:service} among them, went silent: losses of all services are held",
    "服务 {service} 的许多实例失去心跳，随后其他服务（包括 {other}）也是如此：所有服务的失联暂缓通告",
  ],
  [
    "no beat from anybody for {span}, where before there were {n} a second: the monitor's network may be down",
    "已 {span}没有收到任何心跳，此前每秒 {n} 次：监控端的网络可能中断",
  ],
  ["released", "已放行"],
  ["released by {text}", "已由 {text} 放行"],
  ["held for {span}, now told, {rate} a second", "已暂缓 {span}，现在开始通告，每秒 {rate} 个"],
  ["it was held because {why}", "暂缓的原因：{why}"],
  ["losses are held back, since {why}", "失联暂缓通告，原因：{why}"],
  ["losses are held back, until {at} at the latest, since {why}", "失联暂缓通告，最晚到 {at}，原因：{why}"],
  ["no losses are held back any more", "不再有失联暂缓通告"],
];

# SPDX-License-Identifier: MIT
"""Bugs, each planted in a copy of the core, which the model checker has to find there.

A plant names what was done wrong, the scenario and the builds of the core in which it must be found, the file, and what
is replaced by what. Text that is not there exactly once stops the check: the plant has to follow the code.
"""

from typing import NamedTuple

FREE, GIL, LIGHT = "free-threaded", "GIL, seq_cst", "GIL, heavy barrier"


class Plant(NamedTuple):
    name: str
    scenario: str
    builds: tuple[str, ...]
    file: str
    old: str
    new: str


PLANTS = [
    Plant(
        "the verdict is stored, not exchanged",
        "word",
        (FREE, GIL, LIGHT),
        "hf_step.c",
        "if (!HF_CAS_SC(word, &doomed, after)) {",
        "HF_STORE_SC(word, after);\n    if (doomed == 0) {",
    ),
    Plant(
        "a beat takes a verdict back by a store",
        "word",
        (FREE, GIL, LIGHT),
        "hf_beat.h",
        "HF_CAS_SC(&hot->word, &word, alive)) return HF_OK;",
        "(HF_STORE_SC(&hot->word, alive), true)) return HF_OK;",
    ),
    Plant(
        "the worker does not look again",
        "word",
        (FREE, GIL, LIGHT),
        "hf_step.c",
        "bool due = *deadline_ns <= now_ns;",
        "bool due = true;",
    ),
    Plant(
        "the worker dooms by a relaxed store",
        "word",
        (FREE, GIL),
        "hf_step.c",
        "HF_STORE_SC(&hot->word, hf_word_make(",
        "HF_STORE_RLX(&hot->word, hf_word_make(",
    ),
    Plant(
        "no heavy barrier",
        "word",
        (LIGHT,),
        "hf_step.c",
        "if (shard->config->light) hf_heavy_barrier();",
        "",
    ),
    Plant(
        "a beat looks before it stores",
        "word",
        (LIGHT,),
        "hf_beat.h",
        "    if (HF_LIKELY(seen < now_ns)) HF_STORE_RLX(&hot->beat_ns, now_ns);\n",
        "    uint32_t early = HF_LOAD_RLX(&hot->word);\n"
        "    if (seen < now_ns) HF_STORE_RLX(&hot->beat_ns, now_ns);\n    return early;\n",
    ),
    Plant(
        "a beat's look may come before its store",
        "word",
        (GIL,),
        "hf_beat.h",
        "return HF_LOAD_SC(&hot->word);  // partner: the worker's doom",
        "return HF_LOAD_ACQ(&hot->word);  //",
    ),
    Plant(
        "a beat's look may come before its exchange",
        "word",
        (FREE,),
        "hf_beat.h",
        "uint32_t after = HF_LOAD_SC(&hot->word);",
        "uint32_t after = HF_LOAD_RLX(&hot->word);",
    ),
    Plant(
        "a beat stores its time, and does not exchange it",
        "word",
        (FREE,),
        "hf_beat.h",
        "if (seen < now_ns && !HF_CAS_SC(&hot->beat_ns, &seen, now_ns)) return HF_SLOW;",
        "if (seen < now_ns) HF_STORE_SC(&hot->beat_ns, now_ns);",
    ),
    Plant(
        "a beat stores its time, and does not exchange it",
        "reuse",
        (FREE,),
        "hf_beat.h",
        "if (seen < now_ns && !HF_CAS_SC(&hot->beat_ns, &seen, now_ns)) return HF_SLOW;",
        "if (seen < now_ns) HF_STORE_SC(&hot->beat_ns, now_ns);",
    ),
    Plant(
        "a key begins with the time of its slot's last one",
        "reuse",
        (FREE, GIL, LIGHT),
        "hf_touch.c",
        "HF_STORE_REL(hf_slots_beat(&shard->slots, *slot), now_ns);",
        "",
    ),
    Plant(
        "a new life's time is relaxed",
        "reuse",
        (FREE,),
        "hf_touch.c",
        "HF_STORE_REL(hf_slots_beat(&shard->slots, *slot), now_ns);",
        "HF_STORE_RLX(hf_slots_beat(&shard->slots, *slot), now_ns);",
    ),
    Plant(
        "a slot that came free keeps its generation",
        "reuse",
        (FREE, GIL, LIGHT),
        "hf_slot.h",
        "(hf_word_generation(HF_LOAD_RLX(word)) + 1) & HF_GENERATION_MASK",
        "(hf_word_generation(HF_LOAD_RLX(word)) + 0) & HF_GENERATION_MASK",
    ),
    Plant(
        "the table is published by a relaxed store",
        "map",
        (FREE,),
        "hf_map.h",
        "{ HF_STORE_REL(&map->table, (uintptr_t)table); }",
        "{ HF_STORE_RLX(&map->table, (uintptr_t)table); }",
    ),
    Plant(
        "the table is published before it is filled",
        "map",
        (FREE,),
        "hf_map.h",
        "if (!table) return HF_NO_MEMORY;\n  for (",
        "if (!table) return HF_NO_MEMORY;\n  hf_map_publish(map, table);\n  for (",
    ),
    Plant(
        "the old table is given back at once",
        "map",
        (FREE,),
        "hf_map.h",
        "table->retired = old;\n  hf_map_publish(map, table);",
        "hf_map_publish(map, table);\n  hf_pages_give_back(old->pages);",
    ),
    Plant(
        "an erasure moves no entry",
        "map",
        (FREE,),
        "hf_map.h",
        "if (from_home < from_hole) continue;",
        "break;",
    ),
    Plant(
        "an entry is trusted by its mark",
        "map",
        (FREE,),
        "hf_map.h",
        "if ((entry & ~slot_mask) == mark && HF_LOAD_ACQ(&hf_slots_hot(slots, i)->key) == (uintptr_t)key) return i;",
        "if ((entry & ~slot_mask) == mark) return i;",
    ),
    Plant(
        "the bell is silenced by a store",
        "bell",
        (GIL,),
        "hf_bell.c",
        "HF_XCHG(&bell->rung, 0u);",
        "HF_STORE_REL(&bell->rung, 0u);",
    ),
    Plant(
        "the tokens are read after the bell is silent",
        "bell",
        (GIL,),
        "hf_bell.c",
        "  HF_XCHG(&bell->rung, 0u);",
        "  HF_XCHG(&bell->rung, 0u);\n  if (HF_LOAD_ACQ(&bell->write_fd) >= 0) read_tokens(bell->read_fd);",
    ),
    Plant(
        "who opens the bell does not make up for rings",
        "bell",
        (GIL,),
        "hf_bell.c",
        "  write_token(HF_LOAD_RLX(&bell->write_fd));\n",
        "",
    ),
    Plant(
        "the reader looks before it silences the bell",
        "verdicts",
        (FREE, GIL),
        "hf_drain.c",
        "    hf_bell_silence(hub->streams.bells[stream]);\n",
        "    bool more = hf_hub_has_ended(hub) || hf_hub_waiting(hub, stream);\n"
        "    hf_bell_silence(hub->streams.bells[stream]);\n"
        "    if (more) hf_bell_ring(hub->streams.bells[stream]);\n    return n;\n",
    ),
    Plant(
        "the worker rings before it takes verdicts",
        "verdicts",
        (FREE,),
        "hf_worker.c",
        "      uint32_t n_verdicts = hf_shard_step(shard, until_ns, HF_WORKER_AHEAD_NS, until_ns);\n"
        "      if (n_verdicts) ",
        "      hf_bell_ring(shard->streams->bells[hf_streams_route(shard->streams, HF_TIME_OUT)]);\n"
        "      uint32_t n_verdicts = hf_shard_step(shard, until_ns, HF_WORKER_AHEAD_NS, until_ns);\n"
        "      if (n_verdicts == UINT32_MAX) ",
    ),
    Plant(
        "a key that joins does not wake the worker",
        "verdicts",
        (GIL,),
        "hf_worker.h",
        "  hf_sleeper_wake(&worker->sleeper);\n",
        "",
    ),
    Plant(
        "the hub has ended before its workers have",
        "verdicts",
        (GIL,),
        "hf_hub.c",
        "static void end(hf_hub *hub) {\n",
        "static void end(hf_hub *hub) {\n  HF_STORE_SC(&hub->ended, 1u);\n",
    ),
    Plant(
        "a sleeper forgets a wake that came before",
        "close",
        (GIL,),
        "hf_thread.c",
        "  pthread_mutex_lock(&sleeper->mutex);\n  int rc = 0;\n",
        "  pthread_mutex_lock(&sleeper->mutex);\n  int rc = 0;\n  sleeper->woken = false;\n",
    ),
    Plant(
        "close does not wait for the worker",
        "close",
        (FREE, GIL),
        "hf_worker.c",
        "if (worker->started) hf_thread_join(&worker->thread);",
        "",
    ),
    Plant(
        "the second closer does not wait",
        "close",
        (GIL,),
        "hf_hub.c",
        "  HF_STORE_SC(&hub->closed, 1u);\n  hf_lock_acquire(&hub->close_lock);",
        "  if (HF_LOAD_SC(&hub->closed)) return;\n  HF_STORE_SC(&hub->closed, 1u);\n"
        "  hf_lock_acquire(&hub->close_lock);",
    ),
    Plant(
        "two closers at once",
        "close",
        (GIL,),
        "hf_hub.c",
        "  hf_lock_acquire(&hub->close_lock);  // a second caller waits for the first\n"
        "  if (!hf_hub_has_ended(hub)) end(hub);\n  hf_lock_release(&hub->close_lock);",
        "  if (!hf_hub_has_ended(hub)) end(hub);",
    ),
    Plant(
        "a cold call does not look again under the lock",
        "close",
        (FREE,),
        "hf_hub.c",
        "closed_meanwhile(hub) ? HF_CLOSED : hf_shard_touch(",
        "hf_shard_touch(",
    ),
]

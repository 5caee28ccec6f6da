// SPDX-License-Identifier: MIT
// The word that decides, as a design: two beaters (with a GIL: one at a time) and a worker that takes two steps.
// Every store waits in its thread's buffer until it is written to memory, at any later time (x86 is like that: a load
// may overtake an earlier store). An atomic exchange empties its own thread's buffer first; so does a seq_cst store.
// LIGHT: a beat's store waits, and the worker's heavy barrier empties every buffer.
//   -DGIL, -DLIGHT, or neither: free-threaded. -DPLANT_...: a bug that has to be found.
// A time is a small number. A verdict counts for a beat if it says a time not before it.

#define ALIVE 1
#define DOOMED 2
#define LOST 3
#define BEATERS 2
#define WAITS 0

byte time = 1;      // of the slot, in memory
byte word = ALIVE;
byte buffered[BEATERS];        // the time in a beater's buffer, or WAITS
byte acknowledged[BEATERS];    // the last time that said OK
byte verdict_time = 0;         // what the verdict knew
bool gil = false;              // held

// The memory system: writes a buffered time whenever it likes.
inline drain(b) {
  if
  :: buffered[b] != WAITS -> time = buffered[b]; buffered[b] = WAITS
  :: else
  fi
}
active proctype memory() {
end:
  do
  :: atomic { buffered[0] != WAITS -> drain(0) }
  :: atomic { buffered[1] != WAITS -> drain(1) }
  od
}

// What a beater sees of the time: its own buffer first.
inline see(b, seen) {
  if
  :: buffered[b] != WAITS -> seen = buffered[b]
  :: else -> seen = time
  fi
}

inline take_gil() {
#if defined(GIL) || defined(LIGHT)
  atomic { !gil -> gil = true }
#else
  skip
#endif
}
inline leave_gil(b) {  // a lock's release writes the buffer
#if defined(GIL) || defined(LIGHT)
  atomic { drain(b); gil = false }
#else
  skip
#endif
}

inline beat(b, now) {
  take_gil();
#ifdef PLANT_LOOK_FIRST
  w = word;
#endif
  atomic { see(b, seen) }
#if defined(LIGHT) || defined(PLANT_RELAXED)
  if
  :: atomic { seen < now -> buffered[b] = now }
  :: else
  fi;
#elif defined(GIL)
  if
  :: atomic { seen < now -> time = now }
  :: else
  fi;
#else
  do
#ifdef PLANT_NO_EXCHANGE
  :: atomic { seen < now -> time = now; break }
#else
  :: atomic { seen < now && time == seen -> time = now; break }
#endif
  :: atomic { seen < now && time != seen -> seen = time }
  :: seen >= now -> break
  od;
#endif
#ifndef PLANT_LOOK_FIRST
  w = word;
#endif
  if
  :: w == ALIVE -> atomic { acknowledged[b] = now; see(b, seen); assert(seen >= now) }
#ifdef PLANT_BLIND_UNDOOM
  :: w == DOOMED -> atomic { word = ALIVE; acknowledged[b] = now }
#else
  :: w == DOOMED ->
    atomic {
      if
      :: word == DOOMED -> drain(b); word = ALIVE; acknowledged[b] = now
      :: word == ALIVE -> acknowledged[b] = now
      :: else  // the verdict came first: the cold way
      fi
    }
#endif
  :: else
  fi;
  leave_gil(b)
}

proctype beater(byte b) {
  byte w, seen;
  if
  :: b == 0 -> beat(b, 2); beat(b, 5)
  :: else -> beat(b, 3); beat(b, 4)
  fi
}

inline take(now) {
  assert(known + 2 <= now);  // no verdict is early
  verdict_time = known;
  taken++
}

inline step(now) {
  if
  :: word == ALIVE && time + 2 <= now ->
    word = DOOMED;
#if defined(LIGHT) && !defined(PLANT_NO_BARRIER)
    atomic { drain(0) };
    atomic { drain(1) };
#endif
    known = time;
#ifdef PLANT_NO_SECOND_LOOK
    due = true;
#else
    due = known + 2 <= now;
#endif
#ifdef PLANT_BLIND_VERDICT
    if
    :: due -> atomic { word = LOST; take(now) }
#else
    if
    :: due -> atomic { if :: word == DOOMED -> word = LOST; take(now) :: else fi }
#endif
    :: else -> atomic { if :: word == DOOMED -> word = ALIVE :: else fi }
    fi
  :: else
  fi;
  assert(word != DOOMED)
}

proctype worker() {
  byte known, taken;
  bool due;
  step(4);
  step(7);
  assert(taken <= 1)
}

init {
  atomic {
    run beater(0);
    run beater(1);
    run worker()
  };
  _nr_pr == 2;  // only the memory is left
  atomic { drain(0) };
  atomic { drain(1) };
  assert(word == ALIVE || word == LOST);
  assert(word == ALIVE || (verdict_time >= acknowledged[0] && verdict_time >= acknowledged[1]));
  assert(time >= acknowledged[0] && time >= acknowledged[1])
}

// SPDX-License-Identifier: MIT
// What is around the steps of ownership.pml: rounds, stops, the agent, time, and what must hold whenever time goes on.

#define DONE 3
#define STEP(m, n) atomic { done[m] == n - 1 -> stopped[m] = false;
#define END(m, n) done[m] = n }

proctype monitor(byte m) {
  byte was;
  do
  :: STEP(m, 1) renew(m); END(m, 1)
  :: STEP(m, 2) hear(m); END(m, 2)
  :: STEP(m, 3) write(m); verdict(m); END(m, 3)
  od
}

#ifdef STOPS
#if FAULTS == 1
#define may_stop(m) (stopped[m] || (faults > 0 && m == 0))
#else
#define may_stop(m) (stopped[m] || (faults > 0 && !cut[1 - (m)]))
#endif
#else
#define may_stop(m) false
#endif

inline older(age) { age = LESS(age + 1, NO_BEAT) }
inline less(time) { time = MORE(time, 1) - 1 }
inline pause(m) {  // its round has not ended: it is stopped
  if
  :: done[m] < DONE ->
     if
     :: !stopped[m] -> stopped[m] = true; faults--
     :: else
     fi;
#ifdef PAUSES
     calm = 0;
     if
     :: taker == m && took < NO_BEAT -> took = NO_BEAT; excused = true
     :: else
     fi
#endif
  :: else -> done[m] = 0
  fi;
#ifdef PAUSES
  if
  :: apart || cut[m] || unsure[m] || lease[m] <= 1 -> calm = 0  // its lease ends with this tick, or has ended
  :: else
  fi
#endif
}
inline pass(m) {
  less(lease[m]); less(left[m]); older(heard[m]); older(direct[m]); older(inbox[m])
}

inline beat(m) {
#ifdef STEADY
  last = m; silence = 0;
#elif defined(SOON)
  silence = 0;
#else
  excused = excused || took >= TIMEOUT;
#endif
  direct[m] = 0
}

#ifdef STEADY
#define may_wait (silence < INTERVAL && direct[last] == NO_BEAT)
#else
#define may_wait true
#endif

proctype world() {
  do
#ifdef PARTS
  :: atomic { faults > 0 && !apart -> faults--; apart = 1 }
#endif
#ifdef CUTS
  :: atomic { faults > 0 && !cut[0] && !stopped[1] -> faults--; cut[0] = true }
#endif
  :: atomic { (done[0] == DONE || may_stop(0)) && (done[1] == DONE || may_stop(1)) && (done[0] == DONE || done[1] == DONE) ->
#ifdef SOON
       assert(lost || silence <= SOON);
#endif
       if
       :: direct[0] == NO_BEAT -> beat(0)
       :: direct[1] == NO_BEAT -> beat(1)
       :: may_wait
       fi;
       pause(0); pause(1);
#ifdef PAUSES
       assert(calm < SETTLE || took >= TIMEOUT || took < SETTLE ||
              (own != NOBODY && role[own] == OWNER && !lost && left[own] >= NO_BEAT - took));    // KNOWN
       calm = LESS(calm + 1, SETTLE);
       older(took);
       if
       :: took == NO_BEAT -> taker = 0
       :: else
       fi;
#elif defined(STEADY)
       silence++;
#else
       silence = ((own == NOBODY && silence == 0) || lost -> 0 : silence + 1);
#endif
#ifdef CUTS
       if
       :: cut[0] -> cut[0] = false
       :: true
       fi;
#endif
       pass(0); pass(1); less(stored); meet(); joined()
     }
  od
}

init { atomic { run monitor(0); run monitor(1); run world() } }

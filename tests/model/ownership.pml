// SPDX-License-Identifier: MIT
#ifndef TIMEOUT
#define TIMEOUT 4
#endif
#ifndef SETTLE
#define SETTLE 3
#endif
#ifndef LEASE
#define LEASE 3
#endif
#ifndef COMEBACK
#define COMEBACK 3
#endif
#ifndef INTERVAL
#define INTERVAL 2
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef SOON
#define SOON (TIMEOUT + SETTLE + LEASE + COMEBACK + SETTLE + 2)
#endif
#ifndef STEADY
#define STEADY (LEASE + 5)
#endif
#define NO_BEAT TIMEOUT
#define NOBODY 2

#define UNKNOWN 0
#define OWNER 1
#define SHADOW 2

#define other (1 - m)

// Redis.
byte own = NOBODY;
byte stored = 0;
bool lost = false;
byte lease[2] = LEASE;
bool moved[2];
bool fence[2] = true;   // the key of the page that m thinks it has exists

// The monitors' memory.
byte role[2] = UNKNOWN;
byte left[2];
byte heard[2] = NO_BEAT;
bool dirty[2];
bool thinks_lost[2];
bool consent[2];
bool found_dead[2];
bool due[2];
bool unsure[2];
byte direct[2] = NO_BEAT;
byte inbox[2] = NO_BEAT;
byte done[2];
bool stopped[2];
bool cut[2];
byte faults = FAULTS;

// The agent.
bool alive = false;
byte last = 0;
byte silence = TIMEOUT;
bool beaten = false;

// Ghosts
byte streak = 0;
bool gap = false;
byte took = NO_BEAT;
byte taker = 0;
byte calm = 0;
bool told_last = false;

#define LESS(a, b) ((a) < (b) -> (a) : (b))
#define MORE(a, b) ((a) > (b) -> (a) : (b))
#define newest(box, age) box = LESS(box, age)
#define latest(box, time) box = MORE(box, time)
#define trusted(m) (lease[m] > 0)

#ifdef CUTS
#define may_be_deaf(m) (faults > 0 && m == 0)
#else
#define may_be_deaf(m) false
#endif

// An answer that did not come: m does not know whether its script was executed.
inline deaf(m) { faults--; cut[m] = true; unsure[m] = true }

inline forget(m) {
  role[m] = UNKNOWN; left[m] = 0; dirty[m] = false; thinks_lost[m] = false; fence[m] = true; due[m] = false; consent[m] = false
}
// what m knows once it has read the entry's row and its slot
inline load(m, least) {
  role[m] = OWNER; fence[m] = true; thinks_lost[m] = lost; consent[m] = false; due[m] = false;
  if
  :: lost -> left[m] = 0; dirty[m] = false
  :: else ->
     left[m] = least;
     latest(left[m], stored);
#ifndef PLANT_FORGETS_SHADOW
     latest(left[m], TIMEOUT - heard[m]);
#endif
     left[m] = left[m] + SETTLE;
     dirty[m] = (left[m] > stored + SETTLE)
  fi;
  if
  :: lost && heard[m] < TIMEOUT -> dirty[m] = true
  :: else
  fi
}

inline take(m, age) {
  if
  :: age < TIMEOUT ->
     newest(heard[m], age);
     dirty[m] = true;
     if
     :: !thinks_lost[m] -> latest(left[m], TIMEOUT + SETTLE - age)
     :: else
     fi
  :: else
  fi
}

inline tell_loss() {
  assert(!told_last);                                                   // ONCE
  assert(!(alive && streak == STEADY));                                    // SAFE
  assert(took == NO_BEAT || (gap && streak < STEADY && stored == 0));      // SAFE
  lost = true; told_last = true; stored = 0
}
inline tell_recovery(m) {
  assert(told_last);                                                    // ONCE
  lost = false; told_last = false; stored = TIMEOUT - heard[m]
}

// -- steps
inline renew(m) {
  if
  :: cut[m]
  :: else ->
     if
     :: lease[m] == 0 || unsure[m] ->
        lease[m] = LEASE;
        unsure[m] = false;
#ifndef PLANT_GOES_ON
        if
        :: own == m && role[m] == OWNER -> thinks_lost[m] = lost; fence[m] = true
        :: own == m && role[m] != OWNER -> load(m, 0)
        :: own != m -> forget(m)
        fi;
#endif
        moved[m] = false
     :: else ->
        lease[m] = LEASE;
        if
        :: moved[m] ->
           moved[m] = false;
#ifndef PLANT_DEAF_TO_MOVED
           if
           :: role[m] == OWNER && own != m ->
              forget(m); role[m] = SHADOW;
#ifndef PLANT_NO_HANDOVER_MOVED
              newest(inbox[other], heard[m])
#endif
           :: else
           fi
#endif
        :: else
        fi
     fi
  fi;
  due[m] = role[m] == OWNER && !thinks_lost[m] && left[m] == 0
}

inline hear(m) {
  if
  :: role[m] == OWNER && trusted(m) ->
     take(m, direct[m]); take(m, inbox[m]);
     if
     :: inbox[m] < TIMEOUT && direct[m] == NO_BEAT && role[other] == SHADOW && !thinks_lost[m] -> consent[other] = true   // its answer
     :: true
     fi
  :: role[m] == SHADOW && trusted(m) && inbox[m] == NO_BEAT ->
     newest(heard[m], direct[m]);
     newest(inbox[other], direct[m])
  :: else ->
     newest(heard[m], direct[m]); newest(heard[m], inbox[m]);
     if
     :: role[m] == SHADOW -> forget(m)
     :: else
     fi;
     if
     :: cut[m] || !trusted(m) ->
#ifndef PLANT_NO_RELAY
        if
        :: role[m] == OWNER -> newest(inbox[other], heard[m])
        :: else -> newest(inbox[other], direct[m])
        fi
#else
        skip
#endif
     :: else ->
        if
        :: heard[m] == NO_BEAT
        :: else ->
           if
           :: own == NOBODY && may_be_deaf(m) -> own = m; lost = false; stored = 0; deaf(m)
           :: own == NOBODY -> own = m; load(m, 0)
           :: own == m -> load(m, 0)
           :: own == other && lease[other] > 0 -> role[m] = SHADOW;
              if
              :: direct[m] < TIMEOUT || inbox[m] == NO_BEAT -> newest(inbox[other], heard[m])
              :: else
              fi
           :: own == other && lease[other] == 0 -> found_dead[m] = true
           fi
        fi
     fi
  fi;
  if
  :: direct[m] < took -> took = direct[m]; taker = m
  :: else
  fi;
  direct[m] = NO_BEAT; inbox[m] = NO_BEAT
}

inline write(m) {
  if
  :: cut[m]
  :: !cut[m] && (found_dead[m] || (role[m] == SHADOW && consent[m])) ->
     // MOVE
     if
#ifdef PLANT_BLIND_MOVE
     :: own == other && lease[m] > 0 ->
#else
     :: own == other && lease[m] > 0 && (lease[other] == 0 || consent[m]) ->
#endif
        own = m; moved[other] = true;
        if
        :: !lost -> stored = MORE(stored, TIMEOUT - heard[m])
        :: else
        fi;
        if
        :: may_be_deaf(m) -> deaf(m)
        :: true -> load(m, 0)
        fi
     :: else -> forget(m)
     fi
  :: !cut[m] && role[m] == OWNER && dirty[m] && thinks_lost[m] ->
     if
     :: own == m && lease[m] > 0 && fence[m] && lost ->
        if
        :: heard[m] < TIMEOUT -> tell_recovery(m);
           if
           :: may_be_deaf(m) -> deaf(m)
           :: true -> load(m, 0)
           fi
        :: else -> dirty[m] = false
        fi
     :: else -> forget(m)
     fi
  :: !cut[m] && role[m] == OWNER && dirty[m] && !thinks_lost[m] ->
     if
     :: !fence[m] -> forget(m)
     :: fence[m] && own == m && !lost -> stored = MORE(left[m] - SETTLE, 0); dirty[m] = false
     :: else -> dirty[m] = false
     fi
  :: else
  fi;
  found_dead[m] = false
}

inline verdict(m) {
  if
  :: cut[m]
  :: !cut[m] && due[m] ->
     if
     :: own == m && fence[m] && lease[m] > 0 && !lost && stored == 0 -> tell_loss();
        if
        :: may_be_deaf(m) -> deaf(m)
        :: true -> thinks_lost[m] = true; left[m] = 0; dirty[m] = dirty[m] && heard[m] < TIMEOUT
        fi
     :: own == m && fence[m] && lease[m] > 0 && !lost && stored > 0
     :: else -> forget(m)
     fi
  :: !cut[m] && !due[m] && role[m] != OWNER ->
     if
     :: own == other && lease[m] > 0 && lease[other] == 0 ->
        own = m; fence[other] = (role[other] != OWNER);
        if
        :: may_be_deaf(m) -> deaf(m)
        :: true -> load(m, COMEBACK)
        fi
     :: else
     fi
  :: else
  fi;
  due[m] = false
}

#ifdef SHOW
#define show(what, m) printf("=%d %d | own=%d stored=%d lost=%d lease=%d,%d | role=%d,%d left=%d,%d heard=%d,%d dirty=%d,%d direct=%d,%d inbox=%d,%d fence=%d,%d moved=%d,%d cons=%d,%d due=%d,%d cut=%d uns=%d | alive=%d sil=%d streak=%d gap=%d took=%d calm=%d f=%d\n", what, m, own, stored, lost, lease[0], lease[1], role[0], role[1], left[0], left[1], heard[0], heard[1], dirty[0], dirty[1], direct[0], direct[1], inbox[0], inbox[1], fence[0], fence[1], moved[0], moved[1], consent[0], consent[1], due[0], due[1], cut[0], unsure[0], alive, silence, streak, gap, took, calm, faults)
#else
#define show(what, m) skip
#endif
#define STEP(m, n) atomic { done[m] == n - 1 -> stopped[m] = false;

proctype monitor(byte m) {
  do
  :: STEP(m, 1) renew(m); done[m] = 1; show(1, m) }
  :: STEP(m, 2) hear(m); done[m] = 2; show(2, m) }
  :: STEP(m, 3) write(m); done[m] = 3; show(3, m) }
  :: STEP(m, 4) verdict(m); done[m] = 4; show(4, m) }
  od
}

inline beat(m) {
  if
  :: alive
  :: !alive && silence >= TIMEOUT -> streak = 0; gap = true
  :: !alive && silence < TIMEOUT -> streak = 0
  fi;
  alive = true; last = m; silence = 0; direct[m] = 0
}
#define may_beat (alive || silence >= TIMEOUT || !gap)

#ifdef STOPS
#define may_stop(m) (stopped[m] || faults > 0)
#else
#define may_stop(m) false
#endif

inline older(age) { age = LESS(age + 1, TIMEOUT) }
inline less(time) { time = MORE(time, 1) - 1 }
inline fall(m) {  // it is stopped
  if
  :: done[m] < 4 ->
     if
     :: !stopped[m] -> stopped[m] = true; faults--
     :: else
     fi;
     calm = 0;
     if
     :: taker == m -> took = NO_BEAT
     :: else
     fi
  :: else -> done[m] = 0
  fi;
  if
  :: cut[m] || lease[m] == 0 -> calm = 0
  :: else
  fi
}
inline pass(m) {
  less(lease[m]); less(left[m]); older(heard[m]); older(direct[m]); older(inbox[m])
}

proctype world() {
  do
#ifdef CUTS
  :: atomic { faults > 0 && !cut[0] -> faults--; cut[0] = true }
  :: atomic { cut[0] -> cut[0] = false }
#endif
  :: atomic { (done[0] == 4 || may_stop(0)) && (done[1] == 4 || may_stop(1)) && (done[0] == 4 || done[1] == 4) ->
       beaten = false;
       if
       :: may_beat -> beat(0); beaten = true    // late in this tick
       :: may_beat -> beat(1); beaten = true
       :: !(alive && silence >= INTERVAL) && !(alive && direct[last] < TIMEOUT && direct[last] >= 1)
       :: alive -> alive = false
       fi;
       assert(own == NOBODY || lost || silence <= SOON);                        // SOON
       assert(!(lost && alive && streak == STEADY));                               // RECOVERED
       fall(0); fall(1);
       assert(calm < SETTLE || took == NO_BEAT || took < SETTLE ||
              (own != NOBODY && role[own] == OWNER && !lost && left[own] >= TIMEOUT + SETTLE - took));    // KNOWN
       calm = LESS(calm + 1, SETTLE);
       pass(0); pass(1); less(stored); older(took);
       if
       :: took == NO_BEAT -> taker = 0
       :: else
       fi;
       silence++;
       if
       :: (own == NOBODY || lost) && silence > TIMEOUT -> silence = TIMEOUT
       :: else
       fi;
       streak = LESS(streak + 1, STEADY);
       if
       :: streak == STEADY -> gap = false
       :: else
       fi;
       if
       :: !beaten && may_beat -> beat(0)   // early in the next
       :: !beaten && may_beat -> beat(1)
       :: true
       fi;
       beaten = false;
       show(7, 0)
     }
  od
}

init { atomic { run monitor(0); run monitor(1); run world() } }

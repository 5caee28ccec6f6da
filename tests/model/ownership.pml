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
#define NO_BEAT (TIMEOUT + SETTLE)  // and a beat that is so old tells nothing
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
#ifdef PLANT_BLIND_ADOPT
bool saw_dead[2];
#endif
bool due[2];
bool unsure[2];
byte direct[2] = NO_BEAT;
byte inbox[2] = NO_BEAT;
byte done[2];
bool stopped[2];
bool cut[2];
byte faults = FAULTS;

// The agent.
#ifdef STEADY
byte silence = 0;    // since its last beat
byte last = 0;       // the monitor that it beat to
#elif defined(SOON)
byte silence = 0;
#else
bool excused = true; // since its newest beats it may be told as lost: there was a gap before them, and Redis does not know them yet
byte took = NO_BEAT; // the newest beat that a monitor took in time, and has not been stopped since
byte taker = 0;
byte calm = 0;       // for how long nothing has been wrong
#endif

#define LESS(a, b) ((a) < (b) -> (a) : (b))
#define MORE(a, b) ((a) > (b) -> (a) : (b))
#define newest(box, age) box = LESS(box, age)
#define latest(box, time) box = MORE(box, time)
#ifdef PLANT_NO_COMPARE
#define same true
#elif defined(PLANT_BLIND_FLUSH)
#define same (left[m] == 0 && stored == 0 && !foreign)
bool foreign = false;
#elif defined(PLANT_NO_ENTRY) || defined(PLANT_NO_PAGE)
#define same (left[m] == 0)
#elif defined(PLANT_NO_SETTLE) || defined(PLANT_SHORT_SETTLE)
#define same (left[m] <= early && stored == 0)
#else
#define same (left[m] == 0 && stored == 0)  // the slot has the deadline that was meant, and it has passed
#endif
#ifdef PLANT_NO_SETTLE
#define early SETTLE
#elif defined(PLANT_SHORT_SETTLE)
#define early PLANT_SHORT_SETTLE
#else
#define early 0
#endif
#ifdef PLANT_NO_ENTRY
#define mine(m) (fence[m])
#elif defined(PLANT_NO_PAGE)
#define mine(m) (own == m || !fence[m])
#else
#define mine(m) (own == m && fence[m])
#endif
#ifdef PLANT_NO_LEASE
#define leased(m) true
#else
#define leased(m) (lease[m] > 0)
#endif
#ifdef PLANT_CONSENT_LOST
#define consents(m) true
#else
#define consents(m) !thinks_lost[m]
#endif
#ifdef PLANT_TRUSTS_ITSELF
#define trusted(m) (role[m] == OWNER || lease[m] > 0)
#else
#define trusted(m) (lease[m] > 0)
#endif

#ifdef PLANT_TOLD_TWICE
#define fresh_loss true
#else
#define fresh_loss !lost
#endif
#ifdef CUTS
#define may_be_deaf(m) (faults > 0 && m == 0)
#else
#define may_be_deaf(m) false
#endif

// An answer that did not come: m does not know whether its script was executed.
#if defined(PLANT_SURE) || defined(PLANT_TOLD_TWICE)
inline deaf(m) { faults--; cut[m] = true }
#else
inline deaf(m) { faults--; cut[m] = true; unsure[m] = true }
#endif

inline forget(m) {
  role[m] = UNKNOWN; left[m] = 0; dirty[m] = false; thinks_lost[m] = false; fence[m] = true; due[m] = false; consent[m] = false
}
// what m knows once it has read the entry's row and its slot
inline load(m, least) {
  role[m] = OWNER; fence[m] = true; thinks_lost[m] = lost; consent[m] = false; due[m] = false;
  if
  :: lost -> left[m] = 0; dirty[m] = false
  :: else ->
     left[m] = MORE(stored, least) + SETTLE;
#ifndef PLANT_FORGETS_SHADOW
     latest(left[m], NO_BEAT - heard[m]);
#endif
     dirty[m] = (left[m] > stored + SETTLE)
  fi;
  if
  :: lost && heard[m] < TIMEOUT -> dirty[m] = true
  :: else
  fi
}

inline take(m, age) {
  if
  :: age < NO_BEAT ->
     newest(heard[m], age);
     dirty[m] = true;
     if
     :: !thinks_lost[m] -> latest(left[m], NO_BEAT - age)
     :: else
     fi
  :: else
  fi
}

inline tell_loss() {
  assert(!lost);                                            // ONCE
#ifdef STEADY
  assert(false);                                            // SAFE
#elif !defined(SOON)
  assert(took >= TIMEOUT || (excused && stored == 0));      // SAFE
#endif
  lost = true; stored = 0
}
inline note_stored() {
#if !defined(STEADY) && !defined(SOON)
  excused = excused && stored == 0
#else
  skip
#endif
}
inline tell_recovery(m) {
  assert(lost);                                             // ONCE
  lost = false; stored = TIMEOUT - heard[m]; note_stored()
}

// -- steps
inline leave(m) {  // it was moved away: what m heard goes to its owner
  if
  :: role[m] == OWNER && own != m ->
#ifdef PLANT_HANDS_OVER_UNWRITTEN
     was = dirty[m];
#endif
     forget(m); role[m] = SHADOW;
#ifndef PLANT_NO_HANDOVER_MOVED
#ifdef PLANT_HANDS_OVER_UNWRITTEN
     inbox[other] = (was == 0 -> inbox[other] : LESS(inbox[other], heard[m])); was = 0
#else
     newest(inbox[other], heard[m])
#endif
#endif
  :: else
  fi
}

inline renew(m) {
#ifdef PLANT_BLIND_ADOPT
  saw_dead[m] = lease[other] == 0;
#endif
  if
  :: cut[m] && !moved[m]
#ifdef PLANT_NO_CHANNEL
  :: cut[m] && moved[m]
#else
  :: cut[m] && moved[m] -> moved[m] = false; leave(m)  // it was told over the internal channel
#endif
  :: else ->
     if
     :: lease[m] == 0 || unsure[m] ->
        lease[m] = LEASE;
        unsure[m] = false;
#ifndef PLANT_GOES_ON
        if
        :: own == m && role[m] == OWNER -> was = left[m]; load(m, 0); latest(left[m], (lost -> 0 : was)); was = 0
        :: own == m && role[m] != OWNER -> load(m, 0)
        :: own != m -> forget(m)
#ifdef PLANT_NO_HANDOVER
           ; heard[m] = NO_BEAT
#endif
        fi;
#endif
        moved[m] = false
     :: else ->
        lease[m] = LEASE;
        if
        :: moved[m] ->
           moved[m] = false;
#ifndef PLANT_DEAF_TO_MOVED
           leave(m)
#endif
        :: else
        fi
     fi
  fi;
  due[m] = role[m] == OWNER && !thinks_lost[m] && left[m] <= early
}

inline hear(m) {
#ifdef PLANT_NO_AGE
  if
  :: inbox[m] < NO_BEAT -> inbox[m] = 0
  :: else
  fi;
#endif
  if
  :: role[m] == OWNER && trusted(m) ->
     take(m, direct[m]); take(m, inbox[m]);
     if
     :: inbox[m] < NO_BEAT && direct[m] == NO_BEAT && role[other] == SHADOW && consents(m) -> consent[other] = true   // its answer
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
        :: heard[m] < inbox[m] -> newest(inbox[other], heard[m])
        :: else
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
              :: heard[m] < inbox[m] -> newest(inbox[other], heard[m])
              :: else
              fi
           :: own == other && lease[other] == 0 -> found_dead[m] = true
#ifdef PLANT_TWO_CALLS
              ; own = NOBODY
#endif
           fi
        fi
     fi
  fi;
#if !defined(STEADY) && !defined(SOON)
  if
  :: direct[m] <= 1 && direct[m] < took -> took = direct[m]; taker = m
  :: else
  fi;
#endif
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
#ifdef PLANT_TWO_CALLS
     :: own == NOBODY || (own == other && lease[m] > 0 && (lease[other] == 0 || consent[m])) ->
#else
     :: own == other && lease[m] > 0 && (lease[other] == 0 || consent[m]) ->
#endif
#endif
        own = m; moved[other] = true;
        if
        :: !lost && stored + heard[m] < TIMEOUT -> stored = TIMEOUT - heard[m]; note_stored()
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
     :: mine(m) && leased(m) && lost ->
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
#ifdef PLANT_BLIND_FLUSH
     :: !fence[m] && own == other -> stored = MORE(left[m], SETTLE) - SETTLE; dirty[m] = false; foreign = true
#else
     :: !fence[m] -> forget(m)
#endif
     :: fence[m] && own == m && !lost ->
#ifdef PLANT_BLIND_FLUSH
        foreign = false;
#endif
        stored = MORE(left[m], SETTLE) - SETTLE; note_stored(); dirty[m] = false
     :: else -> dirty[m] = false
     fi
  :: else
  fi;
  found_dead[m] = false
}

inline verdict(m) {
#ifdef PLANT_CLOCK_LAST
  due[m] = role[m] == OWNER && !thinks_lost[m] && left[m] == 0;
#endif
  if
  :: cut[m]
  :: !cut[m] && due[m] ->
     if
     :: mine(m) && leased(m) && fresh_loss && same -> tell_loss();
        if
        :: may_be_deaf(m) -> deaf(m)
        :: true -> thinks_lost[m] = true; left[m] = 0; dirty[m] = dirty[m] && heard[m] < TIMEOUT
        fi
     :: mine(m) && leased(m) && fresh_loss && !same
     :: else -> forget(m)
     fi
  :: !cut[m] && !due[m] && role[m] != OWNER ->
     if
#ifdef PLANT_BLIND_ADOPT
     :: own == other && lease[m] > 0 && saw_dead[m] ->
#else
     :: own == other && lease[m] > 0 && lease[other] == 0 ->
#endif
        own = m; fence[other] = (role[other] != OWNER);
        if
        :: may_be_deaf(m) -> deaf(m)
#ifdef PLANT_NO_COMEBACK
        :: true -> load(m, 0)
#else
        :: true -> load(m, COMEBACK)
#endif
        fi
     :: else
     fi
  :: else
  fi;
  due[m] = false
}

#ifdef SHOW
#if defined(STEADY) || defined(SOON)
#define agent_1 silence
#define agent_2 0
#define agent_3 0
#else
#define agent_1 excused
#define agent_2 took
#define agent_3 calm
#endif
#define show(what, m) printf("=%d %d | own=%d stored=%d lost=%d lease=%d,%d | role=%d,%d left=%d,%d heard=%d,%d dirty=%d,%d direct=%d,%d inbox=%d,%d fence=%d,%d moved=%d,%d cons=%d,%d due=%d,%d cut=%d uns=%d stopped=%d,%d | sil/excused=%d took=%d calm=%d f=%d\n", what, m, own, stored, lost, lease[0], lease[1], role[0], role[1], left[0], left[1], heard[0], heard[1], dirty[0], dirty[1], direct[0], direct[1], inbox[0], inbox[1], fence[0], fence[1], moved[0], moved[1], consent[0], consent[1], due[0], due[1], cut[0], unsure[0], stopped[0], stopped[1], agent_1, agent_2, agent_3, faults)
#else
#define show(what, m) skip
#endif

#define DONE 3
#define STEP(m, n) atomic { done[m] == n - 1 -> stopped[m] = false;
#define END(m, n) done[m] = n; show(n, m) }

proctype monitor(byte m) {
  byte was;
  do
  :: STEP(m, 1) renew(m) END(m, 1)
  :: STEP(m, 2) hear(m) END(m, 2)
  :: STEP(m, 3) write(m); verdict(m) END(m, 3)
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
#if !defined(STEADY) && !defined(SOON)
     calm = 0;
     if
     :: taker == m && took < NO_BEAT -> took = NO_BEAT; excused = true
     :: else
     fi
#endif
  :: else -> done[m] = 0
  fi;
#if !defined(STEADY) && !defined(SOON)
  if
  :: cut[m] || unsure[m] || lease[m] <= 1 -> calm = 0  // its lease ends with this tick, or has ended
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
#if !defined(STEADY) && !defined(SOON)
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
       pass(0); pass(1); less(stored);
       show(7, 0)
     }
  od
}

init { atomic { run monitor(0); run monitor(1); run world() } }

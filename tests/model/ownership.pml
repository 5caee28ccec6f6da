// SPDX-License-Identifier: MIT
// Who owns an instance, as a design for many monitors on one Redis (monitor/cluster/README.md): two monitors, one instance, one agent.
//
// A monitor's round has three steps: it renews its lease and reads what was moved away (renew); it reads its sockets, counts or
// forwards beats, and looks up whose the instance is (hear); it moves, flushes, tells a recovery or a loss, or adopts (write, verdict).
// Each access to Redis is atomic. A round is to be over when time goes on; a monitor whose round is not is stopped, between any two
// steps, for any time (for good: a crash), and goes on where it was. A monitor may be cut off from Redis for any time, also just after a
// script was executed: then it does not know that. The agents' connections work, and those between the monitors, but for -DPARTS. At most FAULTS stops and cuts in
// all, one at a time. Times are relative, so that states repeat, and each run explores all of them without an end of time.
// Two monitors are alike, so the first fault is monitor 0's where there is one; cut off is only monitor 0.
//
// What must hold:
//   ONCE   losses and recoveries take turns.
//   SAFE   a loss is told only if no beat was sent in the timeout before it to a monitor that has taken it in time and not been stopped
//          since. After a real gap the loss may still be told as long as Redis does not know the beats after it.
//          STEADY: an agent that beats at least each INTERVAL, to any monitor that has answered its last beat, is never lost.
//   KNOWN  a beat that a monitor took, and has not been stopped since, is known to the owner SETTLE later, and the instance is not lost,
//          if meanwhile no monitor was stopped, cut off or without its lease.
//   SOON   a silent instance is told as lost within a bound, whoever is stopped or cut off.
//
// What is built in: -DSTOPS, -DCUTS: the faults. -DSTEADY: an agent without a gap; -DSOON=bound: the bound is checked; neither: an agent
// that beats as it likes, to which it likes, or not; SAFE and KNOWN. -DPLANT_...: a bug that has to be found.
//
// Abstracted: a page is the slot of one instance; its key's fence, and the entry's generation, are whether they are still those that the
// monitor knows. Flushed each round: no slack in a stored deadline. Consent may be given with any forwarded beat, not after half a
// timeout. A monitor's own clock says of its lease what Redis says. RENEW and the reading of `own` after it, MOVE and its row
// are one step each; so are RESERVE and JOIN, but for -DRESERVES (ownership_more.pml). `moved` may have expired when a lease was gone: it is not read then. Not modelled: a third monitor,
// removals, pauses, settings, clocks that jump, a failover of Redis that loses writes, all of Redis unreachable.
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
#if !defined(STEADY) && !defined(SOON)
#define PAUSES
#endif

#define UNKNOWN 0
#define OWNER 1
#define SHADOW 2

#define other (1 - m)

// Redis.
byte own = NOBODY;       // whose page the entry is in
byte stored = 0;         // until the deadline in the slot
bool lost = false;       // in the row
byte lease[2] = LEASE;   // for how long it lives
bool moved[2];           // the entry is in its list
bool fence[2] = true;   // the key of the page that m thinks it has exists

// The monitors' memory.
byte role[2] = UNKNOWN;
byte left[2];              // until it asks for the loss: SETTLE after the deadline
byte heard[2] = NO_BEAT;   // the age of the newest beat that it heard
bool dirty[2];             // of the slot, or of the row after a loss
bool thinks_lost[2];
bool consent[2];           // the owner's, that it may move the instance
bool found_dead[2];        // the owner
#ifdef PLANT_BLIND_ADOPT
bool saw_dead[2];
#endif
bool due[2];               // it has decided to ask for the loss
bool unsure[2];            // an answer did not come
byte direct[2] = NO_BEAT;  // a beat in its socket
byte inbox[2] = NO_BEAT;   // the newest beat that the other monitor has sent
byte done[2];              // steps of its round
bool stopped[2];
bool cut[2];               // off from Redis
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
#include "ownership_plants.pml"

#ifdef CUTS
#define may_be_deaf(m) (faults > 0 && m == 0)
#else
#define may_be_deaf(m) false
#endif

#include "ownership_more.pml"
// An answer that did not come: m does not know whether its script was executed.
inline deaf(m) { faults--; cut[m] = true; unsure[m] = not_sure }

inline forget(m) {
  role[m] = UNKNOWN; left[m] = 0; dirty[m] = false; thinks_lost[m] = false; fence[m] = true; due[m] = false; consent[m] = false
}
// What m knows once it has read the entry's row and its slot
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
#elif defined(PAUSES)
  assert(took >= TIMEOUT || (excused && stored == 0));      // SAFE
#endif
  lost = true; stored = 0
}
inline note_stored() {
#ifdef PAUSES
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
     if
     :: was == 0
     :: else -> send(heard[m])
     fi; was = 0
#else
     send(heard[m])
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
  :: cut[m] && (!moved[m] || apart)
#ifdef PLANT_NO_CHANNEL
  :: cut[m] && moved[m] && !apart
#else
  :: cut[m] && moved[m] && !apart -> moved[m] = false; leave(m)  // it was told over the internal channel
#endif
  :: else ->
     if
     :: lease[m] == 0 || unsure[m] ->
        lease[m] = LEASE;
        unsure[m] = false;
#ifndef PLANT_GOES_ON
        if
        :: own == m && role[m] == OWNER -> was = left[m]; load(m, 0); latest(left[m], (lost -> 0 : was)); was = 0
        :: own == m && role[m] != OWNER && row -> load(m, 0)
        :: own != m || !row -> forget(m)
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
     :: inbox[m] < NO_BEAT && direct[m] == NO_BEAT && role[other] == SHADOW && !apart && consents(m) -> consent[other] = true   // its answer
     :: true
     fi
  :: role[m] == SHADOW && trusted(m) && inbox[m] == NO_BEAT ->
     newest(heard[m], direct[m]);
     send(direct[m]);
     look_away(m)
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
        :: heard[m] < inbox[m] -> send(heard[m])
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
           :: own == NOBODY -> own = m; reserved_by(m)
           :: own == m && row -> load(m, 0)
           :: own != NOBODY && !row -> look_again(m)
           :: own == other && row && lease[other] > 0 -> role[m] = SHADOW;
              if
              :: heard[m] < inbox[m] -> send(heard[m])
              :: else
              fi
           :: own == other && row && lease[other] == 0 -> found_dead[m] = true
#ifdef PLANT_TWO_CALLS
              ; own = NOBODY
#endif
           fi
        fi
     fi
  fi;
#ifdef PAUSES
  if
  :: direct[m] <= 1 && direct[m] < took -> took = direct[m]; taker = m
  :: else
  fi;
#endif
  direct[m] = NO_BEAT; inbox[m] = NO_BEAT
}

inline write(m) {
  if
  :: cut[m] -> not_joined(m)
  :: !cut[m] && joins(m) -> join(m)
  :: !cut[m] && (found_dead[m] || (role[m] == SHADOW && (consent[m] || takes(m)))) ->
     // MOVE
     if
#ifdef PLANT_TWO_CALLS
     :: own == NOBODY || (own == other && lease[m] > 0 && (lease[other] == 0 || consent[m])) ->
#else
     :: own == other && lease[m] > 0 && (lease[other] == 0 || consent[m] || takes(m)) ->
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
  found_dead[m] = false;
  took_away(m)
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
        :: row -> load(m, COMEBACK)
        :: !row
#endif
        fi
     :: else
     fi
  :: else
  fi;
  due[m] = false
}

#include "ownership_world.pml"

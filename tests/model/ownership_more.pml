// SPDX-License-Identifier: MIT
// Parts of the design that only some worlds have.
// -DPARTS: the channel between the monitors may be cut while both live.
// -DRESERVES: an entry is made by one call, RESERVE, and its row by another one, CHANGE; RECLAIM is for those whose row never came. With
// -DSTEADY. What must hold:
//   JOINS  an agent that beats is in a row within a bound.
//   FAIR   nobody takes the name of a monitor that runs, and has just reserved it.

#ifdef PARTS
// The channel. What is not acknowledged waits for the next connection.
byte apart = 0;              // 1: it was just cut, 2: both have found that the other one is away
byte held[2] = NO_BEAT;      // the newest beat that waits
bool takes_away[2];          // it has looked at the entry, and takes it without consent
#ifndef AWAY_LEFT
#define AWAY_LEFT 1          // of TIMEOUT, in place of 0.55: there is no slack in a stored deadline
#endif
#define takes(m) takes_away[m]

inline send(age) {
  if
  :: apart -> newest(held[m], age)
  :: else -> newest(inbox[other], age)
  fi
}
// The owner is away: it lives, but what m hears does not reach it.
inline look_away(m) {
#ifndef PLANT_NOT_AWAY
  takes_away[m] = apart == 2 && own == other && lease[other] > 0 && heard[m] < TIMEOUT &&
    (lost || (stored <= AWAY_LEFT && stored + heard[m] < TIMEOUT))
#else
  skip
#endif
}
inline took_away(m) { takes_away[m] = false }
inline meet() {
  older(held[0]); older(held[1]);
  if
  :: apart -> apart = 2
  :: apart ->
     apart = 0;
#ifndef PLANT_HELD_LOST
     newest(inbox[1], held[0]); newest(inbox[0], held[1]);
#endif
     held[0] = NO_BEAT; held[1] = NO_BEAT
  :: else
  fi
}
#else
#define apart false
#define takes(m) false
#define send(age) newest(inbox[other], age)
inline look_away(m) { skip }
inline took_away(m) { skip }
inline meet() { skip }
#endif

#ifdef RESERVES
#ifndef GONE
#define GONE 1          // for how many rounds m has seen an entry without a row before it may RECLAIM it, in place of a second
#endif
bool row = false;
byte reserved[2];       // m is to write the row: 1: of an entry that it has found, 2: that it has just made
byte gone[2];
byte unjoined = 0;      // for how long the agent has beaten without a row
#define joins(m) (reserved[m] > 0)
#ifdef PLANT_RECLAIMS_AT_ONCE
#define may_reclaim(m) true
#else
#define may_reclaim(m) (lease[other] == 0 || gone[m] >= GONE)
#endif

inline reserved_by(m) { reserved[m] = 2 }
inline not_joined(m) { reserved[m] = 0 }
inline look_again(m) {
  if
#ifdef PLANT_FORGETS_RESERVED
  :: own == m
#else
  :: own == m -> reserved[m] = 1
#endif
  :: own == other && may_reclaim(m) ->
     assert(lease[other] == 0 || reserved[other] < 2 || stopped[other]);   // FAIR
     own = m; reserved[m] = 1; gone[m] = 0
  :: else -> gone[m] = LESS(gone[m] + 1, GONE)
  fi
}
inline join(m) {
  reserved[m] = 0; gone[m] = 0;
  if
  :: mine(m) && leased(m) && !row ->
     row = true; lost = false; stored = MORE(TIMEOUT, heard[m]) - heard[m];
     if
     :: may_be_deaf(m) -> deaf(m)
     :: true -> load(m, 0)
     fi
  :: else -> forget(m)
  fi
}
inline joined() {
  if
  :: row -> unjoined = 0; gone[0] = 0; gone[1] = 0
  :: own == NOBODY
  :: else -> unjoined++
  fi;
  assert(unjoined <= RESERVES)   // JOINS
}
#else
#define row true
#define joins(m) false
inline reserved_by(m) { load(m, 0) }
inline not_joined(m) { skip }
inline look_again(m) { skip }
inline join(m) { skip }
inline joined() { skip }
#endif

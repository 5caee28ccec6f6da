// SPDX-License-Identifier: MIT
// Parts of the design that only some worlds have: with -DPARTS the channel between the monitors may be cut while both live.

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

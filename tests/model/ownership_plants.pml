// SPDX-License-Identifier: MIT
// Checks of ownership.pml as they should be, and as an implementer might get them wrong.

#ifdef PLANT_NO_COMPARE
#define same true
#elif defined(PLANT_BLIND_FLUSH)
#define same (left[m] == 0 && stored == 0 && !foreign)
bool foreign = false;
#elif defined(PLANT_NO_ENTRY)
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
#if defined(PLANT_SURE) || defined(PLANT_TOLD_TWICE)
#define not_sure false
#else
#define not_sure true
#endif

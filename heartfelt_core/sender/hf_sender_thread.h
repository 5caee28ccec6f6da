// SPDX-License-Identifier: MIT
// The sender's thread, as hf_sender.c knows it.
#ifndef HF_SENDER_THREAD_H
#define HF_SENDER_THREAD_H

#include "hf_sender.h"

// Runs until the last line has ended; argument: the sender.
void hf_sender_run(void *argument);
// One owner less; the last one frees the line.
void hf_sender_drop_owner(hf_sender_line *line);

#endif

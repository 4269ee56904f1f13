// The scheduler: runs a grid of CUDA threads on one OS thread, in an order that can be chosen.
//
// Blocks run one after another. A CUDA thread gives way only where it has to wait, at a barrier
// or at an exchange within its warp; one that never waits runs from end to end, and the next one
// follows on the same stack, so kernels without barriers cost no switch at all.
//
// One OS thread is enough to find what goes wrong between CUDA threads: a read that needs a
// barrier sees NaN in one order or another, since shared memory is filled with 0xFF before each
// block; and ThreadSanitizer, told that each CUDA thread is a thread and that only barriers order
// them, reports such a read in every order.
#pragma once

#include "meetings.h"

namespace host {

RUNTIME static void run_next_thread() {
    const int number = block.order[block.started++];
    block.current->thread = number;
    block.thread[number].fibre = block.current;
    threadIdx = block.thread[number].index;
    learn(&block.begin);
    launched.call(launched.arguments);
    publish(&block.end);
    ++block.finished;
}

// Where every fibre begins. For ThreadSanitizer a fibre is a thread, so it runs no other CUDA
// thread of the same block and is spent until the next; else it runs one after the other until
// one waits.
RUNTIME static void run_threads() {
    complete_first_switch();
    for (;;) {
        do {
            run_next_thread();
        } while (!thread_sanitizer && block.started < block.size);
        (thread_sanitizer ? block.spent[block.spent_count++] : block.idle[block.idle_count++]) =
            block.current;
        go_to_scheduler();
    }
}

RUNTIME static void start_a_thread() {
    block.current = block.idle_count ? block.idle[--block.idle_count] : new_fibre(run_threads);
    begin_watching(*block.current);
    switch_to(*block.current);
}

RUNTIME static void swap(int& a, int& b) {
    const int kept = a;
    a = b;
    b = kept;
}

RUNTIME static void resume_a_thread() {
    int* ring = block.ready;
    const int head = block.ready_first;
    if (launched.order == random_order) {
        swap(ring[head], ring[(head + random_below(block.ready_count)) % max_threads]);
    }
    const Thread& thread = block.thread[ring[head]];
    block.ready_first = (head + 1) % max_threads;
    --block.ready_count;
    block.current = thread.fibre;
    threadIdx = thread.index;
    switch_to(*block.current);
}

// Counts the threads that wait where a thread waits, and makes them wait nowhere.
RUNTIME static int count_with(const Thread& one) {
    const Meeting meeting = one.meeting;
    const Place place = one.place;
    int count = 0;
    for (int i = 0; i < block.size; ++i) {
        Thread& other = block.thread[i];
        if (other.meeting != meeting || !(other.place == place)) continue;
        other.meeting = nowhere;
        ++count;
    }
    return count;
}

// "16 of 64 threads waiting at the barrier of line 160 of x.cu, 48 exited"
RUNTIME static void report_stuck() {
    char* end = block.error;
    const char* const limit = end + sizeof block.error / 2;  // names of files may be long
    for (int i = 0; i < block.size && end < limit; ++i) {
        const Thread& one = block.thread[i];
        if (one.meeting == nowhere) continue;
        const char* kind = one.meeting == at_barrier ? "barrier" : "warp function";
        end += snprintf(end, sizeof block.error / 4, "%d of %d threads waiting at the %s of line "
            "%d of %.100s, ", count_with(one), block.size, kind, one.place.line, one.place.file);
    }
    snprintf(end, sizeof block.error / 4, "%d exited", block.finished);
}

// Not by memset: sanitizers would see a write to the red zones between the arrays.
__attribute__((no_sanitize("address", "thread"))) RUNTIME static void fill_with_nan(
    char* memory, size_t bytes) {
#if HOST_ASAN || HOST_TSAN
    for (volatile char* p = memory; bytes > 0; --bytes) *p++ = static_cast<char>(0xFF);
#else
    memset(memory, 0xFF, bytes);
#endif
}

RUNTIME static void prepare_block() {
    while (block.spent_count > 0) block.idle[block.idle_count++] = block.spent[--block.spent_count];
    block.started = block.finished = block.at_barrier = block.votes = 0;
    block.ready_first = block.ready_count = 0;
    memset(block.lanes_waiting, 0, sizeof block.lanes_waiting);
    for (int i = 0; i < block.size; ++i) block.thread[i].meeting = nowhere;
    for (int i = block.size - 1; i > 0 && launched.order == random_order; --i) {
        swap(block.order[i], block.order[random_below(i + 1)]);
    }
    fill_with_nan(host_shared_begin, host_shared_end - host_shared_begin);
    fill_with_nan(dynamic_memory, launched.dynamic_bytes);
}

// After a failure: the fibres of threads that have not ended are abandoned with their stacks,
// for nothing can unwind them. What they did is over before the next block begins.
RUNTIME static void abandon_block() {
    for (int i = 0; i < block.size; ++i) learn(&block.thread[i].arrived);
    learn(&block.end);
}

// Returns whether all threads came to an end.
RUNTIME static bool run_block() {
    Unwatched own_bookkeeping;
    prepare_block();
    publish(&block.begin);
    while (block.finished < block.size) {
        const bool some_to_start = block.started < block.size, some_ready = block.ready_count > 0;
        const bool rather_resume = launched.order == random_order && some_ready && random_below(2);
        if (some_to_start && !rather_resume) {
            start_a_thread();
        } else if (some_ready) {
            resume_a_thread();
        } else {
            report_stuck();
        }
        if (block.error[0]) {
            abandon_block();
            return false;
        }
    }
    learn(&block.end);
    return true;
}

}  // namespace host

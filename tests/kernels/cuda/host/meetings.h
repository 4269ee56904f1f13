// A block of CUDA threads, and what a thread does where it has to wait for others.
#pragma once

#include "switching.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// `used` keeps the compiler from thinking that it sees every write to a variable.
#define HOST_SHARED_BY_THREADS __attribute__((used))

static uint3 threadIdx HOST_SHARED_BY_THREADS, blockIdx HOST_SHARED_BY_THREADS;
static dim3 blockDim HOST_SHARED_BY_THREADS, gridDim HOST_SHARED_BY_THREADS;
static const int warpSize = 32;

// Both ends of the __shared__ arrays, given by the linker: see shared.ld.
extern "C" __attribute__((visibility("hidden"))) char host_shared_begin[], host_shared_end[];

namespace host {

constexpr int warp_size = 32;
constexpr int max_threads = 1024;          // of a block
constexpr size_t max_dynamic = 227 << 10;  // bytes of shared memory; those of sm_90

enum Order { forward, reverse, random_order };
enum Meeting { nowhere, at_barrier, at_warp_function };

// A line of the .cu file. As a default argument, here() is the line of the caller.
struct Place {
    const char* file;
    int line;
};

constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
}

RUNTIME static bool operator==(Place a, Place b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

// What a lane brings to a meeting of its warp, and what is done with it there. The last lane to
// arrive calls the function once, for all; lanes outside the mask bring null.
using Deliver = void (*)(void* const* messages);

struct Thread {
    uint3 index;
    Fibre* fibre;     // the stack it runs on
    Meeting meeting;  // where it waits, and the line of that
    Place place;
    unsigned mask;  // lanes that meet
    void* message;
    char arrived, woken;  // only their addresses matter, to ThreadSanitizer
};

static struct {
    int size, started, finished;  // threads
    int at_barrier, votes, vote_result;
    Place barrier;                                    // where those at_barrier wait
    unsigned lanes_waiting[max_threads / warp_size];  // per warp, those at a warp function
    int order[max_threads];                           // who begins, or leaves a barrier, first
    Thread thread[max_threads];
    int ready[max_threads], ready_first, ready_count;  // ring of threads that may go on
    Fibre* idle[max_threads];                          // fibres without a thread
    int idle_count;
    Fibre* spent[max_threads];                         // idle again from the next block on
    int spent_count;
    Fibre* current;
    char error[512];
    char begin, end;  // for ThreadSanitizer
} block;

static struct {
    Order order;
    uint64_t random_state;
    void (*call)(void** arguments);
    void** arguments;
    size_t dynamic_bytes;
} launched;

alignas(1024) static char dynamic_memory[max_dynamic] HOST_SHARED_BY_THREADS;

static inline void* dynamic_shared() { return dynamic_memory; }

RUNTIME static uint64_t random_below(uint64_t limit) {  // xorshift64*
    uint64_t& x = launched.random_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    return (x * 0x2545F4914F6CDD1Dull >> 11) % limit;
}

RUNTIME static Thread& self() { return block.thread[block.current->thread]; }
RUNTIME static int lane() { return block.current->thread % warp_size; }

// ---- what a CUDA thread does when it has to wait, or cannot go on

RUNTIME static void go_to_scheduler() { switch_to_scheduler(*block.current); }

// Gives up the block. Never returns: the fibre is left where it stands.
template <class... Values>
[[noreturn]] RUNTIME static void fail(const char* format, Values... values) {
    Unwatched own_bookkeeping;
    snprintf(block.error, sizeof block.error, format, values...);
    publish(&block.end);
    for (;;) go_to_scheduler();
}

RUNTIME static void make_ready(int number) {
    block.ready[(block.ready_first + block.ready_count++) % max_threads] = number;
}

RUNTIME static void wait_at(Meeting meeting, Place place) {
    self().meeting = meeting;
    self().place = place;
}

// The k-th thread of a group in the order of this launch.
RUNTIME static int in_order(int k, int size) {
    return launched.order == reverse ? size - 1 - k : k;
}

// What ThreadSanitizer learns of a meeting: all that its members did before it happened before
// all that they do after. Each member has two objects of its own. With one object for all, a
// fast member would publish what it does after the meeting before a slow one has learnt what was
// done before it, and a write that follows a read without a barrier would pass unseen.
RUNTIME static void order_members(const int* members, int count) {
    if (!thread_sanitizer) return;
    for (int k = 0; k < count; ++k) learn(&block.thread[members[k]].arrived);
    for (int k = 0; k < count; ++k) publish(&block.thread[members[k]].woken);
}

RUNTIME static void open_barrier() {
    order_members(block.order, block.size);
    for (int k = 0; k < block.size; ++k) {
        block.thread[block.order[k]].meeting = nowhere;
        make_ready(block.order[k]);
    }
    block.at_barrier = 0;
    block.vote_result = block.votes;
    block.votes = 0;
}

// __syncthreads(); returns how many threads of the block voted.
RUNTIME static int meet_block(bool vote, Place place) {
    Unwatched own_bookkeeping;
    Thread& me = self();
    if (block.at_barrier == 0) block.barrier = place;
    if (!(place == block.barrier)) {
        fail("a thread at the barrier of line %d of %s meets one at the barrier of line %d of %s",
            place.line, place.file, block.barrier.line, block.barrier.file);
    }
    wait_at(at_barrier, place);
    publish(&me.arrived);
    block.votes += vote;
    if (++block.at_barrier == block.size) open_barrier();
    go_to_scheduler();
    learn(&me.woken);
    return block.vote_result;
}

// All lanes of the mask are here: let them exchange what they brought, and wake them.
RUNTIME static void hold_warp_meeting(Thread* warp, unsigned mask, Deliver deliver) {
    void* messages[warp_size] = {};
    int members[warp_size], count = 0;
    for (int k = 0; k < warp_size; ++k) {
        const int l = in_order(k, warp_size);
        if (!(mask >> l & 1)) continue;
        if (warp[l].mask != self().mask || !(warp[l].place == self().place)) {
            fail("lanes meet with masks %08x at line %d of %s and %08x at line %d of %s",
                self().mask, self().place.line, self().place.file, warp[l].mask,
                warp[l].place.line, warp[l].place.file);
        }
        messages[l] = warp[l].message;
        members[count++] = static_cast<int>(warp - block.thread) + l;
    }
    order_members(members, count);
    if (deliver) deliver(messages);
    block.lanes_waiting[block.current->thread / warp_size] &= ~mask;
    for (int k = 0; k < count; ++k) {
        block.thread[members[k]].meeting = nowhere;
        if (&block.thread[members[k]] != &self()) make_ready(members[k]);
    }
}

// Waits for the lanes of the mask; the last one does not wait. Lanes that the block does not
// have are not waited for. Stricter than a GPU in that all lanes must be at the same line.
RUNTIME static void meet_warp(unsigned mask, void* message, Deliver deliver, Place place) {
    Unwatched own_bookkeeping;
    Thread& me = self();
    const int first = block.current->thread - lane(), present = block.size - first;
    const unsigned met = present < warp_size ? mask & ((1u << present) - 1) : mask;
    if (!(mask >> lane() & 1)) {
        fail("lane %d is not in its own mask %08x at line %d of %s", lane(), mask, place.line,
            place.file);
    }
    wait_at(at_warp_function, place);
    me.mask = mask;
    me.message = message;
    publish(&me.arrived);
    unsigned& waiting = block.lanes_waiting[first / warp_size];
    waiting |= 1u << lane();
    if ((waiting & met) == met) {
        hold_warp_meeting(block.thread + first, met, deliver);
    } else {
        go_to_scheduler();
    }
    learn(&me.woken);
}

}  // namespace host

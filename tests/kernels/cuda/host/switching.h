// How the one OS thread changes from stack to stack, in three builds.
//
// A CUDA thread that has to wait keeps its stack as it is, and another one continues on its own
// stack: a fibre. Without a sanitizer a change costs a _setjmp and a _longjmp, which stay out of
// the kernel of the operating system. Sanitizers must be told of every change, and dislike
// longjmp between stacks, so their builds use swapcontext.
#pragma once

#include <setjmp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define HOST_ASAN 1
#else
#define HOST_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
// Part of libtsan, in no header of g++.
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void* fibre, unsigned flags);
void __tsan_acquire(void* object);
void __tsan_release(void* object);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#define HOST_TSAN 1
// The runtime's own functions: ThreadSanitizer is to watch the kernels, not what runs them.
#define RUNTIME __attribute__((no_sanitize("thread")))
#else
#define HOST_TSAN 0
#define RUNTIME
#endif

namespace host {

#if HOST_TSAN

constexpr bool thread_sanitizer = true;

// To ThreadSanitizer, all that was done before `publish(object)` happened before whatever
// follows a later `learn(object)`. Nothing else orders two CUDA threads.
RUNTIME static void publish(void* object) { __tsan_release(object); }
RUNTIME static void learn(void* object) { __tsan_acquire(object); }

// While one of these lives, ThreadSanitizer looks away: the library functions the runtime calls
// (memset, snprintf, ...) are watched whatever RUNTIME says.
struct Unwatched {
    RUNTIME Unwatched() {
        AnnotateIgnoreReadsBegin("", 0);
        AnnotateIgnoreWritesBegin("", 0);
    }
    RUNTIME ~Unwatched() {
        AnnotateIgnoreWritesEnd("", 0);
        AnnotateIgnoreReadsEnd("", 0);
    }
};

#else

constexpr bool thread_sanitizer = false;
static inline void publish(void*) {}
static inline void learn(void*) {}
struct Unwatched {
    Unwatched() {}  // not trivial, lest the variable count as unused
};

#endif

constexpr size_t page_bytes = 4096;
constexpr size_t stack_bytes = (HOST_ASAN ? 256 : 64) << 10;  // red zones make frames larger

struct Fibre {
    ucontext_t context;          // how it starts; with sanitizers also where it waits
    jmp_buf resume_point;        // where it waits, without sanitizers
    bool entered = false;        // it has run before, so there is a resume_point
    char* stack = nullptr;       // lowest address
    int thread = -1;             // number of the CUDA thread that runs on it
    void* fake_stack = nullptr;  // AddressSanitizer's, kept while the fibre waits
    void* tsan_fibre = nullptr;  // what ThreadSanitizer takes for a thread
};

// The scheduler runs on the stack of whoever launched the kernel.
static struct {
    ucontext_t context;
    jmp_buf resume_point;
    const void* stack;
    size_t stack_size;
    void* tsan_fibre;
} scheduler;

// A new fibre with a stack of its own. A kernel that overruns the stack meets a page that may
// not be touched, rather than the neighbour's stack. Fibres are kept for ever and used again.
RUNTIME static Fibre* new_fibre(void (*entry)()) {
    Fibre* fibre = new Fibre;
    char* memory = static_cast<char*>(mmap(nullptr, page_bytes + stack_bytes,
        PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory == MAP_FAILED) __builtin_trap();
    mprotect(memory, page_bytes, PROT_NONE);
    fibre->stack = memory + page_bytes;
    getcontext(&fibre->context);
    fibre->context.uc_stack.ss_sp = fibre->stack;
    fibre->context.uc_stack.ss_size = stack_bytes;
    fibre->context.uc_link = nullptr;
    makecontext(&fibre->context, entry, 0);
    return fibre;
}

#if HOST_TSAN

// ThreadSanitizer bears some 8000 threads in a process and takes long to make one, so modules
// lend theirs to each other. They can, for g++ merges inline variables of all libraries of a
// process; that is why all others here are static.
struct TsanFibres {
    void* fibre[1024];
    int count;
};
inline TsanFibres tsan_idle;

// Has ThreadSanitizer take the fibre for a thread, for the time of a launch.
RUNTIME static void begin_watching(Fibre& fibre) {
    if (fibre.tsan_fibre) return;
    const bool lent = tsan_idle.count > 0;
    fibre.tsan_fibre = lent ? tsan_idle.fibre[--tsan_idle.count] : __tsan_create_fiber(0);
}

RUNTIME static void end_watching(Fibre& fibre) {
    if (!fibre.tsan_fibre || tsan_idle.count == 1024) return;
    tsan_idle.fibre[tsan_idle.count++] = fibre.tsan_fibre;
    fibre.tsan_fibre = nullptr;
}

#else

static void begin_watching(Fibre&) {}
static void end_watching(Fibre&) {}

#endif

#if HOST_ASAN

RUNTIME static void switch_to(Fibre& fibre) {
    void* fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, fibre.stack, stack_bytes);
    swapcontext(&scheduler.context, &fibre.context);
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

// The first thing to call on a new stack.
RUNTIME static void complete_first_switch() {
    __sanitizer_finish_switch_fiber(nullptr, &scheduler.stack, &scheduler.stack_size);
}

RUNTIME static void switch_to_scheduler(Fibre& fibre) {
    __sanitizer_start_switch_fiber(&fibre.fake_stack, scheduler.stack, scheduler.stack_size);
    swapcontext(&fibre.context, &scheduler.context);
    __sanitizer_finish_switch_fiber(
        fibre.fake_stack, &scheduler.stack, &scheduler.stack_size);
}

#elif HOST_TSAN

// By default ThreadSanitizer takes a switch for synchronisation, and no race would be left.
constexpr unsigned without_synchronisation = 1;

RUNTIME static void switch_to(Fibre& fibre) {
    scheduler.tsan_fibre = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fibre.tsan_fibre, without_synchronisation);
    swapcontext(&scheduler.context, &fibre.context);
}

RUNTIME static void complete_first_switch() {}

RUNTIME static void switch_to_scheduler(Fibre& fibre) {
    __tsan_switch_to_fiber(scheduler.tsan_fibre, without_synchronisation);
    swapcontext(&fibre.context, &scheduler.context);
}

#else

static void switch_to(Fibre& fibre) {
    if (_setjmp(scheduler.resume_point)) return;  // back from the fibre
    if (fibre.entered) _longjmp(fibre.resume_point, 1);
    fibre.entered = true;
    setcontext(&fibre.context);
}

static void complete_first_switch() {}

static void switch_to_scheduler(Fibre& fibre) {
    if (!_setjmp(fibre.resume_point)) _longjmp(scheduler.resume_point, 1);
}

#endif

}  // namespace host

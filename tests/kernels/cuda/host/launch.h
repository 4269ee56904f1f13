// From Python to a kernel: its signature as text, its call, and the walk over the grid.
#pragma once

#include "fibres.h"

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace host {

// The name NumPy has for a type; "struct" and its size for what it has no name for.
template <class T> std::string type_name() {
    if constexpr (std::is_pointer_v<T>) {
        using Element = std::remove_pointer_t<T>;
        const std::string constant = std::is_const_v<Element> ? "const " : "";
        return constant + type_name<std::remove_cv_t<Element>>() + "*";
    } else if constexpr (std::is_void_v<T>) {
        return "void";
    } else if constexpr (std::is_same_v<T, bool>) {
        return "bool";
    } else if constexpr (std::is_floating_point_v<T>) {
        return "float" + std::to_string(8 * sizeof(T));
    } else if constexpr (std::is_integral_v<T>) {
        return (std::is_signed_v<T> ? "int" : "uint") + std::to_string(8 * sizeof(T));
    } else {
        return "struct" + std::to_string(sizeof(T));
    }
}

template <class... Parameters> std::string signature(void (*)(Parameters...)) {
    std::string text;
    ((text += (text.empty() ? "" : ",") + type_name<Parameters>()), ...);
    return text;
}

template <class... Parameters, size_t... I>
void call(void (*kernel)(Parameters...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<Parameters*>(arguments[I])...);
}

template <class... Parameters> void call(void (*kernel)(Parameters...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<Parameters...>());
}

// What is beyond the dynamic shared memory of this launch may not be touched.
static void fence_dynamic_memory() {
    fill_with_nan(dynamic_memory, sizeof dynamic_memory);
#if HOST_ASAN
    const size_t used = launched.dynamic_bytes;
    ASAN_UNPOISON_MEMORY_REGION(dynamic_memory, sizeof dynamic_memory);
    ASAN_POISON_MEMORY_REGION(dynamic_memory + used, sizeof dynamic_memory - used);
#endif
}

static void number_threads() {
    block.size = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
    for (int i = 0; i < block.size; ++i) {
        const unsigned t = i, row = t / blockDim.x;
        block.thread[i].index = {t % blockDim.x, row % blockDim.y, row / blockDim.y};
        block.order[i] = in_order(i, block.size);
    }
}

static uint3 block_index(uint64_t number) {
    const uint64_t row = number / gridDim.x;
    return {unsigned(number % gridDim.x), unsigned(row % gridDim.y), unsigned(row / gridDim.y)};
}

// Blocks in the order of the launch; in random order they are shuffled.
static std::unique_ptr<uint64_t[]> order_blocks(uint64_t count) {
    std::unique_ptr<uint64_t[]> order(new uint64_t[count]);
    for (uint64_t i = 0; i < count; ++i) order[i] = launched.order == reverse ? count - 1 - i : i;
    for (uint64_t i = count; i > 1 && launched.order == random_order; --i) {
        std::swap(order[i - 1], order[random_below(i)]);
    }
    return order;
}

// Runs a grid. Returns null, or what went wrong in the block that `blockIdx` then names.
static const char* run_grid(void (*kernel)(void**), void** arguments, const unsigned* grid,
    const unsigned* threads, uint64_t dynamic_bytes, int order, uint64_t seed) {
    gridDim = dim3(grid[0], grid[1], grid[2]);
    blockDim = dim3(threads[0], threads[1], threads[2]);
    launched = {Order(order), (seed + 1) * 0x9E3779B97F4A7C15ull | 1, kernel, arguments,
        dynamic_bytes};
    block.error[0] = 0;
    number_threads();
    fence_dynamic_memory();
    const uint64_t count = uint64_t(grid[0]) * grid[1] * grid[2];
    const std::unique_ptr<uint64_t[]> blocks = order_blocks(count);
    bool right = true;
    for (uint64_t i = 0; i < count && right; ++i) {
        blockIdx = block_index(blocks[i]);
        right = run_block();
    }
    for (int i = 0; i < block.idle_count; ++i) end_watching(*block.idle[i]);
    for (int i = 0; i < block.spent_count; ++i) end_watching(*block.spent[i]);
    return right ? nullptr : block.error;
}

constexpr int first_of(int first, ...) { return first; }

}  // namespace host

extern "C" void host_block(unsigned* x_y_z) { memcpy(x_y_z, &blockIdx, sizeof blockIdx); }

// What Python calls, for one kernel. The last arguments are those of its __launch_bounds__.
#define HOST_EXPORT(kernel, ...)                                                                 \
    static void host_call_##kernel(void** arguments) { host::call(&kernel, arguments); }         \
    extern "C" const char* host_run_##kernel(void** arguments, const unsigned* grid,             \
        const unsigned* threads, uint64_t dynamic_bytes, int order, uint64_t seed) {             \
        return host::run_grid(                                                                   \
            host_call_##kernel, arguments, grid, threads, dynamic_bytes, order, seed);           \
    }                                                                                            \
    static const std::string host_text_##kernel = host::signature(&kernel);                      \
    extern "C" const char* host_signature_##kernel() { return host_text_##kernel.c_str(); }      \
    extern "C" int host_bound_##kernel() { return host::first_of(__VA_ARGS__); }

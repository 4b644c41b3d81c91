/*
 * The GPUs of the fake NVML: their shared state, time and physics, and what the tests control.
 *
 * A GPU is integrated in cells of 1 ms, in which its power is constant:
 *
 *   clock       = min(1, ((limit - idle) / dynamic) ^ (1/3)), times 0.6 while it is too hot
 *   power       = idle + leakage * (temperature - ambient) + dynamic * clock^3 * load, never above the limit
 *   work        grows by load * clock per second
 *   temperature tends to ambient + kelvin_per_watt * power
 *
 * The energy counter shows the true energy as it was at the last tick; power usage is the mean of the last second; the
 * ring of samples has the power at moments about 20 ms apart.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fake_nvml.h"

static const int64_t CELL_NS = 1000000000 / CELLS_PER_SECOND;
static const int SAMPLE_CELLS = 20;

struct world *world;

/* CLOCK_MONOTONIC, or the time that a test drives. */
int64_t now_ns(void) {
    int64_t driven = __atomic_load_n(&world->driven_ns, __ATOMIC_RELAXED);
    if (driven) return driven;
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Let time pass within a call: it costs no processor time, and none at all when a test drives it. */
void wait_ns(int64_t ns) {
    if (ns <= 0) return;
    if (__atomic_load_n(&world->driven_ns, __ATOMIC_RELAXED)) {
        __atomic_add_fetch(&world->driven_ns, ns, __ATOMIC_RELAXED);
    } else {
        struct timespec time = {ns / 1000000000, ns % 1000000000};
        nanosleep(&time, NULL);
    }
}

void lock_world(void) {
    /* A process may have been killed while holding it: at worst an integration is half done. */
    if (pthread_mutex_lock(&world->lock) == EOWNERDEAD) pthread_mutex_consistent(&world->lock);
}

void unlock_world(void) { pthread_mutex_unlock(&world->lock); }

/* Map the state file. Returns 0 on success, else an errno. */
int fake_open(const char *path) {
    if (world) return 0;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return errno;
    void *mapped = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return errno;
    world = mapped;
    return world->size == sizeof *world ? 0 : EINVAL;
}

int64_t fake_world_size(void) { return sizeof(struct world); }

void fake_forget(void) {
    if (world) munmap(world, sizeof *world);
    world = NULL;
}

void fake_create_lock(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&world->lock, &attributes);
    for (int i = 0; i < world->gpu_count; i++) world->gpus[i].begin_cell = world->gpus[i].cell = now_ns() / CELL_NS;
}

uint64_t random_bits(void) {
    uint64_t bits = world->random_state;
    bits ^= bits << 13;
    bits ^= bits >> 7;
    bits ^= bits << 17;
    return world->random_state = bits;
}

/* Scatter `range` values over numbers, always the same for the same number. */
static int64_t scatter(int64_t number, int64_t range) {
    uint64_t bits = (uint64_t)number * UINT64_C(0x9E3779B97F4A7C15);
    return (int64_t)((bits ^ bits >> 32) % (uint64_t)range);
}

static double clock_of(const struct gpu *gpu) {
    double clock = cbrt((gpu->limit_mw / 1000.0 - gpu->idle_watts) / gpu->dynamic_watts);
    if (clock > 1) clock = 1;
    return gpu->temperature_celsius > gpu->throttle_celsius ? 0.6 * clock : clock;
}

static double load_in(const struct gpu *gpu, int64_t cell) {
    if (!gpu->wave_period_cells) return gpu->load;
    int64_t at = cell % gpu->wave_period_cells, ramp = gpu->wave_ramp_cells;
    double part = at < gpu->wave_high_cells ? 1 : 0;
    if (ramp && at < ramp) part = (at + 0.5) / ramp;
    if (ramp && at >= gpu->wave_high_cells && at < gpu->wave_high_cells + ramp)
        part = 1 - (at - gpu->wave_high_cells + 0.5) / ramp;
    return gpu->load + part * (gpu->wave_load - gpu->load);
}

int is_busy(const struct gpu *gpu) { return gpu->load > 0 || gpu->wave_period_cells; }

static int is_tick(const struct gpu *gpu, int64_t cell) {
    int64_t late = gpu->tick_jitter_cells ? scatter((cell + gpu->tick_phase) / gpu->tick_cells, gpu->tick_jitter_cells) : 0;
    return (cell + gpu->tick_phase) % gpu->tick_cells == late;
}

void integrate(struct gpu *gpu) {
    const double seconds = 1.0 / CELLS_PER_SECOND;
    for (int64_t now = now_ns() / CELL_NS; gpu->cell < now; gpu->cell++) {
        double clock = clock_of(gpu), load = load_in(gpu, gpu->cell);
        double watts = gpu->idle_watts + gpu->dynamic_watts * clock * clock * clock * load +
                       gpu->leakage_watts_per_kelvin * (gpu->temperature_celsius - gpu->ambient_celsius);
        gpu->power_watts = fmin(watts, gpu->limit_mw / 1000.0);
        gpu->energy_joules += gpu->power_watts * seconds;
        gpu->work += load * clock * seconds;
        double target = gpu->ambient_celsius + gpu->kelvin_per_watt * gpu->power_watts;
        gpu->temperature_celsius += (target - gpu->temperature_celsius) * seconds / gpu->thermal_seconds;
        gpu->history_joules[(gpu->cell + 1) % HISTORY_CELLS] = gpu->energy_joules;
        if (is_tick(gpu, gpu->cell + 1)) gpu->counter_joules = gpu->energy_joules;
    }
}

/* The true energy at the begin of a cell of the last minute; it was idle before it was made. */
double joules_at_cell(const struct gpu *gpu, int64_t cell) {
    if (cell <= gpu->begin_cell) return gpu->idle_watts * (double)(cell - gpu->begin_cell) / CELLS_PER_SECOND;
    return gpu->history_joules[cell % HISTORY_CELLS];
}

/* The cell in which a power sample was taken; they are 17 to 23 ms apart. */
int64_t sample_cell(int64_t number) { return number * SAMPLE_CELLS + scatter(number, 4); }

/* What the wall clock showed in a cell. */
uint64_t wall_us(int64_t cell) {
    int64_t ns = cell * CELL_NS;
    int64_t offset_ns = ns < world->wall_set_ns ? world->old_wall_offset_ns : world->wall_offset_ns;
    return (uint64_t)(ns + offset_ns) / 1000;
}

/* For the tests: change the load from now on; read the true energy and work. */
void fake_set_load(int index, double load) {
    lock_world();
    struct gpu *gpu = &world->gpus[index];
    integrate(gpu);
    gpu->load = load;
    gpu->wave_period_cells = 0;
    unlock_world();
}

void fake_set_wave(int index, double low, double high, int64_t period_ms, int64_t high_ms, int64_t ramp_ms) {
    lock_world();
    struct gpu *gpu = &world->gpus[index];
    integrate(gpu);
    gpu->load = low, gpu->wave_load = high;
    gpu->wave_period_cells = period_ms, gpu->wave_high_cells = high_ms, gpu->wave_ramp_cells = ramp_ms;
    unlock_world();
}

void fake_set_limit(int index, uint32_t limit_mw) {
    lock_world();
    integrate(&world->gpus[index]);
    world->gpus[index].limit_mw = limit_mw;
    unlock_world();
}

/* Make the counter show that many joules more than it would. */
void fake_add_to_counter(int index, double joules) {
    lock_world();
    integrate(&world->gpus[index]);
    world->gpus[index].counter_offset_joules += joules;
    unlock_world();
}

/* Set the wall clock forward or back. */
void fake_set_wall(int64_t by_ns) {
    lock_world();
    world->old_wall_offset_ns = world->wall_offset_ns;
    world->wall_offset_ns += by_ns;
    world->wall_set_ns = now_ns();
    unlock_world();
}

/* Cancel the foreign change of fake.py's `foreign_at`. Returns 1 if it has already been made. */
int fake_end_foreign(void) {
    lock_world();
    int made = world->foreign_mw == 0;
    world->foreign_mw = 0;
    unlock_world();
    return made;
}

double fake_true_energy_joules(int index, int64_t ns) {
    lock_world();
    struct gpu *gpu = &world->gpus[index];
    integrate(gpu);
    int64_t cell = ns / CELL_NS;
    double fraction = (double)(ns % CELL_NS) / CELL_NS, joules = joules_at_cell(gpu, cell);
    double next = cell < gpu->cell ? joules_at_cell(gpu, cell + 1) : joules + gpu->power_watts / CELLS_PER_SECOND;
    unlock_world();
    return joules + fraction * (next - joules);
}

double fake_work(int index) {
    lock_world();
    integrate(&world->gpus[index]);
    double work = world->gpus[index].work;
    unlock_world();
    return work;
}

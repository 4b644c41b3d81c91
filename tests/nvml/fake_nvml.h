/* The state that all processes share through one file, and the codes of nvml.h that the fake knows. */
#ifndef FAKE_NVML_H
#define FAKE_NVML_H

#include <pthread.h>
#include <stdint.h>

/* HISTORY_CELLS is a power of two: the last 65 s of each GPU. */
enum { MAX_GPUS = 8, CELLS_PER_SECOND = 1000, HISTORY_CELLS = 65536, MAX_SETS = 256, QUANTILES = 5 };

/* The codes are those of nvml.h. */
enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    LIB_RM_VERSION_MISMATCH = 18,
    UNKNOWN = 999
};
enum { IDLE = 0x1, SW_POWER_CAP = 0x4, SW_THERMAL = 0x20 };
enum { TOTAL_POWER_SAMPLES = 0, VALUE_UNSIGNED_INT = 1, VALUE_UNSIGNED_LONG_LONG = 3 };
enum { FIELD_ENERGY = 83, FIELD_AVERAGE = 185, FIELD_INSTANT = 186, FIELD_LIMIT = 190 };
enum { SCOPE_GPU = 0, SCOPE_MODULE = 1 };
enum { VIRTUALIZATION_MODE_VGPU = 2 };

/* fake.py has the same names in the same order. A field is a call of its own, with faults of its own. */
enum call {
    GET_HANDLE,
    GET_UUID,
    GET_NAME,
    GET_LIMIT,
    SET_LIMIT,
    GET_CONSTRAINTS,
    GET_DEFAULT,
    GET_ENFORCED,
    GET_ENERGY,
    GET_POWER,
    GET_REASONS,
    GET_MIG,
    GET_SAMPLES,
    GET_INSTANT,
    GET_AVERAGE,
    GET_MODULE,
    CALLS
};

struct fault {
    int32_t error;
    int32_t skip;      /* calls that still succeed */
    int32_t count;     /* calls that fail after those; below 0: all */
    int32_t per_mille; /* of those calls, how many fail; 0: all */
    int32_t hang;      /* block every call while this is set */
    int64_t delay_microseconds;
};

/* How long a call takes: when idle, and the quantiles 0, 0.5, 0.9, 0.99 and 1 under load. */
struct latency {
    int64_t idle_microseconds, loaded_microseconds[QUANTILES];
};

struct gpu {
    char uuid[96], name[96];
    uint32_t min_mw, max_mw, default_mw, limit_mw, enforced_cap_mw;
    uint32_t rounding_mw; /* a limit is rounded down to a multiple of this; 0: not at all */
    int32_t forgets;      /* a limit is accepted and not set */
    int32_t broken; /* code that every call returns, such as GPU_IS_LOST; 0: none */
    int32_t mig, is_virtual, has_module;
    uint32_t forced_reasons;
    uint32_t set_count, sets_mw[MAX_SETS];
    int64_t tick_cells, tick_phase, tick_jitter_cells;
    int64_t begin_cell, cell;
    double load;
    /* The load rises from `load` to `wave_load` for `wave_high_cells` of each period, with ramps. */
    double wave_load;
    int64_t wave_period_cells, wave_high_cells, wave_ramp_cells;
    double idle_watts, dynamic_watts, leakage_watts_per_kelvin;
    double ambient_celsius, kelvin_per_watt, thermal_seconds, throttle_celsius;
    double temperature_celsius, energy_joules, counter_joules, counter_offset_joules, work, power_watts;
    int64_t calls[CALLS];
    struct fault faults[CALLS];
    struct latency latencies[CALLS];
    double history_joules[HISTORY_CELLS]; /* the true energy at the begin of each cell */
};

struct world {
    int64_t size;
    int32_t gpu_count;
    uint32_t admin_uid;
    int32_t driver_reloaded; /* every call, and init, returns LIB_RM_VERSION_MISMATCH */
    int32_t random_faults_per_mille;
    uint64_t random_state;
    int64_t driven_ns; /* the time, when a test drives it; 0: CLOCK_MONOTONIC */
    /* Wall time less CLOCK_MONOTONIC, now and before the wall clock was last set, at `wall_set_ns`. */
    int64_t wall_offset_ns, old_wall_offset_ns, wall_set_ns;
    int64_t steps;    /* steps of the agent's protocol so far, taken by processes that have FAKE_NVML_VICTIM set */
    int64_t die_at;   /* before this step ... */
    int32_t die_self; /* ... the process kills itself, if set, */
    int32_t die_pid;  /* ... and this one first, if not 0 */
    int64_t foreign_at;  /* at this step another process sets the first GPU's limit to foreign_mw, but never between */
    uint32_t foreign_mw; /* a read and a set: NVML has no compare-and-set that could notice it; 0: none, or done */
    struct gpu gpus[MAX_GPUS];
    pthread_mutex_t lock;
};

extern struct world *world;

int fake_open(const char *path);
void fake_forget(void);
void lock_world(void);
void unlock_world(void);
int64_t now_ns(void);
void wait_ns(int64_t ns);
uint64_t random_bits(void);
void integrate(struct gpu *gpu);
int is_busy(const struct gpu *gpu);
double joules_at_cell(const struct gpu *gpu, int64_t cell);
int64_t sample_cell(int64_t number);
uint64_t wall_us(int64_t cell);

#endif

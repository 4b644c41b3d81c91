/* The state that all processes share through one file, and the codes of nvml.h that the fake knows. */
#ifndef FAKE_NVML_H
#define FAKE_NVML_H

#include <pthread.h>
#include <stdint.h>

enum { MAX_GPUS = 8, CELLS_PER_SECOND = 100, MAX_SETS = 256 };

/* The codes are those of nvml.h. */
enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    LIB_RM_VERSION_MISMATCH = 18,
    UNKNOWN = 999
};
enum { IDLE = 0x1, SW_POWER_CAP = 0x4, SW_THERMAL = 0x20 };

/* fake.py has the same names in the same order. */
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
    CALLS
};

struct fault {
    int32_t error;
    int32_t skip;  /* calls that still succeed */
    int32_t count; /* calls that fail after those; below 0: all */
    int32_t hang;  /* block every call while this is set */
    int64_t delay_microseconds;
};

struct gpu {
    char uuid[96], name[96];
    uint32_t min_mw, max_mw, default_mw, limit_mw, enforced_cap_mw;
    uint32_t rounds_mw; /* a limit is rounded down to a multiple of this; 0: not at all */
    int32_t forgets;    /* a limit is accepted and not set */
    int32_t broken; /* code that every call returns, such as GPU_IS_LOST; 0: none */
    int32_t mig, without_counter;
    uint32_t forced_reasons;
    uint32_t set_count, sets_mw[MAX_SETS];
    int64_t tick_cells, tick_phase, cell;
    double load, idle_watts, dynamic_watts, leakage_watts_per_kelvin;
    double ambient_celsius, kelvin_per_watt, thermal_seconds, throttle_celsius;
    double temperature_celsius, energy_joules, counter_joules, work, power_watts;
    double powers[CELLS_PER_SECOND];
    int64_t calls[CALLS];
    struct fault faults[CALLS];
};

struct world {
    int64_t size;
    int32_t gpu_count;
    uint32_t admin_uid;
    int32_t driver_reloaded; /* every call, and init, returns LIB_RM_VERSION_MISMATCH */
    int32_t random_faults_per_mille;
    uint64_t random_state;
    int64_t driven_ns; /* the time, when a test drives it; 0: CLOCK_MONOTONIC */
    int64_t steps;    /* steps of the agent's protocol so far, taken by processes that have FAKE_NVML_VICTIM set */
    int64_t die_at;   /* before this step ... */
    int32_t die_self; /* ... the process kills itself, if set, */
    int32_t die_pid;  /* ... and this one first, if not 0 */
    int64_t foreign_at;  /* at this step another process sets the first GPU's limit to foreign_mw, but never between */
    uint32_t foreign_mw; /* a read and a set: NVML has no compare-and-set that could notice it; 0: none, or done */
    struct gpu gpus[MAX_GPUS];
    pthread_mutex_t lock;
};

#endif

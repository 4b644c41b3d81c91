/*
 * A libnvidia-ml.so.1 without GPUs, for tests. The real pynvml loads it.
 *
 * All processes that name the same file in FAKE_NVML_STATE see the same GPUs: the file holds `struct world`, mapped
 * shared. tests/nvml/fake.py mirrors the struct and controls it. Only what the agent calls is here; fake_gpu.c has the
 * GPUs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_nvml.h"

static int initialised;

void fake_close(void) {
    fake_forget();
    initialised = 0;
}

/* The GPU that this thread works on: the agent has a thread for each. */
static __thread const struct gpu *own_gpu;

/* Count one step of the protocol under test, and kill the processes that are to die before it. */
static void step(int before_set) {
    if (!getenv("FAKE_NVML_VICTIM")) return;
    if (!world && fake_open(getenv("FAKE_NVML_STATE"))) return;
    lock_world();
    int due = ++world->steps == world->die_at;
    /* Not from another GPU's thread: this GPU's own may be between its last read and its change. */
    int may_change = !before_set && (!own_gpu || own_gpu == &world->gpus[0]);
    if (world->foreign_mw && world->steps >= world->foreign_at && may_change) {
        integrate(&world->gpus[0]);
        world->gpus[0].limit_mw = world->foreign_mw;
        world->foreign_mw = 0;
    }
    unlock_world();
    if (!due) return;
    if (world->die_pid) kill(world->die_pid, SIGKILL);
    if (world->die_self) kill(getpid(), SIGKILL);
}

/* Writes to the ledger are steps, too, when this library is preloaded. */
int fsync(int file) {
    step(0);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int rename(const char *from, const char *to) {
    step(0);
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}

int unlink(const char *path) {
    step(0);
    return ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
}

static int happens(int per_mille) { return per_mille && (int)(random_bits() % 1000) < per_mille; }

/* Draw how long a call takes: its quantiles under load are interpolated. */
static int64_t draw_latency_ns(const struct gpu *gpu, enum call call) {
    static const double at[QUANTILES] = {0, 0.5, 0.9, 0.99, 1};
    const struct latency *latency = &gpu->latencies[call];
    if (!is_busy(gpu)) return latency->idle_microseconds * 1000;
    double part = (double)(random_bits() % 1000000) / 1000000;
    int i = 1;
    while (part > at[i]) i++;
    const int64_t *us = latency->loaded_microseconds;
    return (int64_t)(1000 * (us[i - 1] + (part - at[i - 1]) / (at[i] - at[i - 1]) * (us[i] - us[i - 1])));
}

/* What is left of the current call's latency after its value was read. */
static __thread int64_t rest_ns;

static int fail_with(const struct gpu *gpu, struct fault *fault) {
    if (gpu->broken) return gpu->broken;
    if (fault->error && fault->skip-- <= 0) {
        fault->skip = 0;
        int due = fault->count != 0 && (!fault->per_mille || happens(fault->per_mille));
        if (fault->count > 0) fault->count--;
        if (due) return fault->error;
    }
    return happens(world->random_faults_per_mille) ? UNKNOWN : SUCCESS;
}

static int leave(void) {
    unlock_world();
    wait_ns(rest_ns);
    return SUCCESS;
}

/* Enter a call on a GPU: wait and fail as the test has set, else integrate up to now and keep the lock. */
static int enter(struct gpu *gpu, enum call call) {
    if (!initialised) return UNINITIALIZED;
    if (world->driver_reloaded) return LIB_RM_VERSION_MISMATCH;
    own_gpu = gpu;
    if (call == GET_LIMIT || call == SET_LIMIT) step(call == SET_LIMIT);
    struct fault *fault = &gpu->faults[call];
    lock_world();
    gpu->calls[call]++;
    int64_t latency_ns = draw_latency_ns(gpu, call);
    /* The driver reads the value at some moment of the call. */
    int64_t before_ns = latency_ns ? (int64_t)(random_bits() % (uint64_t)latency_ns) : 0;
    int64_t delay_ns = 1000 * fault->delay_microseconds;
    unlock_world();
    rest_ns = latency_ns - before_ns;
    wait_ns(before_ns + delay_ns);
    while (*(volatile int32_t *)&fault->hang) usleep(1000);
    lock_world();
    int error = fail_with(gpu, fault);
    if (error) {
        leave();
    } else {
        integrate(gpu);
    }
    return error;
}

#define ENTER(call)                          \
    do {                                     \
        int error = enter(gpu, call);        \
        if (error != SUCCESS) return error;  \
    } while (0)

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    const char *path = getenv("FAKE_NVML_STATE");
    if (!path || fake_open(path)) return UNKNOWN;
    if (world->driver_reloaded) return LIB_RM_VERSION_MISMATCH;
    initialised++;
    return SUCCESS;
}

int nvmlShutdown(void) {
    if (!initialised) return UNINITIALIZED;
    initialised--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    (void)code;
    return "an error of the fake NVML";
}

int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    if (!initialised) return UNINITIALIZED;
    snprintf(version, length, "999.0.fake");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    if (!initialised) return UNINITIALIZED;
    *count = (unsigned int)world->gpu_count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct gpu **handle) {
    if (!initialised) return UNINITIALIZED;
    if (index >= (unsigned int)world->gpu_count) return INVALID_ARGUMENT;
    struct gpu *gpu = &world->gpus[index];
    ENTER(GET_HANDLE);
    *handle = gpu;
    return leave();
}

int nvmlDeviceGetUUID(struct gpu *gpu, char *uuid, unsigned int length) {
    ENTER(GET_UUID);
    snprintf(uuid, length, "%s", gpu->uuid);
    return leave();
}

int nvmlDeviceGetName(struct gpu *gpu, char *name, unsigned int length) {
    ENTER(GET_NAME);
    snprintf(name, length, "%s", gpu->name);
    return leave();
}

int nvmlDeviceGetPowerManagementLimit(struct gpu *gpu, unsigned int *limit_mw) {
    ENTER(GET_LIMIT);
    *limit_mw = gpu->limit_mw;
    return leave();
}

int nvmlDeviceSetPowerManagementLimit(struct gpu *gpu, unsigned int limit_mw) {
    ENTER(SET_LIMIT);
    int error = SUCCESS;
    if (geteuid() != world->admin_uid) {
        error = NO_PERMISSION;
    } else if (limit_mw < gpu->min_mw || limit_mw > gpu->max_mw) {
        error = INVALID_ARGUMENT;
    } else {
        uint32_t rounding_mw = gpu->rounding_mw ? gpu->rounding_mw : 1;
        if (!gpu->forgets) gpu->limit_mw = limit_mw / rounding_mw * rounding_mw;
        gpu->sets_mw[gpu->set_count++ % MAX_SETS] = limit_mw;
    }
    leave();
    return error;
}

int nvmlDeviceGetPowerManagementLimitConstraints(struct gpu *gpu, unsigned int *min_mw, unsigned int *max_mw) {
    ENTER(GET_CONSTRAINTS);
    *min_mw = gpu->min_mw;
    *max_mw = gpu->max_mw;
    return leave();
}

int nvmlDeviceGetPowerManagementDefaultLimit(struct gpu *gpu, unsigned int *limit_mw) {
    ENTER(GET_DEFAULT);
    *limit_mw = gpu->default_mw;
    return leave();
}

int nvmlDeviceGetEnforcedPowerLimit(struct gpu *gpu, unsigned int *limit_mw) {
    ENTER(GET_ENFORCED);
    int capped = gpu->enforced_cap_mw && gpu->enforced_cap_mw < gpu->limit_mw;
    *limit_mw = capped ? gpu->enforced_cap_mw : gpu->limit_mw;
    return leave();
}

int nvmlDeviceGetTotalEnergyConsumption(struct gpu *gpu, unsigned long long *energy_mj) {
    ENTER(GET_ENERGY);
    *energy_mj = (unsigned long long)((gpu->counter_joules + gpu->counter_offset_joules) * 1000);
    return leave();
}

/* The mean power of the last cells, in milliwatts. */
static unsigned int mean_mw(const struct gpu *gpu, int cells) {
    double joules = joules_at_cell(gpu, gpu->cell) - joules_at_cell(gpu, gpu->cell - cells);
    return (unsigned int)(1000 * joules * CELLS_PER_SECOND / cells);
}

int nvmlDeviceGetPowerUsage(struct gpu *gpu, unsigned int *power_mw) {
    ENTER(GET_POWER);
    *power_mw = mean_mw(gpu, CELLS_PER_SECOND);
    return leave();
}

union value {
    unsigned int uint;
    unsigned long long ullong;
};

struct sample {
    unsigned long long wall_us;
    union value value;
};

/* The ring of power samples: those after `since_us`, oldest first. The newest are not there yet. */
int nvmlDeviceGetSamples(struct gpu *gpu, unsigned int type, unsigned long long since_us, int *value_type,
                         unsigned int *count, struct sample *samples) {
    enum { RING = 119, BEHIND_CELLS = 8 };
    if (type != TOTAL_POWER_SAMPLES) return NOT_SUPPORTED;
    if (!samples) { /* the size of the buffer; the call with the buffer is the one that costs time */
        *count = RING;
        return initialised ? SUCCESS : UNINITIALIZED;
    }
    ENTER(GET_SAMPLES);
    int64_t last = gpu->cell / 20 + 1;
    while (sample_cell(last) > gpu->cell - BEHIND_CELLS) last--;
    unsigned int room = *count, found = 0;
    for (int64_t i = last - RING + 1; i <= last; i++) {
        int64_t cell = sample_cell(i);
        if (wall_us(cell) <= since_us || found == room) continue;
        double joules = joules_at_cell(gpu, cell + 1) - joules_at_cell(gpu, cell);
        samples[found].wall_us = wall_us(cell);
        samples[found++].value.uint = (unsigned int)(1000 * joules * CELLS_PER_SECOND);
    }
    *value_type = VALUE_UNSIGNED_INT;
    *count = found;
    leave();
    return found ? SUCCESS : NOT_FOUND;
}

struct field {
    unsigned int id, scope;
    long long timestamp, latency_us;
    int value_type, result;
    union value value;
};

static int read_field(struct gpu *gpu, struct field *field) {
    enum { MODULE_MW = 100000 }; /* what a module draws besides its GPU */
    unsigned int more_mw = field->scope == SCOPE_MODULE ? MODULE_MW : 0;
    if (field->scope > SCOPE_MODULE) return NOT_SUPPORTED;
    if (field->scope == SCOPE_MODULE) {
        ENTER(GET_MODULE);
        int missing = !gpu->has_module;
        leave();
        if (missing) return NOT_SUPPORTED;
    }
    field->value_type = VALUE_UNSIGNED_INT;
    switch (field->id) {
    case FIELD_ENERGY:
        field->value_type = VALUE_UNSIGNED_LONG_LONG;
        return nvmlDeviceGetTotalEnergyConsumption(gpu, &field->value.ullong);
    case FIELD_LIMIT: {
        int error = nvmlDeviceGetPowerManagementLimit(gpu, &field->value.uint);
        field->value.uint += more_mw;
        return error;
    }
    case FIELD_AVERAGE:
    case FIELD_INSTANT: {
        int instant = field->id == FIELD_INSTANT;
        ENTER(instant ? GET_INSTANT : GET_AVERAGE);
        field->value.uint = mean_mw(gpu, instant ? 1 : CELLS_PER_SECOND) + more_mw;
        return leave();
    }
    default:
        return NOT_SUPPORTED;
    }
}

int nvmlDeviceGetFieldValues(struct gpu *gpu, int count, struct field *fields) {
    if (!initialised) return UNINITIALIZED;
    for (int i = 0; i < count; i++) fields[i].result = read_field(gpu, &fields[i]);
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct gpu *gpu, unsigned long long *reasons) {
    ENTER(GET_REASONS);
    *reasons = gpu->forced_reasons;
    if (!is_busy(gpu)) *reasons |= IDLE;
    if (is_busy(gpu) && gpu->limit_mw / 1000.0 < gpu->idle_watts + gpu->dynamic_watts) *reasons |= SW_POWER_CAP;
    if (gpu->temperature_celsius > gpu->throttle_celsius) *reasons |= SW_THERMAL;
    return leave();
}

int nvmlDeviceGetMigMode(struct gpu *gpu, unsigned int *current, unsigned int *pending) {
    ENTER(GET_MIG);
    int supported = gpu->mig >= 0;
    *current = *pending = gpu->mig > 0;
    leave();
    return supported ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetVirtualizationMode(struct gpu *gpu, unsigned int *mode) {
    *mode = gpu->is_virtual ? VIRTUALIZATION_MODE_VGPU : 0;
    return SUCCESS;
}

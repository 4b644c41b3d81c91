/*
 * A libnvidia-ml.so.1 without GPUs, for tests. The real pynvml loads it.
 *
 * All processes that name the same file in FAKE_NVML_STATE see the same GPUs: the file holds `struct world`, mapped
 * shared. tests/nvml/fake.py mirrors the struct and controls it. Only what the agent calls is here.
 *
 * The GPU is integrated in cells of 10 ms, in which its power is constant:
 *
 *   clock       = min(1, ((limit - idle) / dynamic) ^ (1/3)), times 0.6 while it is too hot
 *   power       = idle + leakage * (temperature - ambient) + dynamic * clock^3 * load, never above the limit
 *   work        grows by load * clock per second
 *   temperature tends to ambient + kelvin_per_watt * power
 *
 * The energy counter shows the true energy as it was at the last tick; power usage is the mean of the last second.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fake_nvml.h"

static struct world *world;
static int initialised;

/* CLOCK_MONOTONIC, or the time that a test drives. */
static int64_t now_ns(void) {
    int64_t driven = __atomic_load_n(&world->driven_ns, __ATOMIC_RELAXED);
    if (driven) return driven;
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int64_t now_cell(double *fraction) {
    const int64_t cell_ns = 1000000000 / CELLS_PER_SECOND, now = now_ns();
    if (fraction) *fraction = (double)(now % cell_ns) / cell_ns;
    return now / cell_ns;
}

static void lock_world(void) {
    /* A process may have been killed while holding it: at worst an integration is half done. */
    if (pthread_mutex_lock(&world->lock) == EOWNERDEAD) pthread_mutex_consistent(&world->lock);
}

static void unlock_world(void) { pthread_mutex_unlock(&world->lock); }

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

void fake_close(void) {
    if (world) munmap(world, sizeof *world);
    world = NULL;
    initialised = 0;
}

void fake_create_lock(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&world->lock, &attributes);
    for (int i = 0; i < world->gpu_count; i++) world->gpus[i].cell = now_cell(NULL);
}

static double clock_of(const struct gpu *gpu) {
    double clock = cbrt((gpu->limit_mw / 1000.0 - gpu->idle_watts) / gpu->dynamic_watts);
    if (clock > 1) clock = 1;
    return gpu->temperature_celsius > gpu->throttle_celsius ? 0.6 * clock : clock;
}

static void integrate(struct gpu *gpu) {
    const double seconds = 1.0 / CELLS_PER_SECOND;
    for (int64_t now = now_cell(NULL); gpu->cell < now; gpu->cell++) {
        double clock = clock_of(gpu);
        double watts = gpu->idle_watts + gpu->dynamic_watts * clock * clock * clock * gpu->load +
                       gpu->leakage_watts_per_kelvin * (gpu->temperature_celsius - gpu->ambient_celsius);
        gpu->power_watts = fmin(watts, gpu->limit_mw / 1000.0);
        gpu->energy_joules += gpu->power_watts * seconds;
        gpu->work += gpu->load * clock * seconds;
        double target = gpu->ambient_celsius + gpu->kelvin_per_watt * gpu->power_watts;
        gpu->temperature_celsius += (target - gpu->temperature_celsius) * seconds / gpu->thermal_seconds;
        gpu->powers[gpu->cell % CELLS_PER_SECOND] = gpu->power_watts;
        if ((gpu->cell + 1 + gpu->tick_phase) % gpu->tick_cells == 0) gpu->counter_joules = gpu->energy_joules;
    }
}

/* For the tests: set the load from now on; read the true energy and work up to now. */
void fake_set_load(int index, double load) {
    lock_world();
    integrate(&world->gpus[index]);
    world->gpus[index].load = load;
    unlock_world();
}

void fake_set_limit(int index, uint32_t limit_mw) {
    lock_world();
    integrate(&world->gpus[index]);
    world->gpus[index].limit_mw = limit_mw;
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

double fake_true_energy_joules(int index) {
    double fraction;
    lock_world();
    integrate(&world->gpus[index]);
    now_cell(&fraction);
    double joules = world->gpus[index].energy_joules + world->gpus[index].power_watts * fraction / CELLS_PER_SECOND;
    unlock_world();
    return joules;
}

double fake_work(int index) {
    lock_world();
    integrate(&world->gpus[index]);
    double work = world->gpus[index].work;
    unlock_world();
    return work;
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

static int random_fault(void) {
    if (!world->random_faults_per_mille) return 0;
    uint64_t bits = world->random_state;
    bits ^= bits << 13;
    bits ^= bits >> 7;
    bits ^= bits << 17;
    world->random_state = bits;
    return (int)(bits % 1000) < world->random_faults_per_mille;
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
    int64_t delay = fault->delay_microseconds;
    unlock_world();
    if (delay) usleep((useconds_t)delay);
    while (*(volatile int32_t *)&fault->hang) usleep(1000);
    lock_world();
    int error = gpu->broken;
    if (!error && fault->error && fault->skip-- <= 0) {
        fault->skip = 0;
        if (fault->count) error = fault->error;
        if (fault->count > 0) fault->count--;
    }
    if (!error && random_fault()) error = UNKNOWN;
    if (!error) integrate(gpu);
    if (error) unlock_world();
    return error;
}

static int leave(void) {
    unlock_world();
    return SUCCESS;
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
        if (!gpu->forgets) gpu->limit_mw = gpu->rounds_mw ? limit_mw / gpu->rounds_mw * gpu->rounds_mw : limit_mw;
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
    int missing = gpu->without_counter;
    *energy_mj = (unsigned long long)(gpu->counter_joules * 1000);
    leave();
    return missing ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetPowerUsage(struct gpu *gpu, unsigned int *power_mw) {
    ENTER(GET_POWER);
    double sum = 0;
    for (int i = 0; i < CELLS_PER_SECOND; i++) sum += gpu->powers[i];
    *power_mw = (unsigned int)(1000 * sum / CELLS_PER_SECOND);
    return leave();
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct gpu *gpu, unsigned long long *reasons) {
    ENTER(GET_REASONS);
    *reasons = gpu->forced_reasons;
    if (gpu->load == 0) *reasons |= IDLE;
    if (gpu->load > 0 && gpu->limit_mw / 1000.0 < gpu->idle_watts + gpu->dynamic_watts) *reasons |= SW_POWER_CAP;
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

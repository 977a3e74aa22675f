/* NVIDIA's libraries as far as this project's programs use them, of one scripted GPU. One file is all three: it is built once
   and found under the names of the management library and the driver, and as an NVTX tool. Calls that change something are lines of
   the file that FAKE_NVIDIA_LOG names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int index; } Device;
static Device gpu = {0};

static void say(const char *what) {
    const char *path = getenv("FAKE_NVIDIA_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", what);
        fclose(file);
    }
}

static unsigned number(const char *name, unsigned otherwise) {
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* --- NVML --- */
enum { NO_PERMISSION = 4 };

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code ? "a scripted error" : "success"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    *device = &gpu;
    return index ? 2 : 0;
}
int nvmlDeviceGetUUID(Device *device, char *text, unsigned length) {
    snprintf(text, length, "GPU-fake");
    return 0;
}
int nvmlDeviceGetName(Device *device, char *text, unsigned length) {
    snprintf(text, length, "Fake GPU");
    return 0;
}
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
int nvmlDeviceGetMemoryInfo_v2(Device *device, Memory *memory) {
    memory->total = memory->free = 80ULL << 30;
    memory->reserved = memory->used = 0;
    return 0;
}
int nvmlDeviceGetMaxClockInfo(Device *device, int clock, unsigned *mhz) { *mhz = 1980; return 0; }
/* Samples are throttled by temperature (HW_THERMAL_SLOWDOWN) as often as FAKE_NVIDIA_THROTTLED says; then never again. */
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *reasons) {
    static unsigned asked = 0;
    *reasons = asked++ < number("FAKE_NVIDIA_THROTTLED", 0) ? 0x40 : 0;
    return 0;
}
int nvmlDeviceSetGpuLockedClocks(Device *device, unsigned least, unsigned most) {
    if (number("FAKE_NVIDIA_NO_PERMISSION", 0)) return NO_PERMISSION;
    char line[64];
    snprintf(line, sizeof line, "lock %x %x", least, most);
    say(line);
    return 0;
}
/* Says which process resets: the one that keeps the clocks, or another. */
int nvmlDeviceResetGpuLockedClocks(Device *device) {
    char command[512] = {0};
    FILE *file = fopen("/proc/self/cmdline", "r");
    size_t length = file ? fread(command, 1, sizeof command - 1, file) : 0;
    if (file) fclose(file);
    for (size_t place = 0; place < length; place++)
        if (!command[place]) command[place] = ' ';
    say(strstr(command, " __lock_gpu_clocks ") ? "reset by the keeper" : "reset by another");
    return 0;
}

/* --- CUDA's driver --- */
int cuProfilerStart(void) { say("cuProfilerStart"); return 0; }
int cuProfilerStop(void) { say("cuProfilerStop"); return 0; }

/* --- an NVTX tool, written after NVTX's own sample of one --- */
typedef void (*Function)(void);
typedef struct {
    size_t size;
    int (*get_module_function_table)(int module, Function ***table, unsigned *size);
} Callbacks;

static int push(const char *name) {
    char line[256];
    snprintf(line, sizeof line, "push %s", name);
    say(line);
    return 0;
}
static int pop(void) { say("pop"); return 0; }

int InitializeInjectionNvtx2(const void *(*get_export_table)(unsigned)) {
    const Callbacks *callbacks = get_export_table(1);
    Function **table = NULL;
    unsigned size = 0;
    if (!callbacks || callbacks->size < sizeof *callbacks) return 0;
    if (!callbacks->get_module_function_table(1, &table, &size) || size <= 11) return 0;
    *table[9] = (Function)push;
    *table[11] = (Function)pop;
    return 1;
}

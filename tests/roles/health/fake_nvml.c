/* A libnvidia-ml.so.1 for tests: answers from a file, $DSDEPLOY_FAKE_NVML or the one compiled in, with lines
 *
 *     count = 2
 *     driver = 580.95.05
 *     gpu0.name = NVIDIA H200
 *     gpu*.ecc.volatile.uncorrected = 0     what every GPU says that has no line of its own
 *     gpu1.* = error:15                     every question to it fails with this code (GPU is lost)
 *     gpu0.mig = error:3                    one question fails
 *
 * The file is read at each question. What has no line is not supported (3). The prototypes are NVML's own.
 * Compiled for a DRIVER (its version) it begins only beside the module of that version in memory, as the real one.
 * Nothing here was seen on hardware; it is what pynvml calls, and no more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ANSWERS
#define ANSWERS NULL
#endif
typedef int R;
typedef struct { int index; } Gpu;
static Gpu gpus[64];
enum { OK = 0, INVALID = 2, UNSUPPORTED = 3, TOO_SMALL = 7 };

/* The value behind `key = `, or 0. */
static int look(const char *key, char *out, size_t size) {
    const char *path = getenv("DSDEPLOY_FAKE_NVML") ? getenv("DSDEPLOY_FAKE_NVML") : ANSWERS;
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    int found = 0;
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        char *equals = strchr(line, '='), *end;
        if (!equals || line[0] == '#') continue;
        for (end = equals; end > line && end[-1] == ' '; end--) {}
        if ((size_t)(end - line) != strlen(key) || strncmp(line, key, strlen(key))) continue;
        for (equals++; *equals == ' '; equals++) {}
        equals[strcspn(equals, "\r\n")] = 0;
        snprintf(out, size, "%s", equals);
        found = 1;
    }
    fclose(file);
    return found;
}

static R code(const char *value) { return strncmp(value, "error:", 6) ? OK : atoi(value + 6); }

/* OK and the value, the error the file wants, or not supported. */
static R host(const char *key, char *out, size_t size) {
    return look(key, out, size) ? code(out) : UNSUPPORTED;
}

static R ask(Gpu *gpu, const char *key, char *out, size_t size) {
    char name[160];
    R said;
    snprintf(name, sizeof name, "gpu%d.*", gpu->index);
    if (look(name, out, size) && (said = code(out))) return said;
    snprintf(name, sizeof name, "gpu%d.%s", gpu->index, key);
    if (look(name, out, size)) return code(out);
    snprintf(name, sizeof name, "gpu*.%s", key);
    return look(name, out, size) ? code(out) : UNSUPPORTED;
}

static R whole(Gpu *gpu, const char *key, unsigned long long *out) {
    char value[256];
    R said = ask(gpu, key, value, sizeof value);
    if (!said) *out = strtoull(value, NULL, 0);
    return said;
}

static R small(Gpu *gpu, const char *key, unsigned *out) {
    unsigned long long value = 0;
    R said = whole(gpu, key, &value);
    if (!said) *out = (unsigned)value;
    return said;
}

static R words(R said, const char *value, char *out, unsigned size) {
    if (said) return said;
    if (strlen(value) >= size) return TOO_SMALL;
    strcpy(out, value);
    return OK;
}

#ifdef DRIVER
static R module(void) {
    char v[64] = "";
    FILE *file = fopen("/sys/module/nvidia/version", "r");
    if (!file) return 9;
    if (!fgets(v, sizeof v, file)) v[0] = 0;
    fclose(file);
    v[strcspn(v, "\n")] = 0;
    return strcmp(v, DRIVER) ? 18 : OK;
}
#else
static R module(void) { return OK; }
#endif
R nvmlInitWithFlags(unsigned flags) {
    char v[64];
    R r = host("init", v, sizeof v);
    (void)flags;
    return r == UNSUPPORTED || r == OK ? module() : r;
}
R nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
R nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(R r) {
    return r == 15 ? "GPU is lost" : r == 16 ? "GPU requires reset" : r == 18 ? "Driver/library version mismatch"
         : r == 9 ? "Driver Not Loaded" : r == 3 ? "Not Supported" : r == 999 ? "Unknown Error" : "some error";
}
#ifdef DRIVER
R nvmlSystemGetDriverVersion(char *out, unsigned n) { return words(OK, DRIVER, out, n); }
#else
R nvmlSystemGetDriverVersion(char *out, unsigned n) { char v[96]; return words(host("driver", v, sizeof v), v, out, n); }
#endif
R nvmlSystemGetCudaDriverVersion(int *out) { char v[64]; R r = host("cuda", v, sizeof v); if (!r) *out = atoi(v); return r; }
R nvmlDeviceGetCount_v2(unsigned *out) { char v[64]; R r = host("count", v, sizeof v); if (!r) *out = (unsigned)atoi(v); return r; }
R nvmlDeviceGetHandleByIndex_v2(unsigned i, void **out) {
    unsigned n = 0;
    char v[64];
    if (nvmlDeviceGetCount_v2(&n) || i >= n || i >= 64) return INVALID;
    gpus[i].index = (int)i;
    *out = &gpus[i];
    R said = ask(&gpus[i], "handle", v, sizeof v);
    return said == UNSUPPORTED || said == 15 ? OK : said;
}
R nvmlDeviceGetName(Gpu *g, char *out, unsigned n) { char v[256]; return words(ask(g, "name", v, sizeof v), v, out, n); }
R nvmlDeviceGetUUID(Gpu *g, char *out, unsigned n) { char v[256]; return words(ask(g, "uuid", v, sizeof v), v, out, n); }

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
R nvmlDeviceGetPciInfo_v3(Gpu *g, Pci *out) {
    char v[256];
    memset(out, 0, sizeof *out);
    return words(ask(g, "bus", v, sizeof v), v, out->bus_id, sizeof out->bus_id);
}
R nvmlDeviceGetCudaComputeCapability(Gpu *g, int *major, int *minor) {
    char v[64];
    R r = ask(g, "compute", v, sizeof v);
    if (!r && sscanf(v, "%d.%d", major, minor) != 2) return 999;
    return r;
}

typedef struct { unsigned long long total, free, used; } Memory;
R nvmlDeviceGetMemoryInfo(Gpu *g, Memory *out) {
    R r = whole(g, "memory.total", &out->total);
    if (!r) r = whole(g, "memory.used", &out->used);
    out->free = out->total - out->used;
    return r;
}
typedef struct { unsigned gpu, memory; } Utilisation;
R nvmlDeviceGetUtilizationRates(Gpu *g, Utilisation *out) {
    R r = small(g, "utilisation.gpu", &out->gpu);
    return r ? r : small(g, "utilisation.memory", &out->memory);
}
R nvmlDeviceGetTemperature(Gpu *g, unsigned sensor, unsigned *out) { (void)sensor; return small(g, "temperature", out); }
R nvmlDeviceGetPowerUsage(Gpu *g, unsigned *out) { return small(g, "power", out); }
R nvmlDeviceGetClockInfo(Gpu *g, unsigned kind, unsigned *out) { return small(g, kind == 1 ? "clock.sm" : "clock.memory", out); }
R nvmlDeviceGetMaxClockInfo(Gpu *g, unsigned kind, unsigned *out) { (void)kind; return small(g, "clock.sm_max", out); }
R nvmlDeviceGetCurrentClocksThrottleReasons(Gpu *g, unsigned long long *out) { return whole(g, "throttle", out); }
R nvmlDeviceGetEccMode(Gpu *g, unsigned *now, unsigned *then) {
    R r = small(g, "ecc.enabled", now);
    if (r) return r;
    if (small(g, "ecc.after_reboot", then)) *then = *now;
    return OK;
}
R nvmlDeviceGetTotalEccErrors(Gpu *g, unsigned kind, unsigned since, unsigned long long *out) {
    char key[64];
    snprintf(key, sizeof key, "ecc.%s.%s", since ? "aggregate" : "volatile", kind ? "uncorrected" : "corrected");
    return whole(g, key, out);
}
R nvmlDeviceGetRetiredPages(Gpu *g, unsigned cause, unsigned *count, unsigned long long *pages) {
    unsigned there = 0, i;
    R r = small(g, cause ? "retired.double_bit" : "retired.single_bit", &there);
    if (r) return r;
    if (*count < there || (there && !pages)) { *count = there; return TOO_SMALL; }
    for (i = 0; i < there && pages; i++) pages[i] = 0x1000ULL * i;
    *count = there;
    return OK;
}
R nvmlDeviceGetRetiredPagesPendingStatus(Gpu *g, unsigned *out) { return small(g, "retired.pending", out); }
R nvmlDeviceGetRemappedRows(Gpu *g, unsigned *c, unsigned *u, unsigned *pending, unsigned *failure) {
    R r = small(g, "remapped.corrected", c);
    if (!r) r = small(g, "remapped.uncorrected", u);
    if (!r) r = small(g, "remapped.pending", pending);
    return r ? r : small(g, "remapped.failure", failure);
}
/* nvlink = one digit a link: 1 up, 0 down */
R nvmlDeviceGetNvLinkState(Gpu *g, unsigned link, unsigned *out) {
    char v[64];
    R r = ask(g, "nvlink", v, sizeof v);
    if (r) return r;
    if (link >= strlen(v)) return INVALID;
    *out = (unsigned)(v[link] - '0');
    return OK;
}
R nvmlDeviceGetMigMode(Gpu *g, unsigned *now, unsigned *then) {
    R r = small(g, "mig", now);
    if (!r) *then = *now;
    return r;
}
/* processes = pid:bytes,pid:bytes; `processes.old` answers the question of drivers before 510 */
typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } Process;
static R processes(Gpu *g, const char *key, unsigned *count, Process *out) {
    char v[512], *one, *rest;
    unsigned there = 0, i = 0;
    R r = ask(g, key, v, sizeof v);
    if (r) return r;
    for (one = v; *one; one++) there += *one == ':';
    if (!there) { *count = 0; return OK; }
    if (!out || *count < there) { *count = there; return TOO_SMALL; }
    for (one = strtok_r(v, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        memset(&out[i], 0, sizeof *out);
        out[i].pid = (unsigned)strtoul(one, NULL, 10);
        out[i++].memory = strtoull(strchr(one, ':') + 1, NULL, 10);
    }
    *count = i;
    return OK;
}
R nvmlDeviceGetComputeRunningProcesses_v3(Gpu *g, unsigned *count, Process *out) { return processes(g, "processes", count, out); }
R nvmlDeviceGetComputeRunningProcesses_v2(Gpu *g, unsigned *count, Process *out) { return processes(g, "processes.old", count, out); }

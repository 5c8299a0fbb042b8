/* An nvidia-smi for tests: what the NVML beside it says (fake_nvml.c), in the form of --query-gpu with noheader.
 *
 * Knows the fields below; another is "[N/A]", as nvidia-smi says of what a GPU does not tell. Memory is MiB without the
 * unit, whatever the format. A driver that does not answer is exit code 9, and a GPU that was lost has no line.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } Memory;
static void *nvml;

/* Ask one thing; 0 when it was told. */
static int ask(const char *function, void *gpu, void *first, void *second) {
    int (*call)(void *, void *, void *) = dlsym(nvml, function);
    return call ? call(gpu, first, second) : 13;
}

static void cell(const char *field, unsigned number, void *gpu, const char *driver) {
    char text[256] = "[N/A]";
    int major, minor;
    Memory memory;
    if (!strcmp(field, "index")) snprintf(text, sizeof text, "%u", number);
    if (!strcmp(field, "driver_version")) snprintf(text, sizeof text, "%s", driver);
    if (!strcmp(field, "name")) ask("nvmlDeviceGetName", gpu, text, (void *)sizeof text);
    if (!strcmp(field, "uuid")) ask("nvmlDeviceGetUUID", gpu, text, (void *)sizeof text);
    if (!strcmp(field, "compute_cap") && !ask("nvmlDeviceGetCudaComputeCapability", gpu, &major, &minor))
        snprintf(text, sizeof text, "%d.%d", major, minor);
    if (!strncmp(field, "memory.", 7) && !ask("nvmlDeviceGetMemoryInfo", gpu, &memory, NULL))
        snprintf(text, sizeof text, "%llu", (strcmp(field, "memory.total") ? memory.used : memory.total) >> 20);
    printf("%s", text);
}

int main(int count, char **words) {
    const char *query = NULL;
    char driver[96] = "", fields[512], *field, *rest;
    unsigned gpus = 0, number;
    void *gpu;
    while (--count) if (!strncmp(words[count], "--query-gpu=", 12)) query = words[count] + 12;
    if (!query) { fprintf(stderr, "of the tests: --query-gpu=… --format=csv,noheader and nothing else\n"); return 2; }
    nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!nvml || ask("nvmlInit_v2", NULL, NULL, NULL) || ask("nvmlDeviceGetCount_v2", &gpus, NULL, NULL)) {
        printf("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n");
        return 9;
    }
    ask("nvmlSystemGetDriverVersion", driver, (void *)sizeof driver, NULL);
    for (number = 0; number < gpus; number++) {
        int (*handle)(unsigned, void **) = (int (*)(unsigned, void **))dlsym(nvml, "nvmlDeviceGetHandleByIndex_v2");
        char uuid[96];
        if (handle(number, &gpu) || ask("nvmlDeviceGetUUID", gpu, uuid, (void *)sizeof uuid)) continue;
        snprintf(fields, sizeof fields, "%s", query);
        for (field = strtok_r(fields, ",", &rest); field; field = strtok_r(NULL, ",", &rest)) {
            if (field != fields) printf(", ");
            cell(field, number, gpu, driver);
        }
        printf("\n");
    }
    return 0;
}

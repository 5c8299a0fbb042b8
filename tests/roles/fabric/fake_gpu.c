/* Fakes of libcudart and libnccl, and named as such: memory is malloc's, a reduction multiplies what is there by
   the number of ranks (all fill their buffers alike). Whether the id came through is checked: a wrong one is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { char internal[128]; } Id;
static const char PATTERN[] = "the id that host 0 made";
static int ranks;

int cudaSetDevice(int device) { return device > 7 ? 101 : 0; }
int cudaMalloc(void **where, size_t size) { *where = malloc(size); return *where ? 0 : 2; }
int cudaStreamCreate(void **stream) { *stream = (void *)1; return 0; }
int cudaStreamSynchronize(void *stream) { (void)stream; return 0; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { (void)kind; memcpy(to, from, size); return 0; }
const char *cudaGetErrorString(int code) { return code == 101 ? "invalid device ordinal" : "out of memory"; }

int ncclGetUniqueId(Id *id) { memset(id, 7, sizeof *id); strcpy(id->internal, PATTERN); return 0; }
int ncclGroupStart(void) { return 0; }
int ncclGroupEnd(void) { return 0; }
int ncclCommInitRank(void **comm, int count, Id id, int rank)
{
    if (strcmp(id.internal, PATTERN) || rank >= count) return 4;
    ranks = count;
    *comm = (void *)(size_t)(rank + 1);
    return 0;
}
int ncclAllReduce(const void *from, void *to, size_t count, int type, int op, void *comm, void *stream)
{
    const float *in = from;
    float *out = to;
    int factor = getenv("FAKE_NCCL_LOSES_A_RANK") ? ranks - 1 : ranks;
    (void)comm; (void)stream;
    if (type != 7 || op != 0) return 5;
    for (size_t i = 0; i < count; i++) out[i] = in[i] * factor;
    return 0;
}
const char *ncclGetErrorString(int code) { return code == 4 ? "invalid argument" : "invalid usage"; }

/* A peer of bench/cmd/compare: float32 matrix products of a BLAS or of oneDNN,
 * loaded at run time.
 *
 *     cc -O2 -o cblas cblas.c -ldl
 *     cblas LIBRARY            then requests on standard input, see README.md
 *
 * The library must have cblas_sgemm with 32-bit integers, or dnnl_sgemm.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void (*cblas_sgemm_t)(int order, int transA, int transB, int m, int n, int k, float alpha,
                              const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef int (*dnnl_sgemm_t)(char transA, char transB, int64_t m, int64_t n, int64_t k, float alpha,
                            const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);

enum { row_major = 101, no_trans = 111, trans = 112 };

static void *library;
static cblas_sgemm_t cblas_sgemm;
static dnnl_sgemm_t dnnl_sgemm;

/* symbol also searches what the library brought along, as its OpenMP. */
static void *symbol(const char *name) {
    void *p = dlsym(library, name);
    return p ? p : dlsym(RTLD_DEFAULT, name);
}

/* restrict_to leaves the process the first of its CPUs: oneDNN on TBB has no
 * other limit in C. TBB reads the mask when its first task starts, and once only:
 * a process serves one number of threads. */
static void restrict_to(int threads) {
    cpu_set_t all, few;
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) <= threads) return;
    CPU_ZERO(&few);
    for (int cpu = 0; cpu < CPU_SETSIZE && threads > 0; cpu++)
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &few), threads--;
    sched_setaffinity(0, sizeof few, &few);
}

static void set_threads(int threads) {
    static int now;
    if (threads == now) return;
    now = threads;
    void (*set_int)(int);
    void (*set_long)(long);
    if ((set_int = dlsym(library, "openblas_set_num_threads"))) set_int(threads);
    else if ((set_long = dlsym(library, "bli_thread_set_num_threads"))) set_long(threads);
    else if ((set_int = dlsym(library, "MKL_Set_Num_Threads"))) set_int(threads);
    else if ((set_int = symbol("omp_set_num_threads"))) set_int(threads);
    else restrict_to(threads);
}

static void version(void) {
    const char *(*string)(void);
    void (*fill)(char *, int);
    char text[256] = "unknown";
    if ((string = dlsym(library, "openblas_get_config"))) snprintf(text, sizeof text, "%s", string());
    else if ((string = dlsym(library, "bli_info_get_version_str"))) snprintf(text, sizeof text, "BLIS %s", string());
    else if ((fill = dlsym(library, "MKL_Get_Version_String"))) fill(text, sizeof text - 1);
    else if (dnnl_sgemm) {
        /* the first fields of dnnl_version_t and, since 1.5, the runtime: 1 sequential, 2 OpenMP, 4 TBB, 512 SYCL */
        struct { int major, minor, patch; const char *hash; unsigned cpu_runtime; } const *(*v)(void) = dlsym(library, "dnnl_version");
        if (v) {
            unsigned r = v()->cpu_runtime;
            snprintf(text, sizeof text, "oneDNN %d.%d.%d (%s)", v()->major, v()->minor, v()->patch,
                     r == 1 ? "sequential" : r == 2 ? "OpenMP" : r == 4 ? "TBB" : r == 512 ? "SYCL on TBB" : "unknown runtime");
        }
    }
    for (char *end = text + strlen(text); end > text && end[-1] == ' ';) *--end = 0;
    printf("ok %s\n", text);
}

/* Contents of operands, the same in every program: README.md. */
static uint32_t hash(uint32_t seed, uint64_t i) {
    uint32_t x = (uint32_t)i * 2654435761u + seed * 40503u;
    x = (x ^ x >> 15) * 2246822519u;
    return x ^ x >> 13;
}

static float pattern(uint32_t seed, uint64_t i) { return (float)(hash(seed, i) >> 8) / 8388608.0f - 1.0f; }

typedef struct {
    char layout[3];
    int64_t m, n, k, batch;
} shape;

static shape now; /* whose operands are there */
static float *a, *b, *c;

static float *operand(int64_t n, uint32_t seed) {
    float *p = aligned_alloc(64, (size_t)(n * 4 + 63) / 64 * 64);
    if (!p) return NULL;
    for (int64_t i = 0; i < n; i++) p[i] = seed ? pattern(seed, (uint64_t)i) : 0;
    return p;
}

static int prepare(const shape *s) {
    if (memcmp(s, &now, sizeof now) == 0) return 1;
    free(a), free(b), free(c);
    memset(&now, 0, sizeof now);
    a = operand(s->batch * s->m * s->k, 1);
    b = operand(s->batch * s->k * s->n, 2);
    c = operand(s->batch * s->m * s->n, 0);
    if (!a || !b || !c) return 0;
    now = *s;
    return 1;
}

static void product(const shape *s) {
    int ta = s->layout[0] == 'T', tb = s->layout[1] == 'T';
    int64_t m = s->m, n = s->n, k = s->k, lda = ta ? m : k, ldb = tb ? k : n;
    for (int64_t t = 0; t < s->batch; t++) {
        const float *x = a + t * m * k, *y = b + t * k * n;
        float *z = c + t * m * n;
        if (cblas_sgemm) cblas_sgemm(row_major, ta ? trans : no_trans, tb ? trans : no_trans, m, n, k, 1, x, lda, y, ldb, 0, z, n);
        else dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1, x, lda, y, ldb, 0, z, n);
    }
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void measure(const shape *s, long repetitions) {
    product(s); /* wakes the threads */
    double begin = seconds();
    for (long r = 0; r < repetitions; r++) product(s);
    printf("ok %.9g\n", seconds() - begin);
}

static void check(const shape *s) {
    int64_t m = s->m, n = s->n;
    for (int64_t i = 0; i < s->batch * m * n; i++) c[i] = NAN;
    product(s);
    double sum = 0;
    for (int64_t t = 0; t < s->batch; t++)
        for (int64_t i = 0; i < m; i++) {
            double row = 0;
            for (int64_t j = 0; j < n; j++) row += pattern(4, (uint64_t)j) * (double)c[(t * m + i) * n + j];
            sum += pattern(3, (uint64_t)i) * row;
        }
    printf("ok %.17g", sum);
    for (int e = 0; e < 32; e++) {
        int64_t i = hash(5, 2 * e) % m, j = hash(5, 2 * e + 1) % n;
        if (e < 4) i = e & 1 ? m - 1 : 0, j = e & 2 ? n - 1 : 0;
        printf(" %.9g", c[((e % s->batch) * m + i) * n + j]);
    }
    printf("\n");
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: cblas LIBRARY\n");
        return 2;
    }
    library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    cblas_sgemm = (cblas_sgemm_t)dlsym(library, "cblas_sgemm");
    dnnl_sgemm = (dnnl_sgemm_t)dlsym(library, "dnnl_sgemm");
    if (!cblas_sgemm && !dnnl_sgemm) {
        fprintf(stderr, "the library has neither cblas_sgemm nor dnnl_sgemm\n");
        return 1;
    }
    for (char line[256]; fgets(line, sizeof line, stdin); fflush(stdout)) {
        shape s;
        int threads, end = 0;
        long repetitions = 0;
        memset(&s, 0, sizeof s); /* padding too: shapes are compared as bytes */
        if (strcmp(line, "version\n") == 0) {
            version();
            continue;
        }
        int timed = sscanf(line, "time %d %ld gemm %2s %ld %ld %ld %ld %n", &threads, &repetitions, s.layout, &s.m, &s.n, &s.k, &s.batch, &end) == 7;
        if (!timed) sscanf(line, "check %d gemm %2s %ld %ld %ld %ld %n", &threads, s.layout, &s.m, &s.n, &s.k, &s.batch, &end);
        if (!end || line[end]) {
            printf("error not understood: %s", line);
            continue;
        }
        if (!prepare(&s)) {
            printf("error out of memory\n");
            continue;
        }
        set_threads(threads);
        if (timed) measure(&s, repetitions);
        else check(&s);
    }
    return 0;
}

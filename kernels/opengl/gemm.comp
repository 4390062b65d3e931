#version 430
// Gemm: C = op(A)·op(B) (+ C), for each z < batch. Model: kernels.refGemm.
//
// A group of 16×16 lanes computes a 64×64 block of C; a lane keeps 4×4 elements,
// 16 apart, so that neighbours read neighbouring shared memory and write
// neighbouring columns. The block walks k in steps of 16.
layout(local_size_x = 16, local_size_y = 16) in;
layout(std430, binding = 0) buffer C { float c[]; };
layout(std430, binding = 1) readonly buffer A { float a[]; };
layout(std430, binding = 2) readonly buffer B { float b[]; };
layout(location = 0) uniform int c0;
layout(location = 1) uniform int a0;
layout(location = 2) uniform int b0;
layout(location = 3) uniform int m;
layout(location = 4) uniform int n;
layout(location = 5) uniform int k;
layout(location = 6) uniform int lda;
layout(location = 7) uniform int ldb;
layout(location = 8) uniform int ldc;
layout(location = 9) uniform int accumulate;
layout(location = 10) uniform int batch;
layout(location = 11) uniform int batchA;
layout(location = 12) uniform int batchB;
layout(location = 13) uniform int batchC;

const int BLOCK = 64, DEPTH = 16;
shared float as[DEPTH][BLOCK + 1];
shared float bs[DEPTH][BLOCK + 1];

void main() {
    int lane = int(gl_LocalInvocationIndex);
    int tx = int(gl_LocalInvocationID.x), ty = int(gl_LocalInvocationID.y);
    int i0 = int(gl_WorkGroupID.y) * BLOCK, j0 = int(gl_WorkGroupID.x) * BLOCK;
    for (int z = int(gl_WorkGroupID.z); z < batch; z += int(gl_NumWorkGroups.z)) {
        int az = a0 + z * batchA, bz = b0 + z * batchB, cz = c0 + z * batchC;
        float acc[4][4];
        for (int r = 0; r < 4; r++)
            for (int s = 0; s < 4; s++)
                acc[r][s] = 0.0;
        for (int p0 = 0; p0 < k; p0 += DEPTH) {
            for (int e = lane; e < BLOCK * DEPTH; e += 256) {
#ifdef TRANS_A
                int i = e % BLOCK, p = e / BLOCK;
                as[p][i] = i0 + i < m && p0 + p < k ? a[az + (p0 + p) * lda + i0 + i] : 0.0;
#else
                int p = e % DEPTH, i = e / DEPTH;
                as[p][i] = i0 + i < m && p0 + p < k ? a[az + (i0 + i) * lda + p0 + p] : 0.0;
#endif
            }
            for (int e = lane; e < BLOCK * DEPTH; e += 256) {
#ifdef TRANS_B
                int p = e % DEPTH, j = e / DEPTH;
                bs[p][j] = j0 + j < n && p0 + p < k ? b[bz + (j0 + j) * ldb + p0 + p] : 0.0;
#else
                int j = e % BLOCK, p = e / BLOCK;
                bs[p][j] = j0 + j < n && p0 + p < k ? b[bz + (p0 + p) * ldb + j0 + j] : 0.0;
#endif
            }
            syncLanes();
            for (int p = 0; p < DEPTH; p++) {
                float av[4], bv[4];
                for (int r = 0; r < 4; r++) {
                    av[r] = as[p][ty + 16 * r];
                    bv[r] = bs[p][tx + 16 * r];
                }
                for (int r = 0; r < 4; r++)
                    for (int s = 0; s < 4; s++)
                        acc[r][s] += av[r] * bv[s];
            }
            syncLanes(); // as and bs are written again
        }
        for (int r = 0; r < 4; r++)
            for (int s = 0; s < 4; s++) {
                int i = i0 + ty + 16 * r, j = j0 + tx + 16 * s;
                if (i < m && j < n) {
                    int at = cz + i * ldc + j;
                    c[at] = accumulate != 0 ? c[at] + acc[r][s] : acc[r][s];
                }
            }
    }
}

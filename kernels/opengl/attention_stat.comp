#version 430
// AttentionGrad, first part: the two numbers that every pair (i,j) needs of query
// i, side by side: lse_i and D_i = Σ_d gO_id·o_id. One invocation a query.
layout(local_size_x = 64) in;
layout(std430, binding = 0) writeonly buffer S { float stat[]; };
layout(std430, binding = 1) readonly buffer L { float lse[]; };
layout(std430, binding = 2) readonly buffer O { float o[]; };
layout(std430, binding = 3) readonly buffer GO { float gO[]; };
layout(location = 0) uniform int stat0;
layout(location = 1) uniform int lse0;
layout(location = 2) uniform int o0;
layout(location = 3) uniform int gO0;
layout(location = 4) uniform int H;
layout(location = 5) uniform int Tq;
layout(location = 6) uniform int Dh;
layout(location = 7) uniform int ldO;
layout(location = 8) uniform int batchO;
layout(location = 9) uniform int n; // B·H·Tq

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int e = int(gl_GlobalInvocationID.x); e < n; e += step) {
        int bh = e / Tq, b = bh / H;
        int at = b * batchO + (e - bh * Tq) * ldO + (bh - b * H) * Dh;
        float s = 0.0;
        for (int d = 0; d < Dh; d++)
            s += gO[gO0 + at + d] * o[o0 + at + d];
        stat[stat0 + 2 * e] = lse[lse0 + e];
        stat[stat0 + 2 * e + 1] = s;
    }
}

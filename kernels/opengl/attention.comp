#version 430
// Attention, forward: a group takes query i of head h of entry b. Keys come 64 at
// a time, a lane each: scores, then the online softmax, then o += p·v with a lane
// for every 64th element of the head. Model: kernels.refAttention.
// Source: Dao et al. 2022, arXiv:2205.14135; Milakov & Gimelshein 2018,
// arXiv:1805.02867.
layout(local_size_x = LANES) in;
layout(std430, binding = 0) writeonly buffer O { float o[]; };
layout(std430, binding = 1) writeonly buffer L { float lse[]; };
layout(std430, binding = 2) readonly buffer Q { float q[]; };
layout(std430, binding = 3) readonly buffer K { float k[]; };
layout(std430, binding = 4) readonly buffer V { float v[]; };
layout(std430, binding = 5) readonly buffer P { int prefix[]; };
layout(location = 0) uniform int o0;
layout(location = 1) uniform int lse0;
layout(location = 2) uniform int q0;
layout(location = 3) uniform int k0;
layout(location = 4) uniform int v0;
layout(location = 5) uniform int prefix0;
layout(location = 6) uniform int H;
layout(location = 7) uniform int Tq;
layout(location = 8) uniform int Tk;
layout(location = 9) uniform int Dh;
layout(location = 10) uniform int ldQ;
layout(location = 11) uniform int ldK;
layout(location = 12) uniform int ldV;
layout(location = 13) uniform int ldO;
layout(location = 14) uniform int batchQ;
layout(location = 15) uniform int batchK;
layout(location = 16) uniform int batchV;
layout(location = 17) uniform int batchO;
layout(location = 18) uniform float scale;
layout(location = 19) uniform int causal;
layout(location = 20) uniform int hasPrefix;
layout(location = 21) uniform int hasLSE;

shared float query[MAX_HEAD];
shared float weight[LANES];

void main() {
    int lane = int(gl_LocalInvocationIndex);
    int h = int(gl_WorkGroupID.y), b = int(gl_WorkGroupID.z);
    for (int i = int(gl_WorkGroupID.x); i < Tq; i += int(gl_NumWorkGroups.x)) {
        int limit = visible(i, Tq, Tk, causal != 0, hasPrefix != 0 ? prefix[prefix0 + b] : 0);
        int kb = k0 + b * batchK + h * Dh, vb = v0 + b * batchV + h * Dh;
        for (int d = lane; d < Dh; d += LANES)
            query[d] = scale * q[q0 + b * batchQ + i * ldQ + h * Dh + d];
        syncLanes();
        float m = -1e30, l = 0.0, acc[MAX_HEAD / LANES];
        for (int e = 0; e < MAX_HEAD / LANES; e++)
            acc[e] = 0.0;
        for (int j0 = 0; j0 < limit; j0 += LANES) {
            int j = j0 + lane;
            float s = -1e30;
            if (j < limit) {
                s = 0.0;
                for (int d = 0; d < Dh; d++)
                    s += query[d] * k[kb + j * ldK + d];
            }
            float top = max(m, maxLanes(s)); // its barriers also part weight's readers from its writers
            float p = j < limit ? expf(s - top) : 0.0;
            float shrink = expf(m - top);
            weight[lane] = p;
            l = l * shrink + sumLanes(p);
            m = top;
            int count = min(LANES, limit - j0);
            for (int e = 0; e < MAX_HEAD / LANES; e++) {
                int d = lane + e * LANES;
                if (d < Dh) {
                    float a = acc[e] * shrink;
                    for (int t = 0; t < count; t++)
                        a += weight[t] * v[vb + (j0 + t) * ldV + d];
                    acc[e] = a;
                }
            }
        }
        for (int e = 0; e < MAX_HEAD / LANES; e++) {
            int d = lane + e * LANES;
            if (d < Dh) o[o0 + b * batchO + i * ldO + h * Dh + d] = limit > 0 ? acc[e] / l : 0.0;
        }
        if (lane == 0 && hasLSE != 0)
            lse[lse0 + (b * H + h) * Tq + i] = limit > 0 ? m + logf(l) : -INF;
        syncLanes(); // query is written again
    }
}

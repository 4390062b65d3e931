#version 430
// AttentionGrad, queries: gq_id = scale·Σ_j ds_ij·k_jd, ds_ij = p_ij·(dp_ij − D_i),
// p_ij = e^(s_ij − lse_i), dp_ij = Σ_d gO_id·v_jd. A group takes query i of head h
// of entry b; keys come 64 at a time. Model: kernels.refAttentionGrad.
layout(local_size_x = LANES) in;
layout(std430, binding = 0) writeonly buffer GQ { float gq[]; };
layout(std430, binding = 1) readonly buffer Q { float q[]; };
layout(std430, binding = 2) readonly buffer K { float k[]; };
layout(std430, binding = 3) readonly buffer V { float v[]; };
layout(std430, binding = 4) readonly buffer GO { float gO[]; };
layout(std430, binding = 5) readonly buffer S { float stat[]; };
layout(std430, binding = 6) readonly buffer P { int prefix[]; };
layout(location = 0) uniform int gq0;
layout(location = 1) uniform int q0;
layout(location = 2) uniform int k0;
layout(location = 3) uniform int v0;
layout(location = 4) uniform int gO0;
layout(location = 5) uniform int stat0;
layout(location = 6) uniform int prefix0;
layout(location = 7) uniform int H;
layout(location = 8) uniform int Tq;
layout(location = 9) uniform int Tk;
layout(location = 10) uniform int Dh;
layout(location = 11) uniform int ldQ;
layout(location = 12) uniform int ldK;
layout(location = 13) uniform int ldV;
layout(location = 14) uniform int ldO;
layout(location = 15) uniform int batchQ;
layout(location = 16) uniform int batchK;
layout(location = 17) uniform int batchV;
layout(location = 18) uniform int batchO;
layout(location = 19) uniform float scale;
layout(location = 20) uniform int causal;
layout(location = 21) uniform int hasPrefix;

shared float query[MAX_HEAD], gout[MAX_HEAD];
shared float weight[LANES];

void main() {
    int lane = int(gl_LocalInvocationIndex);
    int h = int(gl_WorkGroupID.y), b = int(gl_WorkGroupID.z);
    for (int i = int(gl_WorkGroupID.x); i < Tq; i += int(gl_NumWorkGroups.x)) {
        int limit = visible(i, Tq, Tk, causal != 0, hasPrefix != 0 ? prefix[prefix0 + b] : 0);
        int kb = k0 + b * batchK + h * Dh, vb = v0 + b * batchV + h * Dh;
        int qi = b * batchQ + i * ldQ + h * Dh, row = stat0 + 2 * ((b * H + h) * Tq + i);
        for (int d = lane; d < Dh; d += LANES) {
            query[d] = scale * q[q0 + qi + d];
            gout[d] = gO[gO0 + b * batchO + i * ldO + h * Dh + d];
        }
        syncLanes();
        float lse = stat[row], delta = stat[row + 1], acc[MAX_HEAD / LANES];
        for (int e = 0; e < MAX_HEAD / LANES; e++)
            acc[e] = 0.0;
        for (int j0 = 0; j0 < limit; j0 += LANES) {
            int j = j0 + lane;
            float ds = 0.0;
            if (j < limit) {
                float s = 0.0, dp = 0.0;
                for (int d = 0; d < Dh; d++) {
                    s += query[d] * k[kb + j * ldK + d];
                    dp += gout[d] * v[vb + j * ldV + d];
                }
                ds = expf(s - lse) * (dp - delta);
            }
            weight[lane] = ds;
            syncLanes();
            int count = min(LANES, limit - j0);
            for (int e = 0; e < MAX_HEAD / LANES; e++) {
                int d = lane + e * LANES;
                if (d < Dh)
                    for (int t = 0; t < count; t++)
                        acc[e] += weight[t] * k[kb + (j0 + t) * ldK + d];
            }
            syncLanes(); // weight is written again
        }
        for (int e = 0; e < MAX_HEAD / LANES; e++) {
            int d = lane + e * LANES;
            if (d < Dh) gq[gq0 + qi + d] = scale * acc[e];
        }
        syncLanes(); // query and gout are written again
    }
}

#version 430
// AttentionGrad, keys and values: gv_jd = Σ_i p_ij·gO_id, gk_jd = scale·Σ_i
// ds_ij·q_id; p and ds as in attention_grad_q.comp. A group takes key j of head h
// of entry b; queries come 64 at a time. Model: kernels.refAttentionGrad.
layout(local_size_x = LANES) in;
layout(std430, binding = 0) writeonly buffer GK { float gk[]; };
layout(std430, binding = 1) writeonly buffer GV { float gv[]; };
layout(std430, binding = 2) readonly buffer Q { float q[]; };
layout(std430, binding = 3) readonly buffer K { float k[]; };
layout(std430, binding = 4) readonly buffer V { float v[]; };
layout(std430, binding = 5) readonly buffer GO { float gO[]; };
layout(std430, binding = 6) readonly buffer S { float stat[]; };
layout(std430, binding = 7) readonly buffer P { int prefix[]; };
layout(location = 0) uniform int gk0;
layout(location = 1) uniform int gv0;
layout(location = 2) uniform int q0;
layout(location = 3) uniform int k0;
layout(location = 4) uniform int v0;
layout(location = 5) uniform int gO0;
layout(location = 6) uniform int stat0;
layout(location = 7) uniform int prefix0;
layout(location = 8) uniform int H;
layout(location = 9) uniform int Tq;
layout(location = 10) uniform int Tk;
layout(location = 11) uniform int Dh;
layout(location = 12) uniform int ldQ;
layout(location = 13) uniform int ldK;
layout(location = 14) uniform int ldV;
layout(location = 15) uniform int ldO;
layout(location = 16) uniform int batchQ;
layout(location = 17) uniform int batchK;
layout(location = 18) uniform int batchV;
layout(location = 19) uniform int batchO;
layout(location = 20) uniform float scale;
layout(location = 21) uniform int causal;
layout(location = 22) uniform int hasPrefix;

shared float key[MAX_HEAD], value[MAX_HEAD];
shared float weight[LANES], weightS[LANES];

void main() {
    int lane = int(gl_LocalInvocationIndex);
    int h = int(gl_WorkGroupID.y), b = int(gl_WorkGroupID.z);
    int first = hasPrefix != 0 ? prefix[prefix0 + b] : 0;
    for (int j = int(gl_WorkGroupID.x); j < Tk; j += int(gl_NumWorkGroups.x)) {
        int qb = q0 + b * batchQ + h * Dh, ob = gO0 + b * batchO + h * Dh;
        int kj = b * batchK + j * ldK + h * Dh, vj = b * batchV + j * ldV + h * Dh;
        int rows = stat0 + 2 * (b * H + h) * Tq;
        for (int d = lane; d < Dh; d += LANES) {
            key[d] = k[k0 + kj + d];
            value[d] = v[v0 + vj + d];
        }
        syncLanes();
        float accK[MAX_HEAD / LANES], accV[MAX_HEAD / LANES];
        for (int e = 0; e < MAX_HEAD / LANES; e++) {
            accK[e] = 0.0;
            accV[e] = 0.0;
        }
        // visible never falls with i, so the queries that see j are those from
        // some i on.
        int start = 0;
        while (start < Tq && visible(start, Tq, Tk, causal != 0, first) <= j) start++;
        for (int i0 = start; i0 < Tq; i0 += LANES) {
            int i = i0 + lane;
            float p = 0.0, ds = 0.0;
            if (i < Tq) {
                float s = 0.0, dp = 0.0;
                for (int d = 0; d < Dh; d++) {
                    s += (scale * q[qb + i * ldQ + d]) * key[d];
                    dp += gO[ob + i * ldO + d] * value[d];
                }
                p = expf(s - stat[rows + 2 * i]);
                ds = p * (dp - stat[rows + 2 * i + 1]);
            }
            weight[lane] = p;
            weightS[lane] = ds;
            syncLanes();
            int count = min(LANES, Tq - i0);
            for (int e = 0; e < MAX_HEAD / LANES; e++) {
                int d = lane + e * LANES;
                if (d < Dh)
                    for (int t = 0; t < count; t++) {
                        accV[e] += weight[t] * gO[ob + (i0 + t) * ldO + d];
                        accK[e] += weightS[t] * q[qb + (i0 + t) * ldQ + d];
                    }
            }
            syncLanes(); // weight is written again
        }
        for (int e = 0; e < MAX_HEAD / LANES; e++) {
            int d = lane + e * LANES;
            if (d < Dh) {
                gk[gk0 + kj + d] = scale * accK[e];
                gv[gv0 + vj + d] = accV[e];
            }
        }
        syncLanes(); // key and value are written again
    }
}

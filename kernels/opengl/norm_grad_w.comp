#version 430
// The weights' part of RMSNormGrad and, with CENTER, of LayerNormGrad, by
// columns: gw[j] = Σ_i gy[i,j]·x̂[i,j], gb[j] = Σ_i gy[i,j]. A group takes 32
// columns; 8 lanes a column take every 8th row and add up in a fixed tree.
layout(local_size_x = 32, local_size_y = 8) in;
layout(std430, binding = 0) writeonly buffer GW { float gw[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(std430, binding = 2) readonly buffer GY { float gy[]; };
layout(std430, binding = 3) readonly buffer R { float r[]; };
layout(location = 0) uniform int gw0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int gy0;
layout(location = 3) uniform int r0;
#ifdef CENTER
layout(std430, binding = 4) readonly buffer M { float mean[]; };
layout(std430, binding = 5) writeonly buffer GB { float gb[]; };
layout(location = 4) uniform int mean0;
layout(location = 5) uniform int gb0;
layout(location = 6) uniform int n;
layout(location = 7) uniform int d;
#else
layout(location = 4) uniform int n;
layout(location = 5) uniform int d;
#endif

shared float part[8][32], partB[8][32];

void main() {
    uint c = gl_LocalInvocationID.x, l = gl_LocalInvocationID.y;
    for (int base = int(gl_WorkGroupID.x) * 32; base < d; base += int(gl_NumWorkGroups.x) * 32) {
        int j = base + int(c);
        float s = 0.0, b = 0.0;
        if (j < d)
            for (int i = int(l); i < n; i += 8) {
                float g = gy[gy0 + i * d + j], v = x[x0 + i * d + j];
#ifdef CENTER
                v -= mean[mean0 + i];
                b += g;
#endif
                s += g * (v * r[r0 + i]);
            }
        part[l][c] = s;
        partB[l][c] = b;
        for (uint h = 4u; h > 0u; h >>= 1) {
            syncLanes();
            if (l < h) {
                part[l][c] += part[l + h][c];
                partB[l][c] += partB[l + h][c];
            }
        }
        if (l == 0u && j < d) {
            gw[gw0 + j] = part[0][c];
#ifdef CENTER
            gb[gb0 + j] = partB[0][c];
#endif
        }
        syncLanes(); // part is written again
    }
}

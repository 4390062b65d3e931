#version 430
// Copy: y[y0 + Σ k·ysteps] = x[x0 + Σ k·xsteps] for every index k of shape. The
// elements are moved as bits.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer Y { int y[]; };
layout(std430, binding = 1) readonly buffer X { int x[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int n;
layout(location = 3) uniform int rank;
layout(location = 4) uniform int shape[8];
layout(location = 12) uniform int ysteps[8];
layout(location = 20) uniform int xsteps[8];

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        int rest = i, yi = y0, xi = x0;
        for (int a = rank - 1; a >= 0; a--) {
            int q = rest / shape[a], k = rest - q * shape[a];
            yi += k * ysteps[a];
            xi += k * xsteps[a];
            rest = q;
        }
        y[yi] = x[xi];
    }
}

#version 430
// CopyBytes: copy.comp for bytes, four in a word. Neighbours of a byte belong to
// other invocations, so a word is changed by atomics; the result does not depend
// on their order, since no two touch the same byte.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Y { uint y[]; };
layout(std430, binding = 1) readonly buffer X { uint x[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int n;
layout(location = 3) uniform int rank;
layout(location = 4) uniform int shape[8];
layout(location = 12) uniform int ysteps[8];
layout(location = 20) uniform int xsteps[8];
layout(location = 28) uniform int yfirst; // bytes
layout(location = 29) uniform int xfirst;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        int rest = i, yi = yfirst, xi = xfirst;
        for (int a = rank - 1; a >= 0; a--) {
            int q = rest / shape[a], k = rest - q * shape[a];
            yi += k * ysteps[a];
            xi += k * xsteps[a];
            rest = q;
        }
        uint value = (x[x0 + (xi >> 2)] >> (8 * (xi & 3))) & 0xffu;
        int shift = 8 * (yi & 3);
        atomicAnd(y[y0 + (yi >> 2)], ~(0xffu << shift));
        atomicOr(y[y0 + (yi >> 2)], value << shift);
    }
}

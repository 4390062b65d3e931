#version 430
// ArgMax: y[o,i] = where x[o,:,i] is largest: the first of equals, the first NaN
// if there is one. One invocation a result. Model: tensor.ArgMax on the CPU.
layout(local_size_x = 64) in;
layout(std430, binding = 0) writeonly buffer Y { int y[]; };
layout(std430, binding = 1) readonly buffer X { TYPE x[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int outer;
layout(location = 3) uniform int n;
layout(location = 4) uniform int inner;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int e = int(gl_GlobalInvocationID.x); e < outer * inner; e += step) {
        int o = e / inner, at = x0 + o * n * inner + (e - o * inner), best = 0;
        TYPE top = x[at];
        for (int j = 1; j < n; j++) {
            TYPE v = x[at + j * inner];
            if (above(v, top)) {
                top = v;
                best = j;
            }
        }
        y[y0 + e] = best;
    }
}

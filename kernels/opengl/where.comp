#version 430
// Where: y = cond ? a : b over strided views, as copy.comp, moving bits; cond is
// bytes. Model: tensor.Where on the CPU.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer Y { int y[]; };
layout(std430, binding = 1) readonly buffer C { uint cond[]; };
layout(std430, binding = 2) readonly buffer A { int a[]; };
layout(std430, binding = 3) readonly buffer B { int b[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int cond0;
layout(location = 2) uniform int a0;
layout(location = 3) uniform int b0;
layout(location = 4) uniform int n;
layout(location = 5) uniform int rank;
layout(location = 6) uniform int shape[8];
layout(location = 14) uniform int ysteps[8];
layout(location = 22) uniform int csteps[8];
layout(location = 30) uniform int asteps[8];
layout(location = 38) uniform int bsteps[8];
layout(location = 46) uniform int first; // byte of cond

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        int rest = i, yi = y0, ci = first, ai = a0, bi = b0;
        for (int x = rank - 1; x >= 0; x--) {
            int q = rest / shape[x], k = rest - q * shape[x];
            yi += k * ysteps[x];
            ci += k * csteps[x];
            ai += k * asteps[x];
            bi += k * bsteps[x];
            rest = q;
        }
        bool yes = ((cond[cond0 + (ci >> 2)] >> (8 * (ci & 3))) & 0xffu) != 0u;
        y[yi] = yes ? a[ai] : b[bi];
    }
}

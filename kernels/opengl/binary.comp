#version 430
// Add, Sub, Mul, Div: y = OP(a, b) elementwise over strided views, as copy.comp.
// Model: kernels.refAdd and its kin.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Y { float y[]; };
layout(std430, binding = 1) readonly buffer A { float a[]; };
layout(std430, binding = 2) readonly buffer B { float b[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int a0;
layout(location = 2) uniform int b0;
layout(location = 3) uniform int n;
layout(location = 4) uniform int rank;
layout(location = 5) uniform int shape[8];
layout(location = 13) uniform int ysteps[8];
layout(location = 21) uniform int asteps[8];
layout(location = 29) uniform int bsteps[8];

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        int rest = i, yi = y0, ai = a0, bi = b0;
        for (int x = rank - 1; x >= 0; x--) {
            int q = rest / shape[x], k = rest - q * shape[x];
            yi += k * ysteps[x];
            ai += k * asteps[x];
            bi += k * bsteps[x];
            rest = q;
        }
        y[yi] = OP(a[ai], b[bi]);
    }
}
